"""The exceptions that an application may have to catch.

Exception
├── Denied            the board refuses, and says why
└── Stopped           an operation must end
    ├── Preempted     for one of higher priority, or because its session ended
    └── TimedOut      its time is over
"""


class Denied(Exception):
    """The board refuses.

    reason: a code, see docs/board.md; available: what is left, in the unit of the request, or None
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
    """The board needs the operation's place or memory, or its session was closed."""


class TimedOut(Stopped):
    """The operation's timeout is over."""


_spare_denied = [Denied("memory")]  # made while there is memory, for when there is none


def deny(reason, available=None, retry_after_ms=None, blockers=()):
    """Return a Denied to raise; without memory for a new one, the one made in advance.

    That one is shared: its text stays "memory", its attributes are those of the last refusal.
    """
    try:
        return Denied(reason, available, retry_after_ms, blockers)
    except MemoryError:
        denied = _spare_denied[0]
        denied.reason = reason
        denied.available = available
        denied.retry_after_ms = retry_after_ms
        denied.blockers = blockers
        return denied


def renew_spare_denied():
    """Replace the Denied made in advance: its traceback grows each time it is raised."""
    _spare_denied[0] = Denied("memory")


def check_text(text):
    """Return a name; ValueError for control characters: hosts show names on terminals."""
    last = 0
    for byte in text.encode():
        # U+0080 to U+009F are 0xC2 and a byte below 0xA0.
        if byte < 0x20 or (byte > 0x7E and (byte == 0x7F or (last == 0xC2 and byte < 0xA0))):
            raise ValueError("control characters")
        last = byte
    return text
