"""The time of day, which never goes back: what is recorded stays in order when the clock is set."""

from __future__ import annotations

import time


def passed_s() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the host sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; its monotonic clock stops meanwhile
    return time.monotonic() if boot is None else time.clock_gettime(boot)


_offset = time.time() - passed_s()


def steady_time() -> float:
    """Return seconds since the epoch, by the host's clock; where it was set back, as it was before.

    A computer without a battery for its clock starts with a time of long ago, and learns the right
    one while this runs.
    """
    global _offset
    passed = passed_s()
    _offset = max(_offset, time.time() - passed)
    return passed + _offset
