"""What a host is told of leases, operations, sessions and events.

Names are cut, so that the figures of a row always have room: nothing looks at it again here.
"""

from micropython import const

from warden_schema import codec
from warden_schema.loops import pack_message as _pack_message
from warden_schema.loops import pack_row as _pack_row
from warden_schema.loops import taken as _taken

from .tables import Table

_LEASE = const(8)
_OPERATION = const(9)
_SESSION = const(10)
_EVENT = const(11)
_ROWS = const(12)
_MAX_DETAIL = const(32)
_MOST_ROWS = const(16)  # of a table
# Which of their fields are texts, a bit for each.
_LEASE_TEXTS = const(0b100_0001_0000)
_OPERATION_TEXTS = const(0b1000_0100_0100)
_SESSION_TEXTS = const(0b100)


def id_of(entry):
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
        return _pack_row(buf, at, masks, len(masks), 0)


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
        fields[8] = owner.left_ms(row)
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
        fields[9] = owner.left_of(op)
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
        fields[6] = self.owner.left_ms(row)
        if session.is_large:
            return self._put_large(uplink, fields)
        return _pack_message(uplink, _SESSION, fields, _SESSION_TEXTS)

    def _put_large(self, uplink, fields):
        """Do so where quotas are larger than the machine code packs them."""
        at = uplink.begin(_SESSION, len(fields))
        for field in fields:
            at = codec.put(uplink.payload, at, field)
        return at


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
        at = _pack_row(buf, at, (s, ms, subject), 3, 0)
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
