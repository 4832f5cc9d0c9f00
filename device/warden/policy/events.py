"""What happened: a ring of fixed size, and the functions of the application that want to know."""

from array import array

from micropython import const

from warden.sensors.threads import new_lock
from warden.tables import SUBSCRIBED, Table
from warden_schema.codec import cut

_EVENT = const(11)
_MAX_EVENTS = const(16)
_MAX_CALLBACKS = const(8)
_MAX_DETAIL = const(32)  # bytes of UTF-8
_CHANGED_FLAG = const(1)
_SUBSCRIBED_FLAG = const(2)


class Events(Table):
    """`post()` from anywhere; `deliver()` where the application's code may run."""

    def __init__(self, clock):
        super().__init__(clock, _EVENT, (), 1)
        self.seq = 0  # of the next event
        self.delivered = 0  # callbacks have seen those before
        self.session = None  # of the host: says from which event on it wants them
        self._kinds = [None] * _MAX_EVENTS
        self._subjects = [None] * _MAX_EVENTS
        self._details = [None] * _MAX_EVENTS
        self._values = [None] * _MAX_EVENTS
        self._s = array("i", [0] * _MAX_EVENTS)
        self._ms = array("h", [0] * _MAX_EVENTS)
        self._callbacks = []
        self._posting = new_lock()
        self._delivering = new_lock()
        self._next = 0  # to be sent

    def post(self, kind, subject=None, detail=None, value=None):
        """Add an event; the oldest makes room. Allocates nothing; any lock may be held."""
        self.clock.advance()
        with self._posting:
            place = self.seq % _MAX_EVENTS
            self._kinds[place] = kind
            self._subjects[place] = subject
            self._details[place] = detail
            self._values[place] = value
            self._s[place] = self.clock.s
            self._ms[place] = self.clock.ms
            self.seq += 1
        self.mark_dirty(0)

    def event(self, number):
        """Return an event as a tuple; the oldest that is remembered, if it is forgotten."""
        with self._posting:
            number = max(number, self.seq - _MAX_EVENTS)
            place = number % _MAX_EVENTS
            return (
                number,
                self._kinds[place],
                self._s[place],
                self._ms[place],
                self._subjects[place],
                self._details[place],
                self._values[place],
            )

    def on(self, kind, function):
        """Call function(event) for each event of that kind, or of all kinds with None.

        Raises ValueError when there are eight already.
        """
        if len(self._callbacks) == _MAX_CALLBACKS:
            raise ValueError("no more than eight callbacks")
        self._callbacks.append((kind, function))

    def deliver(self):
        """Call the callbacks for what is new; one that raises is reported and stops no other.

        What a callback makes happen is delivered after it has returned.
        """
        if self.delivered == self.seq or not self._delivering.acquire(0):
            return
        try:
            while self.delivered < self.seq:
                if not self._callbacks:
                    self.delivered = self.seq
                    break
                event = self.event(self.delivered)
                self.delivered = event[0] + 1
                for kind, function in self._callbacks:
                    if kind is None or kind == event[1]:
                        self._call(function, event)
        finally:
            self._delivering.release()

    def _call(self, function, event):
        try:
            function(event)
        except Exception as error:
            if event[1] != "callback_failed":  # one that fails at these would never end
                self.post("callback_failed", event[0], type(error).__name__)

    # --- to a host ------------------------------------------------------------------------------

    def subscribe(self):
        """Begin with the event that the host wants, or the oldest that is remembered."""
        self._next = min(max(self.session.events_from or 0, 0), self.seq)
        if self._next < self.seq:
            self.dirty[0] = _SUBSCRIBED_FLAG
        self.clock.wake = True

    def encode(self, row, uplink):
        """Put the next event that the host lacks into the uplink."""
        with self._posting:
            self._next = number = max(self._next, self.seq - _MAX_EVENTS)
            if number >= self.seq:
                return False
            place = number % _MAX_EVENTS
            detail = self._details[place]
            if detail is not None and len(detail) * 4 > _MAX_DETAIL:
                detail = cut(detail, _MAX_DETAIL)
            uplink.begin(_EVENT, 7)
            uplink.put(number)
            uplink.put(self._kinds[place])
            uplink.put(self._s[place])
            uplink.put(self._ms[place])
            uplink.put(self._subjects[place])
            uplink.put(detail)
            uplink.put(self._values[place])
        return True

    def on_sent(self, row):
        """Go on to the event after the one that was sent."""
        self._next += 1
        if self._next < self.seq:
            self.dirty[0] = self.dirty[0] or _CHANGED_FLAG
