"""A table of fixed size whose rows end in time.

A moment is two small integers, as in `Clock`: it wraps nowhere. Those of all rows are words of one
array, so that one pass of machine code tells which have come.
"""

from array import array

from micropython import const

from warden_schema.loops import begin_row, left_ms, over, put_off

NEVER = const(0x3FFFFFFF)
_WORD = const(0x3FFFFFFF)
FREE = b"\x01"  # in `free`


def _nobody(row):
    """Stand for who wants to know of changes."""


# What a decision calls is a function, not a method that is inherited: that takes the board 2 000
# instructions to find, a global 70. And it is small: what a call needs (arguments, variables, what
# is worked on, three words for a `try`) is on the stack if it is 11 words at most. For more the
# interpreter takes a block of the heap at each call, and looks for one: 1 000 to 3 000.
def end_in(timed, row, ms):
    """Have a row end so many milliseconds from now, None for never; with the lock held."""
    if ms is None:
        timed.due[row] = NEVER
    elif ms <= _WORD:
        put_off(timed, row, ms)
    else:  # in 12 days and more, and a second does not matter
        timed.due[row] = min(timed.clock.s + ms // 1000 + 1, NEVER - 1)
        timed.due[row + timed.rows] = 0


def run_in(timed, row, ms):
    """Let a row's time of so many milliseconds begin, None: it has no end; with the lock held."""
    if ms is not None and ms <= _WORD:
        begin_row(timed, row, ms)
    else:
        begin_row(timed, row, _WORD)
        end_in(timed, row, ms)


def soonest_ms(timed, entries):
    """Return the milliseconds until the first of these ends, None if none does by itself."""
    due = timed.due
    soonest_s = NEVER
    soonest_ms = 0
    for entry in entries:
        s = due[entry.row]
        if s <= soonest_s:
            ms = due[entry.row + timed.rows]
            if s < soonest_s or ms < soonest_ms:
                soonest_s = s
                soonest_ms = ms
    if soonest_s == NEVER:
        return None
    return max(0, -timed.clock.since(soonest_s, soonest_ms))


class Timed:
    """Leases, operations or sessions: each has an `id`, a `row`, and an end in time.

    Whoever writes holds the lock. `due` has the seconds of each row, then the milliseconds of each.
    """

    def __init__(self, clock, lock, rows):
        self.clock = clock
        self.table = [None] * rows
        self.rows = rows
        self.changed = _nobody  # function of a row that changed,
        self.freed = _nobody  # and of 0 where one is free now
        self.due = array("i", [NEVER] * (2 * rows))
        self.began_s = array("i", bytes(4 * rows))
        self.free = bytearray(FREE * rows)
        self.acquire = lock.acquire
        self.release = lock.release
        self.next_id = 1

    def all(self):
        """Return those that have not ended, oldest first."""
        return sorted([entry for entry in self.table if entry], key=lambda entry: entry.id)

    def find(self, number):
        """Return the one of that id; KeyError if it has ended or never was."""
        for entry in self.table:
            if entry is not None and entry.id == number:
                return entry
        raise KeyError(number)

    def left_ms(self, row):
        """Return the milliseconds until a row ends, 0 if it should have, None for never."""
        left = left_ms(self, row)
        return None if left < 0 else left

    def is_over(self, row):
        """Tell whether a row's time has come."""
        clock = self.clock
        s = self.due[row]
        return s < clock.s or (s == clock.s and self.due[row + self.rows] <= clock.ms)

    def over(self):
        """Return a bit for each row whose time has come; the others are looked at in time."""
        self.acquire(1)
        try:
            return over(self)
        finally:
            self.release()
