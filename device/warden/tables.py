"""Tables that a host mirrors: a row is sent when it has changed.

A table has a flag for each row. Whoever changes a row sets its flag; it is cleared before the row
is read, and set again if the frame cannot go. So nothing is queued, a row that changes twice is
sent once, as it is then, and a change in another thread meanwhile is not missed.
"""

from micropython import const

from warden_schema.codec import put

# A row's flag: it has changed, or a host has subscribed, and waits for it.
_CHANGED = const(1)
_SUBSCRIBED = const(2)


class Table:
    """Rows of one kind. fields: the attributes of an entry that are sent, in wire order.

    One that is an entry of another table is sent as its id.
    """

    on_sent = bool  # of a row whose frame has left: there is nothing to note

    def __init__(self, clock, kind, fields, count):
        self.clock = clock
        self.kind = kind
        self.fields = fields
        self.rows = [None] * count
        self.dirty = bytearray(count)

    def mark_dirty(self, row):
        """Mark a row for sending, because it has changed."""
        if not self.dirty[row]:
            self.dirty[row] = _CHANGED
        self.clock.poll_now = self.clock.rows_dirty = True

    def find_row(self, name, value):
        """Return the row whose entry has this value as an attribute; else a free one, or None."""
        free = None
        rows = self.rows
        for row in range(len(rows)):
            if rows[row] is not None:
                if getattr(rows[row], name) == value:
                    return row
            elif free is None:
                free = row
        return free

    def subscribe(self):
        """Mark all rows for sending: a host that has just subscribed knows none of them."""
        for row in range(len(self.dirty)):
            self.dirty[row] = 0 if self.rows[row] is None else _SUBSCRIBED

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return False if the row is not in use."""
        entry = self.rows[row]
        if entry is None:
            return False
        payload = uplink.payload
        at = put(payload, uplink.begin(self.kind, len(self.fields) + 1), row)
        for name in self.fields:
            # As an attribute, which is looked for in vain first, it would take ten times as long.
            value = self.until_ms(entry) if name == "left_ms" else getattr(entry, name)
            at = put(payload, at, value.id if hasattr(value, "id") else value)
        uplink.at = at
        return True
