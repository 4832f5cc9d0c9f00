"""What happened, in a ring of fixed size, and who wants to know.

An event is (seq, kind, s, ms, subject, detail): uptime in seconds and milliseconds, the id it is
about (or None), and a number or short text. Callbacks are called by `deliver`, outside all locks.
"""

from micropython import const

_EVENTS = const(16)
_CALLBACKS = const(8)


def _nobody():
    """Stand for who wants to know of events."""


class Events:
    """`post` from anywhere; `deliver` where user code may run."""

    def __init__(self, clock, lock):
        self.seq = 0  # of the next event; the ring holds the last 16
        self.failed = 0  # callbacks that raised
        self.changed = _nobody  # called at each new event
        self._clock = clock
        self._lock = lock
        self._ring = [None] * _EVENTS
        self._told = 0  # callbacks have seen those before
        self._callbacks = [None] * _CALLBACKS

    def post(self, kind, subject=None, detail=None):
        """Add an event; the oldest makes room."""
        clock = self._clock
        self._lock.acquire(1)
        try:
            seq = self.seq
            event = (seq, kind, clock.s, clock.ms, subject, detail)
            self._ring[seq % _EVENTS] = event
            self.seq = seq + 1
        finally:
            self._lock.release()
        self.changed()

    def since(self, seq):
        """Return the events from number `seq` on that the ring still holds, oldest first."""
        first = max(seq, self.seq - _EVENTS)
        return [self._ring[number % _EVENTS] for number in range(first, self.seq)]

    def on(self, kind, function):
        """Call function(event) for each event of that kind, or of all kinds with None.

        Raises ValueError when there are eight already.
        """
        for place in range(_CALLBACKS):
            if self._callbacks[place] is None:
                self._callbacks[place] = (kind, function)
                return
        raise ValueError("no more than eight callbacks")

    def deliver(self):
        """Call the callbacks for what is new; one that raises is counted and stops no other."""
        while self._told < self.seq:
            self._told = max(self._told, self.seq - _EVENTS)
            event = self._ring[self._told % _EVENTS]
            self._told += 1
            for entry in self._callbacks:
                if entry is not None and entry[0] in (None, event[1]):
                    try:
                        entry[1](event)
                    except Exception:
                        self.failed += 1
