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
    knows; blockers: ids of the leases or operations that stand in the way. spare: one that was made
    while there was memory, for when there is none, see `deny()`.
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


Denied.spare = Denied("memory")


def deny(reason, available=None, retry_after_ms=None, blockers=()):
    """Return a Denied to raise; without memory for a new one, the spare one.

    That one is shared: its text stays "memory", its attributes are those of the last refusal. Each
    time that it is raised its traceback grows, so now and then another one takes its place.
    """
    try:
        return Denied(reason, available, retry_after_ms, blockers)
    except MemoryError:
        denied = Denied.spare
        denied.reason = reason
        denied.available = available
        denied.retry_after_ms = retry_after_ms
        denied.blockers = blockers
        return denied


def check_text(text):
    """Return a name; ValueError for control characters: hosts show names on terminals."""
    last = 0
    for byte in text.encode():
        # U+0080 to U+009F are 0xC2 and a byte below 0xA0.
        if byte < 0x20 or (byte > 0x7E and (byte == 0x7F or (last == 0xC2 and byte < 0xA0))):
            raise ValueError("control characters")
        last = byte
    return text
