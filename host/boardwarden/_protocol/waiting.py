"""Waits until a deadline without losing a cancellation."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def wait_until(work: Coroutine[Any, Any, T], deadline: float) -> T:
    """Return what a coroutine returns; cancel it, and raise asyncio.TimeoutError, at a deadline.

    deadline: in seconds of the event loop's clock.

    asyncio.wait_for() does so, too, but before Python 3.12 it swallows a cancellation that comes
    in the moment in which the work is done: Ctrl-C just then would be lost.
    """
    if sys.version_info >= (3, 11):
        async with asyncio.timeout_at(deadline):  # no task, so a few iterations of the loop less
            return await work
    task = asyncio.create_task(work)
    try:
        left = deadline - asyncio.get_running_loop().time()
        await asyncio.wait([task], timeout=max(0.0, left))
        if task.done():
            return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    raise asyncio.TimeoutError
