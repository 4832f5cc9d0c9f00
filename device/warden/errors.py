"""What applications may have to catch.

Exception
├── Denied            the board refuses, and says why
└── Stopped           an operation must end
    ├── Preempted     for one of higher priority, or because its session ended
    └── TimedOut      its time is over
"""


class Denied(Exception):
    """The board refuses.

    reason: a code, see docs/board.md; available: what could be had, in the unit asked for, or None
    where the reason is none of amount; retry_after_ms: when it may be otherwise, None if nobody
    knows; blockers: ids of the leases or operations that stand in the way.
    """

    def __init__(self, reason, available=None, retry_after_ms=None, blockers=()):
        super().__init__(reason)
        self.reason = reason
        self.available = available
        self.retry_after_ms = retry_after_ms
        self.blockers = blockers


class Stopped(Exception):
    """The operation must end."""


class Preempted(Stopped):
    """Something of higher priority needs the place."""


class TimedOut(Stopped):
    """The time that was given is over."""
