"""A table of fixed size whose rows end in time.

A moment is two small integers, as in `Clock`: it wraps nowhere.
"""

from array import array

from micropython import const

from warden.tables import Table

_NEVER_S = const(0x3FFFFFFF)
_MAX_ID = const(0x3FFFFFFF)
MAX_NAME = 24  # bytes of UTF-8; longer ones are cut


class Row:
    """What is granted: it stands in a row of its table until it ends."""

    session = None  # that it belongs to

    def __init__(self, table):
        self.table = table
        self.row = 0
        self.id = 0  # until it is in the table

    @property
    def began_s(self):
        """The uptime at which it was entered."""
        return self.table.began_s[self.row]

    @property
    def left_ms(self):
        """The milliseconds until it ends, 0 if it should have, None for never."""
        return self.table.left_ms(self.row)


class Rows(Table):
    """Leases, operations or sessions. Whoever writes holds the lock, which all three share."""

    def __init__(self, clock, lock, events, kind, fields, size):
        super().__init__(clock, kind, fields, size)
        self.lock = lock
        self.events = events
        self.end_s = array("i", [_NEVER_S] * size)
        self.end_ms = array("i", [0] * size)
        self.began_s = array("i", [0] * size)
        self._next_id = 1

    # --- with the lock held ---------------------------------------------------------------------

    def free_row(self):
        """Return a row that is free, -1 if there is none."""
        row = 0
        for entry in self.rows:
            if entry is None:
                return row
            row += 1
        return -1

    def add(self, entry, row, ms):
        """Enter what is granted; it ends in so many milliseconds, None: not by itself."""
        entry.row = row
        entry.id = self._next_id
        self._next_id = self._next_id % _MAX_ID + 1
        self.began_s[row] = self.clock.s
        self.end_in(row, ms)
        self.rows[row] = entry  # from here on others see it
        self.mark_dirty(row)

    def remove(self, entry):
        """Take an entry out; return False if it is not there any more."""
        row = entry.row
        if self.rows[row] is not entry:
            return False
        self.rows[row] = None
        self.end_s[row] = _NEVER_S
        self.mark_free()
        return True

    def end_in(self, row, ms):
        """Have a row end so many milliseconds from now, None: not by itself."""
        if ms is None:
            self.end_s[row] = _NEVER_S
            return
        clock = self.clock
        s = ms // 1000
        ms = ms % 1000 + clock.ms
        if ms >= 1000:
            ms -= 1000
            s += 1
        s = min(s + clock.s, _NEVER_S - 1)  # in 34 years
        self.end_s[row] = s
        self.end_ms[row] = ms
        clock.sooner(s, ms)

    def schedule(self):
        """Tell the clock of all ends."""
        clock = self.clock
        row = 0
        for s in self.end_s:
            if s != _NEVER_S:
                clock.sooner(s, self.end_ms[row])
            row += 1

    def is_over(self, row):
        """Tell whether a row's time has come."""
        clock = self.clock
        s = self.end_s[row]
        return s < clock.s or (s == clock.s and self.end_ms[row] <= clock.ms)

    # --- with or without it ---------------------------------------------------------------------

    def left_ms(self, row):
        """Return the milliseconds until a row ends, 0 if it should have, None for never."""
        s = self.end_s[row]
        if s == _NEVER_S:
            return None
        return max(0, self.clock.left_ms(s, self.end_ms[row]))

    def next_over(self):
        """Return an entry whose time has come, None if there is none."""
        row = 0
        for s in self.end_s:
            if s <= self.clock.s and self.is_over(row):
                entry = self.rows[row]
                if entry is not None:
                    return entry
            row += 1
        return None

    def all(self):
        """Return the entries, oldest first."""
        return sorted([entry for entry in self.rows if entry], key=lambda entry: entry.id)

    def find(self, number):
        """Return the entry of that id; KeyError if it has ended or never was."""
        for entry in self.rows:
            if entry is not None and entry.id == number:
                return entry
        raise KeyError(number)

    def newest_of(self, session):
        """Return the newest entry that belongs to a session, None if there is none."""
        newest = None
        for entry in self.rows:
            if entry is not None and entry.session is session:
                if newest is None or entry.id > newest.id:
                    newest = entry
        return newest


def soonest_ms(entries):
    """Return the milliseconds until the first of these ends, None if none does by itself."""
    soonest = None
    for entry in entries:
        left = entry.left_ms
        if left is not None and (soonest is None or left < soonest):
            soonest = left
    return soonest


def ids_of(entries):
    """Return the ids of these as a tuple, as far as there is memory for it."""
    try:
        return tuple([entry.id for entry in entries])
    except MemoryError:
        return ()
