"""The time of day without jumps: what is recorded must not go back when the host's clock is set."""

from __future__ import annotations

import time


def passed_s() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the host sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; its monotonic clock stops meanwhile
    return time.monotonic() if boot is None else time.clock_gettime(boot)


_SET_S = 60.0  # a clock that is ahead for so long was set right; one that jumps comes back
_LEAST_S = 1.0
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
