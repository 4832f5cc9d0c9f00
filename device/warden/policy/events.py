"""Events: a ring of fixed size, and the application's callbacks for them."""

from micropython import const

from warden.errors import deny
from warden.tables import Table
from warden_schema.codec import cut, put

_EVENT = const(11)
_MAX_EVENTS = const(16)
_MAX_CALLBACKS = const(8)
_MAX_DELIVERED = const(32)  # at a time
_MAX_DETAIL = const(32)  # bytes of UTF-8
_EVENT_FIELDS = const(6)  # kind, s, ms, subject, detail, value
_DETAIL = const(4)
_CHANGED = const(1)
_SUBSCRIBED = const(2)
_CALLBACK = const(2)  # of ids.EXCEPTION_KINDS


class Events(Table):
    """`deliver()` calls the callbacks, where the application's code may run.

    lock: of all that is granted. Who has it adds an event by `add()`, anybody else by `post()`.
    """

    def __init__(self, clock, session, lock):
        super().__init__(clock, _EVENT, (), 1)
        self.seq = 0  # of the next event
        self.delivered = 0  # callbacks have seen those before
        self.session = session  # of the host: says from which event on it wants them
        self.ring = [None] * (_MAX_EVENTS * _EVENT_FIELDS)
        self.callbacks = []
        self.lock = lock
        self.next = 0  # to be sent

    def add(self, kind, subject=None, detail=None, value=None):
        """Add an event; the oldest makes room. The caller has the lock. Allocates nothing.

        Its time is the clock's, which the caller has brought up to now.
        """
        ring = self.ring
        place = self.seq % _MAX_EVENTS * _EVENT_FIELDS
        ring[place] = kind
        ring[place + 1] = self.clock.s
        ring[place + 2] = self.clock.ms
        ring[place + 3] = subject
        ring[place + _DETAIL] = detail
        ring[place + 5] = value
        self.seq += 1
        # As mark_dirty() does, written out: it is for each decision.
        self.dirty[0] = self.dirty[0] or _CHANGED
        self.clock.poll_now = self.clock.rows_dirty = True

    def post(self, kind, subject=None, detail=None, value=None):
        """Add an event, as add(), for a caller that does not have the lock."""
        with self.lock:
            self.add(kind, subject, detail, value)

    def deny(self, reason):
        """Post an event for a refusal; return the Denied. The caller does not have the lock."""
        self.clock.advance()
        self.post("denied", None, reason)
        return deny(reason)

    def report(self, error, kind, name, count=None):
        """Post an event for an exception that ended something; `warden.crashes` keeps it, too.

        kind: a place in ids.EXCEPTION_KINDS; name: of the task or thread, or None; of a callback
        the subject of its event. count: how often the same one came, None where nobody counts.
        """
        detail = type(error).__name__
        if kind == _CALLBACK:
            self.post("callback_failed", name, detail, count)
            return
        try:
            if name is not None:
                detail = name + ": " + detail
        except MemoryError:
            pass
        self.post("exception", kind, detail, count)

    def event(self, number):
        """Return an event as a tuple; the oldest in the ring, if it was overwritten."""
        with self.lock:
            number = max(number, self.seq - _MAX_EVENTS)
            place = number % _MAX_EVENTS * _EVENT_FIELDS
            return tuple([number] + self.ring[place : place + _EVENT_FIELDS])

    def on(self, kind, function):
        """Call function(event) for each event of that kind, or of all kinds with None.

        What is set already, as by a main that runs anew, is left alone. Raises ValueError when
        there are eight others.
        """
        entry = (kind, function)
        if entry not in self.callbacks:
            if len(self.callbacks) == _MAX_CALLBACKS:
                raise ValueError("no more than eight")
            self.callbacks.append(entry)

    def call(self, function, value, name, report=True):
        """Return what a callback of the application returns; None, and a report, if it raises.

        A coroutine that it returns, being an `async def`, is reported, too: nobody would run it.
        """
        try:
            result = function(value)
        except KeyboardInterrupt:
            raise
        except SystemExit:
            raise
        except BaseException as error:  # asyncio's CancelledError would end the agent's task
            if report:
                self.report(error, _CALLBACK, name)
            return None
        if report and hasattr(result, "throw"):
            self.post("callback_failed", name, "coroutine")
        return result

    def deliver(self):
        """Call the callbacks for new events; one that raises is reported and stops no other.

        What a callback makes happen is delivered after it has returned; what happened before the
        first callback was set is remembered for it. So many events at most: the rest, where each
        makes the next one happen without end, is left to the next poll.
        """
        left = _MAX_DELIVERED
        while self.callbacks and self.delivered < self.seq and left:
            left -= 1
            event = self.event(self.delivered)
            self.delivered = event[0] + 1
            for kind, function in self.callbacks:
                if kind is None or kind == event[1]:
                    # A report of one that is called with its own report would never end.
                    self.call(function, event, event[0], event[1] != "callback_failed")

    # --- to a host ------------------------------------------------------------------------------

    def subscribe(self):
        """Begin with the event that the host wants, or the oldest in the ring."""
        self.next = min(max(self.session.events_from or 0, 0), self.seq)
        if self.next < self.seq:
            self.dirty[0] = _SUBSCRIBED
        self.clock.poll_now = True

    def encode(self, row, uplink):
        """Put the next event that the host lacks into the uplink."""
        with self.lock:
            self.next = number = max(self.next, self.seq - _MAX_EVENTS)
            if number >= self.seq:
                return False
            payload = uplink.payload
            at = put(payload, uplink.begin(_EVENT, 1 + _EVENT_FIELDS), number)
            first = number % _MAX_EVENTS * _EVENT_FIELDS
            for place in range(first, first + _EVENT_FIELDS):
                value = self.ring[place]
                if place - first == _DETAIL and value is not None and len(value) * 4 > _MAX_DETAIL:
                    value = cut(value, _MAX_DETAIL)
                at = put(payload, at, value)
            uplink.at = at
        return True

    def on_sent(self, row):
        """Go on to the event after the one that was sent."""
        self.next += 1
        if self.next < self.seq:
            self.dirty[0] = self.dirty[0] or _CHANGED
