"""What waits: events in little memory, and deadlines that lose no cancellation.

A deadline does not end what waits because this process stood still, as a laptop that sleeps does:
what came meanwhile lies there unread. The time by which it was late is added to it, once.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")
LATE_S = 0.5  # a timer that fires so late says that this process stood still


def standstill_s(due: float) -> float:
    """Return for how long this process stood still as a timer was due by the loop's clock; or 0."""
    late_s = asyncio.get_running_loop().time() - due
    return late_s if late_s > LATE_S else 0.0


class SmallEvent:
    """As `asyncio.Event`, in a tenth of its memory: a board takes five, a worker has thousands."""

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[asyncio.Future[None]] = []

    def set(self) -> None:
        """Wake all who wait; nobody waits any more until clear()."""
        self._is_set = True
        self.notify_all()

    def clear(self) -> None:
        """Have wait() wait again."""
        self._is_set = False

    def notify_all(self) -> None:
        """Wake all who wait now."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)

    def wait(self) -> asyncio.Future[None]:
        """Return what is done when they are woken, at once while it is set."""
        future = asyncio.get_running_loop().create_future()
        if self._is_set:
            future.set_result(None)
        else:
            self._waiting = [*(each for each in self._waiting if not each.done()), future]
        return future


async def wait_until(work: Awaitable[T], deadline: float) -> T:
    """Return what is awaited; cancel it, and raise asyncio.TimeoutError, at a deadline.

    deadline: in seconds of the event loop's clock.

    asyncio.wait_for() does so, too, but before Python 3.12 it swallows a cancellation that comes
    in the moment in which the work is done: Ctrl-C just then would be lost.
    """
    loop = asyncio.get_running_loop()
    due = max(deadline, loop.time())  # one that was over before passed while this process ran
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(None) as limit:  # no task, so a few iterations of the loop less
            timer = loop.call_at(due, lambda: limit.reschedule(loop.time() + standstill_s(due)))
            try:
                return await work
            finally:
                timer.cancel()
    task = asyncio.ensure_future(work)
    try:
        await wait_done(task, due - loop.time())
        if task.done():
            return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    raise asyncio.TimeoutError


async def wait_done(future: asyncio.Future[T], seconds: float) -> None:
    """Wait until a future is done, for so many seconds at most; neither cancel nor raise it."""
    due = asyncio.get_running_loop().time() + max(0.0, seconds)
    await asyncio.wait([future], timeout=max(0.0, seconds))
    if not future.done() and (more_s := standstill_s(due)):
        await asyncio.wait([future], timeout=more_s)
