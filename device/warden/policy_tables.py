"""What a host is told of leases, operations, sessions and events.

Names are cut, so that the figures of a row always have room: nothing looks at it again here.
"""

from micropython import const

from warden.tables import Table, put_large
from warden_schema import codec
from warden_schema.loops import find_taken as _find_taken
from warden_schema.loops import left_ms as _left_ms
from warden_schema.loops import pack_message as _pack_message
from warden_schema.loops import pack_row as _pack_row
from warden_schema.loops import taken as _taken

_LEASE = const(8)
_OPERATION = const(9)
_SESSION = const(10)
_EVENT = const(11)
_ROWS = const(12)
_OF_STORAGE = const(1)  # of a lease
_MAX_DETAIL = const(32)
# Which of their fields are texts, a bit for each.
_LEASE_TEXTS = const(0b100_0001_0000)
_OPERATION_TEXTS = const(0b1000_0100_0100)
_SESSION_TEXTS = const(0b100)
_EVENT_TEXTS = const(0b10_0010)
_SURE_LETTERS = const(8)  # take _MAX_DETAIL bytes at most
_MOST = const(0x3FFFFFFF)
_TIMEOUT = const(1)  # in the limits
_UNTIMED = (0, 4)  # operations that are WAITING or ADMITTING


def id_of(entry):
    return None if entry is None else entry.id


def _put_limits(buf, at, limits):
    if limits[_TIMEOUT] > _MOST:
        return codec.put(buf, at, limits)
    at = codec.put_array(buf, at, len(limits))
    return _pack_row(buf, at, limits, len(limits), 0)


class Taken(Table):
    """Which rows of the other tables are taken, and the limits."""

    def __init__(self, granted, limits, watched):
        super().__init__(1)
        self._granted = granted  # leases, operations, sessions
        self._limits = limits  # function -> list, in the order of ids.LIMITS_SET
        self._watched = watched  # thresholds, meters, needs: each has a list `table`
        self._masks = [0] * 3
        self._others = [0] * 3

    def encode(self, _row, uplink):
        """Put the message into the uplink; return its length."""
        buf = uplink.payload
        _find_taken(self._granted, self._watched, self._masks, self._others)
        at = _pack_row(buf, uplink.begin(_ROWS, 7), self._masks, 3, 0)
        at = _put_limits(buf, at, self._limits())
        return _pack_row(buf, at, self._others, 3, 0)


class Rows(Table):
    """The rows of one owner's table; `mark` leaves out the free ones, which Taken tells."""

    def __init__(self, owner):
        super().__init__(len(owner.table))
        self.owner = owner
        self.fields = [None] * self.width  # of one message: made once, so that none allocates

    def mark(self):
        """Have all rows sent that are taken."""
        self.news[self.place] = self.news[0] = 1
        _taken(self.owner.table, self.due, len(self.due))


class LeaseRows(Rows):
    """Leases."""

    width = 11

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return its length, 0 for a row that is free."""
        owner = self.owner
        lease = owner.table[row]
        if lease is None:
            return 0
        fields = self.fields
        fields[0] = row
        fields[1] = lease.id
        fields[2] = lease.kind
        fields[3] = lease.amount
        fields[4] = lease.owner
        fields[5] = lease.priority
        fields[6] = id_of(lease.session)
        fields[7] = owner.began_s[row]
        row = _left_ms(owner, row)  # the ms: one variable more, and the frame would be too large
        fields[8] = None if row < 0 else row
        fields[9] = lease.committed
        fields[10] = None
        if lease.kind == _OF_STORAGE:
            fields[9] = lease.committed or lease.used >= lease.amount
            fields[10] = lease.mount
        return _pack_message(uplink, _LEASE, fields, _LEASE_TEXTS)


class OperationRows(Rows):
    """Operations."""

    width = 12

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return its length, 0 for a row that is free."""
        owner = self.owner
        op = owner.table[row]
        if op is None:
            return 0
        fields = self.fields
        fields[0] = row
        fields[1] = op.id
        fields[2] = op.name
        fields[3] = op.priority
        fields[4] = op.state
        fields[5], fields[6] = owner.told[row]
        fields[7] = id_of(op.session)
        fields[8] = owner.began_s[row]
        row = -1 if op.state in _UNTIMED else _left_ms(owner, row)  # the ms, as above
        fields[9] = None if row < 0 else row
        fields[10] = op.memory
        fields[11] = None if op.why is None else op.told_why()
        return _pack_message(uplink, _OPERATION, fields, _OPERATION_TEXTS)


class SessionRows(Rows):
    """Sessions."""

    width = 7

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return its length, 0 for a row that is free."""
        session = self.owner.table[row]
        if session is None:
            return 0
        fields = self.fields
        fields[0] = row
        fields[1] = session.id
        fields[2] = session.name
        fields[3], fields[4], fields[5] = session.quotas
        left = _left_ms(self.owner, row)
        fields[6] = None if left < 0 else left
        if session.is_large:
            return put_large(uplink, _SESSION, fields)
        return _pack_message(uplink, _SESSION, fields, _SESSION_TEXTS)


class EventRows(Table):
    """Events, in their order, from the one that the host asked for."""

    def __init__(self, events, host):
        super().__init__(1)
        self._events = events
        self._host = host  # of the link: it knows what the host asked for
        self.fields = [None] * 7
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
        fields = self.fields
        self._number = self._events.read(self._next, fields)
        detail = fields[5]
        if detail is not None and len(detail) > _SURE_LETTERS:
            fields[5] = codec.cut(detail, _MAX_DETAIL)
        value = fields[6]
        if value is None or -_MOST <= value <= _MOST:
            return _pack_message(uplink, _EVENT, fields, _EVENT_TEXTS)
        return put_large(uplink, _EVENT, fields)

    def sent(self):
        """Go on to the event after the one that was sent."""
        self._next = self._number + 1
        if self._next < self._events.seq:
            self.news[self.place] = self.news[0] = self.due[0] = 1
