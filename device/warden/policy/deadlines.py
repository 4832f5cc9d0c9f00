"""A table of fixed size whose rows may have a deadline.

A deadline is two small integers, as in `Clock`: it never wraps.
"""

from micropython import const

from warden.errors import deny
from warden.tables import Table

_NEVER_S = const(0x3FFFFFFF)
_MAX_ID = const(0x3FFFFFFF)
_NORMAL = const(1)  # a priority
_CHANGED = const(1)  # of a row, as `tables` has it


class Row:
    """A lease, operation or session: in a row of its table until it ends; `with` ends it."""

    # table; row, id (0 until it is in the table) and began_s (the uptime then) are an entry's own.
    # What is usual stands in the classes once: 56 bytes less for each entry. What an entry has of
    # its own is set when it is made: later there may be no memory for an attribute; and where there
    # is no GIL, it would move the others while another thread reads them.
    priority = _NORMAL
    session = None  # that it belongs to
    task = None  # asyncio's, of an operation, to be cancelled when it must stop

    # With a property, MicroPython searches the class and its bases for one at each store of any
    # attribute (py/objtype.c): 1 000 to 2 000 instructions instead of 130.
    def __getattr__(self, name):
        """Return left_ms: the milliseconds until it ends, 0 if that is past, None for never."""
        if name != "left_ms":
            raise AttributeError(name)
        return self.table.until_ms(self)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.table.end(self)
        return False


class Rows(Table):
    """Leases, operations or sessions. Writers acquire the lock, which all three share.

    Made by `warden.policy_setup`, which lists what each has.
    """

    # --- the caller has the lock ----------------------------------------------------------------

    def add(self, entry, ms):
        """Put an entry into a free row; it ends in `ms` milliseconds, None: not by itself.

        Only with `None in rows`: a row is free.
        """
        entry.row = row = self.rows.index(None)
        entry.id = number = self.next_id
        self.next_id = number % _MAX_ID + 1
        entry.began_s = self.clock.s
        self.end_in(row, ms)
        self.rows[row] = entry  # from here on others see it
        # As mark_dirty() does, written out: it is for each decision.
        self.dirty[row] = self.dirty[row] or _CHANGED
        self.clock.poll_now = self.clock.rows_dirty = True

    def remove(self, entry):
        """Take an entry out; return False if it is not there any more."""
        row = entry.row
        if self.rows[row] is not entry:
            return False
        self.rows[row] = None
        self.end_s[row] = _NEVER_S
        self.policy.mark_dirty(0)
        return True

    def end_in(self, row, ms):
        """Set the deadline of a row to `ms` milliseconds from now, None: it has none."""
        if ms is None:
            self.end_s[row] = _NEVER_S
            return
        clock = self.clock
        s = clock.s + ms // 1000
        ms = clock.ms + ms % 1000
        if ms >= 1000:
            ms -= 1000
            s += 1
        if s >= _NEVER_S:
            s = _NEVER_S - 1  # in 34 years
        self.end_s[row] = s
        self.end_ms[row] = ms
        schedule(clock, s, ms)

    def schedule(self):
        """Add the deadlines of all rows to the clock."""
        row = 0
        for s in self.end_s:
            if s != _NEVER_S and self.rows[row] is not None:  # Ctrl-C may have left the end of none
                schedule(self.clock, s, self.end_ms[row])
            row += 1

    # --- with or without it ---------------------------------------------------------------------

    def is_over(self, row):
        """Tell whether a row's deadline is past."""
        clock = self.clock
        s = self.end_s[row]
        return s < clock.s or (s == clock.s and self.end_ms[row] <= clock.ms)

    def until_ms(self, entry):
        """Return the milliseconds until an entry ends, 0 if that is past, None for never."""
        row = entry.row
        s = self.end_s[row]
        if s == _NEVER_S or self.rows[row] is not entry:
            return None
        return max(0, self.clock.until_ms(s, self.end_ms[row]))

    def all(self):
        """Return the entries, oldest first."""
        return sorted(filter(None, self.rows), key=lambda entry: entry.id)

    def refuse(self, reason, available=None, amount=None, wanted=None, session=None):
        """Add a "denied" event; return the Denied, with its blockers and when one of them ends.

        These are all if the reason is "table"; those of the session, if one is given, and nobody
        knows when it is better; else those that `blocks()` finds for what is wanted. amount: for
        the event. The caller has the lock.
        """
        self.policy.events.add("denied", None if session is None else session.id, reason, amount)
        soonest = None
        try:
            blockers = []
            for entry in self.rows:
                if entry is None:
                    continue
                if session is not None:
                    if entry.session is session:
                        blockers.append(entry.id)
                elif reason == "table" or self.blocks(entry, wanted):
                    blockers.append(entry.id)
                    left = self.until_ms(entry)
                    if left is not None and (soonest is None or left < soonest):
                        soonest = left
            return deny(reason, available, soonest, tuple(blockers))
        except MemoryError:
            return deny(reason, available)

    def newest_of(self, session):
        """Return the newest entry that belongs to a session, None if there is none."""
        newest = None
        for entry in self.rows:
            if entry is not None and entry.session is session:
                if newest is None or entry.id > newest.id:
                    newest = entry
        return newest


def check_session(session):
    """Raise TypeError for what is no session."""
    if not hasattr(session, "admit_operation"):
        raise TypeError("session must be what warden.session() returned")


def end_entry(entry):
    """End an entry; return False if it had ended before, of a session None.

    As a method of each kind it has a name of its own: `release()`, `complete()`, `close()`.
    """
    return entry.table.end(entry)


def schedule(clock, s, ms):
    """Have (s, ms) be the clock's next deadline if it is sooner; the caller has the lock."""
    if s < clock.deadline_s or (s == clock.deadline_s and ms < clock.deadline_ms):
        clock.deadline_s = s
        clock.deadline_ms = ms
        clock.poll_now = True


def is_weaker(entry, other):
    """Tell whether an entry is preempted before another, None if there is none.

    That is the one of lower priority; of the same, the one begun last.
    """
    if other is None or entry.priority < other.priority:
        return True
    return entry.priority == other.priority and entry.id > other.id
