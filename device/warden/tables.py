"""What a host is told: rows that are sent when they changed, as they are at that moment.

A table has a flag for each row. Whoever changes a row sets its flag; it is cleared before the row
is read, and set again if the frame cannot go. So nothing is queued, nothing is lost that still
matters, and a change in another thread meanwhile is not missed.
"""

from micropython import const

from warden_schema import codec
from warden_schema.loops import mark as _mark
from warden_schema.loops import pack_message as _pack_message
from warden_schema.loops import pack_row as _pack_row

_HELLO = const(1)
_STORAGE = const(4)
_MAJOR = const(1)
_MINOR = const(3)
_MAX_NAME = const(24)
_MAX_PAYLOAD = const(200)
_MAX_REQUEST = const(128)
_MAX_PENDING = const(4)
_MAX_MOUNTS = const(4)
_NO_MOUNT = const((None, None, None, None, None))
_LIMITS = const((_MAX_PAYLOAD, _MAX_REQUEST, _MAX_PENDING, _MAX_MOUNTS))
_MOST = const(0x3FFFFFFF)
_STORAGE_TEXTS = const(0b100)  # which fields are texts, a bit for each
_SURE_LETTERS = const(6)  # take _MAX_NAME bytes at most
_VERSION = const((_MAJOR, _MINOR))


def put_large(uplink, kind, fields):
    """Put a message whose figures are larger than the machine code packs them."""
    at = uplink.begin(kind, len(fields))
    for field in fields:
        at = codec.put(uplink.payload, at, field)
    return at


class Table:
    """`rows` flags; one that is 1 is due to be sent."""

    def __init__(self, rows):
        self.due = bytearray(rows)
        self.news = bytearray(1)  # the clock's, once a session tells this table,
        self.place = 0  # where 1 says that some row is due
        self.encode = self.encode  # a method that is found in the instance is found sooner
        self.sent = getattr(self, "sent", None)  # is called when a row's frame has left

    def mark(self):
        """Have all rows sent."""
        self.news[self.place] = self.news[0] = 1
        for row in range(len(self.due)):  # mostly one
            self.due[row] = 1

    changed = _mark  # have one row sent


class Hello(Table):
    """Who the board is, its limits, and what it can tell."""

    def __init__(self, boot_id, identity, capabilities):
        super().__init__(1)
        self.host_id = 0
        self.boot_id = boot_id
        self.identity = identity  # in the order of ids.IDENTITY
        self._told = None  # that and the limits as msgpack, once a host has asked for it
        self.capabilities = capabilities  # bytearray, in the order of ids.CAPABILITIES

    def encode(self, _row, uplink):
        """Put the message into the uplink; return its length."""
        buf = uplink.payload
        at = uplink.begin(_HELLO, 7)
        at = _pack_row(buf, at, _VERSION, 2, 0)
        at = codec.put_int(buf, at, self.host_id)  # whatever the host chose
        at = codec.put_int(buf, at, self.boot_id)
        at = self._put_identity(buf, at)
        return codec.put_bytes(buf, at, self.capabilities)

    def _put_identity(self, buf, at):
        """Put what is always the same."""
        told = self._told
        if told is None:
            end = codec.put(buf, at, self.identity)
            end = codec.put(buf, end, _LIMITS)
            self._told = told = bytes(buf[at:end])
        end = at + len(told)
        buf[at:end] = told
        return end


class StorageTable(Table):
    """A row for each mount; with none, one row that says so."""

    def __init__(self, storage):
        super().__init__(_MAX_MOUNTS)
        self._storage = storage
        self._fields = [None] * 7

    def mark(self, rows=(1 << _MAX_MOUNTS) - 1):
        """Have these rows sent, a bit for each, as far as there are so many."""
        self.news[self.place] = self.news[0] = 1
        for row in range(max(1, len(self._storage.rows))):
            if rows >> row & 1:
                self.due[row] = 1

    def encode(self, index, uplink):
        """Put a row's message into the uplink; return its length."""
        fields = self._fields
        if self._fill(fields, self._storage.rows, index):
            return put_large(uplink, _STORAGE, fields)
        return _pack_message(uplink, _STORAGE, fields, _STORAGE_TEXTS)

    @staticmethod
    def _fill(fields, rows, row):
        """Put a row into the fields; return whether a figure is larger than machine code packs."""
        fields[0] = row
        fields[1] = len(rows)
        row = rows[row] if row < len(rows) else None
        large = False
        for column in range(5):
            field = None if row is None else row[column]
            if column and field is not None:
                large = large or field > _MOST
            fields[2 + column] = field
        if row is not None and len(row[0]) > _SURE_LETTERS:
            fields[2] = codec.cut(row[0], _MAX_NAME)
        return large
