"""What a host is told of leases, operations, sessions and events.

Names are cut, so that the figures of a row always have room: nothing looks at it again here.
"""

from micropython import const

from warden.tables import Table
from warden_schema import codec
from warden_schema.loops import pack_row as _pack_row
from warden_schema.loops import taken as _taken

_LEASE = const(8)
_OPERATION = const(9)
_SESSION = const(10)
_EVENT = const(11)
_ROWS = const(12)
_MAX_DETAIL = const(32)
_MOST_ROWS = const(16)  # of a table


def _id(entry):
    return None if entry is None else entry.id


class Taken(Table):
    """Which rows of the other tables are taken, and the limits."""

    def __init__(self, granted, limits, watched):
        super().__init__(1)
        self._granted = granted  # leases, operations, sessions: each has a list `table`
        self._limits = limits  # function -> list, in the order of ids.LIMITS_SET
        self._watched = watched  # thresholds, meters, needs
        self._flags = bytearray(_MOST_ROWS)

    def encode(self, _row, uplink):
        """Put the message into the uplink; return its length."""
        buf = uplink.payload
        at = self._put_taken(buf, uplink.begin(_ROWS, 7), self._granted)
        limits = self._limits()
        at = codec.put_array(buf, at, len(limits))
        for limit in limits:  # a timeout may be of any size
            at = codec.put_int(buf, at, limit)
        return self._put_taken(buf, at, self._watched)

    def _put_taken(self, buf, at, owners):
        """Put a bit for each row that is taken, for each owner."""
        masks = [_taken(owner.table, self._flags, len(owner.table)) for owner in owners]
        return _pack_row(buf, at, masks, len(masks))


class Rows(Table):
    """The rows of one owner's table; `mark` leaves out the free ones, which Taken tells."""

    def __init__(self, owner):
        super().__init__(len(owner.table))
        self.owner = owner

    def mark(self):
        """Have all rows sent that are taken."""
        self.news[self.place] = self.news[0] = 1
        _taken(self.owner.table, self.due, len(self.due))

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return its length, 0 for a row that is free."""
        entry = self.owner.table[row]
        return 0 if entry is None else self._put(uplink, uplink.payload, row, entry)


class LeaseRows(Rows):
    """Leases."""

    def _put(self, uplink, buf, row, lease):
        figures = (row, lease.id, lease.kind, lease.amount)
        at = _pack_row(buf, uplink.begin(_LEASE, 11), figures, 4)
        at = codec.put_str(buf, at, lease.owner)
        owner = self.owner
        ended = lease.outstanding() == 0
        left_ms = owner.left_ms(row)
        figures = (lease.priority, _id(lease.session), owner.granted_s[row], left_ms, ended)
        at = _pack_row(buf, at, figures, 5)
        return codec.put(buf, at, lease.mount)


class OperationRows(Rows):
    """Operations."""

    def _put(self, uplink, buf, row, op):
        at = _pack_row(buf, uplink.begin(_OPERATION, 12), (row, op.id), 2)
        at = codec.put_str(buf, at, op.name)
        owner = self.owner
        permille, text = owner.told[row]
        at = _pack_row(buf, at, (op.priority, op.state, permille), 3)
        at = codec.put_str(buf, at, text)
        figures = (_id(op.session), owner.began_s[row], owner.left_of(op), op.memory)
        at = _pack_row(buf, at, figures, 4)
        return codec.put(buf, at, op.told_why())


class SessionRows(Rows):
    """Sessions."""

    def _put(self, uplink, buf, row, session):
        at = _pack_row(buf, uplink.begin(_SESSION, 7), (row, session.id), 2)
        at = codec.put_str(buf, at, session.name)
        for quota in session.quotas:  # of any size
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
        self.news[self.place] = self.news[0] = self.due[0] = 1

    def encode(self, _row, uplink):
        """Put the next event's message into the uplink; return its length, 0 if there is none."""
        if self._next >= self._events.seq:
            return 0
        number, kind, s, ms, subject, detail, value = self._events.event(self._next)
        buf = uplink.payload
        at = codec.put_int(buf, uplink.begin(_EVENT, 7), number)
        at = codec.put_str(buf, at, codec.cut(kind, _MAX_DETAIL))
        at = _pack_row(buf, at, (s, ms, subject), 3)
        if detail is not None:
            detail = codec.cut(detail, _MAX_DETAIL)
        at = codec.put(buf, at, detail)
        self._number = number
        return codec.put_int(buf, at, value)

    def sent(self):
        """Go on to the event after the one that was sent."""
        self._next = self._number + 1
        if self._next < self._events.seq:
            self.news[self.place] = self.news[0] = self.due[0] = 1
