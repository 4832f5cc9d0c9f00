"""What happened, in a ring of fixed size, and who wants to know.

An event is (number, kind, s, ms, subject, detail, value): the uptime in seconds and milliseconds,
the id it is about (or None), a short text, and a number. `ids.EVENT_KINDS` says what they are for
each kind. Posting one allocates nothing, for it must work when there is no memory; callbacks are
called by `deliver`, outside all locks.
"""

from micropython import const

from warden_schema.loops import note as _note
from warden_schema.loops import read_event as _read_event

_EVENTS = const(16)
_FIELDS = const(6)  # in the ring: all but the number
_CALLBACKS = const(8)


def _nobody(row):
    """Stand for who wants to know of events."""


class Events:
    """`post` from anywhere; `deliver` where user code may run."""

    def __init__(self, clock, lock, telling):
        self.seq = 0  # of the next event; the ring holds the last 16
        self.told = 0  # callbacks have seen those before: deliver() has something to do if not all
        self.failed = 0  # callbacks that raised
        self.changed = _nobody  # function of 0, called at each new event
        self.clock = clock
        self.acquire = lock.acquire
        self.release = lock.release
        self._telling = telling  # a lock: one thread at a time calls callbacks
        self.ring = [None] * (_EVENTS * _FIELDS)
        self._callbacks = [None] * _CALLBACKS

    def post(self, kind, subject=None, detail=None, value=None):
        """Add an event; the oldest makes room. Allocates nothing."""
        self.clock.advance()
        self.acquire(1)
        try:
            self.put(kind, subject, detail, value)
        finally:
            self.release()

    # put(kind, subject, detail, value) adds one for who holds the lock and has advanced the clock.
    put = _note

    def event(self, number):
        """Return the event of that number; the oldest that is remembered, if it is forgotten."""
        fields = [None] * (1 + _FIELDS)
        self.read(number, fields)
        return tuple(fields)

    # read(number, fields) puts it into a list, and returns its number.
    read = _read_event

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
        """Call the callbacks for what is new; one that raises is reported and stops no other.

        What a callback makes happen is told after it has returned.
        """
        if not self._telling.acquire(0):
            return
        try:
            while self.told < self.seq:
                event = self.event(self.told)
                self.told = event[0] + 1
                for entry in self._callbacks:
                    if entry is not None and entry[0] in (None, event[1]):
                        self._call(entry[1], event)
        finally:
            self._telling.release()

    def _call(self, function, event):
        try:
            function(event)
        except Exception as error:
            self.failed += 1
            if event[1] != "callback_failed":  # one that fails at these would never end
                self.post("callback_failed", event[0], type(error).__name__)
