"""Waiting, but not for ever, without losing a cancellation."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def limited(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """Return what a coroutine returns; cancel it, and raise asyncio.TimeoutError, after a time.

    asyncio.wait_for() does so, too, but before Python 3.12 it swallows a cancellation that comes
    in the moment in which the work is done: Ctrl-C just then would be lost.
    """
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(seconds):  # no task, so some turns of the loop less
            return await work
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if task.done():
            return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    raise asyncio.TimeoutError
