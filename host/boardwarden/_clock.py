"""Time on a host that may sleep and whose clock may be set: clocks, events and deadlines.

`passed_s()` goes on while the host sleeps, `attended_s()` stands while this process does, and
`steady_time()` is the time of day without jumps: what is recorded must not go back.

A deadline of wait_until() does not end what waits because this process stood still, as a laptop
that sleeps does: what came meanwhile lies there unread. The time by which it was late is added to
it, once.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
LATE_S = 0.5  # a timer that fires so late says that this process stood still
_TICK_S = 0.5  # of the timer that looks for that
_SET_S = 60.0  # a clock that is ahead for so long was set right; one that jumps comes back
_LEAST_S = 1.0
Listener = Callable[[float], None]  # gets the seconds of a standstill that is over


# --- clocks ---------------------------------------------------------------------------------------


def passed_s() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the host sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; its monotonic clock stops meanwhile
    return time.monotonic() if boot is None else time.clock_gettime(boot)


_offset = time.time() - passed_s()
_ahead_since: float | None = None


def steady_time() -> float:
    """Return seconds since the epoch, by the host's clock as it was when the program started.

    A computer without a battery for its clock starts with a time of long ago, and learns the right
    one later: that is followed once it has lasted for a minute. To set it back moves nothing.
    """
    global _offset, _ahead_since
    passed = passed_s()
    ahead_s = time.time() - passed - _offset
    if ahead_s < _LEAST_S:
        _ahead_since = None
    elif _ahead_since is None:
        _ahead_since = passed
    elif passed - _ahead_since >= _SET_S:
        _offset, _ahead_since = _offset + ahead_s, None
    return passed + _offset


def day_time(passed: float) -> float:
    """Return the seconds since the epoch of a moment of passed_s(), by the clock as it is set now.

    By whole seconds apart from steady_time(): a moment stays the same where the clock does.
    """
    set_by_s = round(time.time() - steady_time())
    return passed + _offset + set_by_s


# --- whether this process stood still -------------------------------------------------------------


class Attention:
    """Notices, for one event loop, that this process stood still: then nobody else was silent.

    It does while somebody listens, by a timer that is late then, and by a clock that runs on while
    the host sleeps, which the loop's may not.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ran_at = (0.0, 0.0)  # the last two times at which the loop was seen to run
        self._attended_s = 0.0  # until the newer of them

    def enter(self, listener: Listener) -> None:
        """Call a listener after each standstill from now on."""
        if not self._listeners:
            now = passed_s()
            self._ran_at = (now, now)
            self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        self._listeners.append(listener)

    def leave(self, listener: Listener) -> None:
        """Call a listener no more; twice is fine."""
        if listener not in self._listeners:
            return
        attended_s = self.attended_s
        self._listeners.remove(listener)
        if not self._listeners and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._attended_s = attended_s

    @property
    def unread_s(self) -> float:
        """For how long what is read now may have lain there; 0 where the loop has run all along."""
        if not self._listeners:
            return 0.0
        since_s = passed_s() - self._ran_at[0]  # the newer may be of after the standstill
        return since_s if since_s > 2 * _TICK_S + LATE_S else 0.0

    @property
    def attended_s(self) -> float:
        """Seconds of a clock that runs while somebody listens, but not while the loop stands still.

        What is to last for some time by it cannot be over because nobody looked.
        """
        if not self._listeners:
            return self._attended_s
        since_s = passed_s() - self._ran_at[1]
        return self._attended_s + min(since_s, _TICK_S + LATE_S)

    def _tick(self) -> None:
        self._attended_s = self.attended_s
        now = passed_s()
        stood_s = now - self._ran_at[1] - _TICK_S
        self._ran_at = (self._ran_at[1], now)
        self._timer = asyncio.get_running_loop().call_later(_TICK_S, self._tick)
        if stood_s > LATE_S:
            for each in tuple(self._listeners):
                each(stood_s)


_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Attention] = (
    weakref.WeakKeyDictionary()
)


def attention() -> Attention:
    """Return the running event loop's."""
    return _of_loops.setdefault(asyncio.get_running_loop(), Attention())


def unread_s() -> float:
    """Return for how long what is read now may have lain there; 0 without a running event loop."""
    try:
        return attention().unread_s
    except RuntimeError:
        return 0.0


def attended_s() -> float:
    """Return seconds of a clock that stands while this process does, of the running event loop.

    It runs while a board is open.
    """
    return attention().attended_s


# --- waiting --------------------------------------------------------------------------------------


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


def standstill_s(due: float) -> float:
    """Return for how long this process stood still as a timer was due by the loop's clock; or 0."""
    late_s = asyncio.get_running_loop().time() - due
    return late_s if late_s > LATE_S else 0.0


async def wait_until(work: Awaitable[T], deadline: float) -> T:
    """Return what is awaited; cancel it, and raise asyncio.TimeoutError, at a deadline.

    deadline: in seconds of the event loop's clock.

    asyncio.wait_for() does so, too, but before Python 3.12 it swallows a cancellation that comes
    in the moment in which the work is done: Ctrl-C just then would be lost.
    """
    task = asyncio.ensure_future(work)
    try:
        await wait_done(task, deadline - asyncio.get_running_loop().time())
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
