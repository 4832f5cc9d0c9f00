"""What a host is told of leases, operations, sessions and events."""

from micropython import const

from warden_schema import codec

from .tables import Table

_LEASE = const(8)
_OPERATION = const(9)
_SESSION = const(10)
_EVENT = const(11)
_ROWS = const(12)
_MAX_DETAIL = const(32)


def _put_session(buf, at, session):
    return codec.put_int(buf, at, session.id if session is not None else None)


def _put_taken(buf, at, owners):
    """Put a bit for each row that is taken, for each owner."""
    for owner in owners:
        mask = 0
        for row, entry in enumerate(owner.table):
            if entry is not None:
                mask |= 1 << row
        at = codec.put_int(buf, at, mask)
    return at


class Taken(Table):
    """Which rows of the other tables are taken, and the limits."""

    def __init__(self, granted, limits, watched):
        super().__init__(1)
        self._granted = granted  # leases, operations, sessions: each has a list `table`
        self._limits = limits  # function -> list, in the order of ids.LIMITS_SET
        self._watched = watched  # thresholds, meters, needs

    def encode(self, _row, uplink):
        """Put the message into the uplink; return its length."""
        buf = uplink.payload
        at = _put_taken(buf, uplink.begin(_ROWS, 7), self._granted)
        at = codec.put(buf, at, self._limits())
        return _put_taken(buf, at, self._watched)


class Rows(Table):
    """The rows of one owner's table; `mark` leaves out the free ones, which Taken tells."""

    def __init__(self, owner):
        super().__init__(len(owner.table))
        self.owner = owner

    def mark(self):
        """Have all rows sent that are taken."""
        self.news[self.place] = 1
        for row, entry in enumerate(self.owner.table):
            self.due[row] = 0 if entry is None else 1

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return its length, 0 for a row that is free."""
        entry = self.owner.table[row]
        return 0 if entry is None else self._put(uplink, uplink.payload, row, entry)


class LeaseRows(Rows):
    """Leases."""

    def _put(self, uplink, buf, row, lease):
        at = codec.put_int(buf, uplink.begin(_LEASE, 11), row)
        at = codec.put_int(buf, at, lease.id)
        at = codec.put_int(buf, at, lease.kind)
        at = codec.put_int(buf, at, lease.amount)
        at = codec.put_str(buf, at, lease.owner)
        at = codec.put_int(buf, at, lease.priority)
        at = _put_session(buf, at, lease.session)
        at = codec.put_int(buf, at, self.owner.granted_s[row])
        at = codec.put_int(buf, at, self.owner.left_ms(row))
        at = codec.put_int(buf, at, lease.outstanding() == 0)
        return codec.put(buf, at, lease.mount)


class OperationRows(Rows):
    """Operations."""

    def _put(self, uplink, buf, row, op):
        at = codec.put_int(buf, uplink.begin(_OPERATION, 12), row)
        at = codec.put_int(buf, at, op.id)
        at = codec.put_str(buf, at, op.name)
        at = codec.put_int(buf, at, op.priority)
        at = codec.put_int(buf, at, op.state)
        permille, text = self.owner.told[row]
        at = codec.put_int(buf, at, permille)
        at = codec.put_str(buf, at, text)
        at = _put_session(buf, at, op.session)
        at = codec.put_int(buf, at, self.owner.began_s[row])
        at = codec.put_int(buf, at, self.owner.left_of(op))
        at = codec.put_int(buf, at, op.memory)
        return codec.put(buf, at, op.told_why())


class SessionRows(Rows):
    """Sessions."""

    def _put(self, uplink, buf, row, session):
        at = codec.put_int(buf, uplink.begin(_SESSION, 7), row)
        at = codec.put_int(buf, at, session.id)
        at = codec.put_str(buf, at, session.name)
        for quota in session.quotas:
            at = codec.put_int(buf, at, quota)
        return codec.put_int(buf, at, self.owner.left_ms(row))


class EventRows(Table):
    """Events, in their order, from the one that the host asked for."""

    def __init__(self, events, host):
        super().__init__(1)
        self._events = events
        self._host = host  # of the link: it knows what the host asked for
        self._next = 0
        self._number = 0  # of the one that was encoded last

    def mark(self):
        """Begin with the one that the host wants, or the oldest that is remembered."""
        self._next = min(max(self._host.events_from or 0, 0), self._events.seq)
        self.news[self.place] = self.due[0] = 1

    def encode(self, _row, uplink):
        """Put the next event's message into the uplink; return its length, 0 if there is none."""
        if self._next >= self._events.seq:
            return 0
        number, kind, s, ms, subject, detail, value = self._events.event(self._next)
        buf = uplink.payload
        at = codec.put_int(buf, uplink.begin(_EVENT, 7), number)
        at = codec.put_str(buf, at, codec.cut(kind, _MAX_DETAIL))
        at = codec.put_int(buf, at, s)
        at = codec.put_int(buf, at, ms)
        at = codec.put_int(buf, at, subject)
        if detail is not None:
            detail = codec.cut(detail, _MAX_DETAIL)
        at = codec.put(buf, at, detail)
        self._number = number
        return codec.put_int(buf, at, value)

    def sent(self):
        """Go on to the event after the one that was sent."""
        self._next = self._number + 1
        if self._next < self._events.seq:
            self.news[self.place] = self.due[0] = 1
