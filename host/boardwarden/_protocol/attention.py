"""Notices that this process stood still, as a laptop that sleeps: then nobody else was silent.

One for each event loop, by a timer that is late then. It goes by a clock that runs on while the
host sleeps, which the loop's may not.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

from boardwarden import _clock

from .waiting import LATE_S

_TICK_S = 0.5
Listener = Callable[[float], None]  # gets the seconds of a standstill that is over


class Attention:
    """An event loop's, while somebody listens."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ran_at = (0.0, 0.0)  # the last two times at which the loop was seen to run
        self._attended_s = 0.0  # until the newer of them

    def enter(self, listener: Listener) -> None:
        """Call a listener after each standstill from now on."""
        if not self._listeners:
            now = _clock.passed_s()
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
        since_s = _clock.passed_s() - self._ran_at[0]  # the newer may be of after the standstill
        return since_s if since_s > 2 * _TICK_S + LATE_S else 0.0

    @property
    def attended_s(self) -> float:
        """Seconds of a clock that runs while somebody listens, but not while the loop stands still.

        What is to last for some time by it cannot be over because nobody looked.
        """
        if not self._listeners:
            return self._attended_s
        passed_s = _clock.passed_s() - self._ran_at[1]
        return self._attended_s + min(passed_s, _TICK_S + LATE_S)

    def _tick(self) -> None:
        self._attended_s = self.attended_s
        now = _clock.passed_s()
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
