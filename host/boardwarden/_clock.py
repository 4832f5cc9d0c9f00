"""The time of day without jumps: what is recorded must not go back when the host's clock is set."""

from __future__ import annotations

import time


def passed_s() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the host sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; its monotonic clock stops meanwhile
    return time.monotonic() if boot is None else time.clock_gettime(boot)


_OFFSET = time.time() - passed_s()


def steady_time() -> float:
    """Return seconds since the epoch, by the host's clock as it was when the program started."""
    return passed_s() + _OFFSET
