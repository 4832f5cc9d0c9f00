"""How much memory operations need: learned by name, from those that ran alone.

The heap's growth while an operation runs is its own if no other operation runs meanwhile and no
garbage is collected; others are not counted. It is what the operation allocated, garbage included,
and that of the application's other tasks with it: what has to be free for it to run without a
collection. A measurement takes two heap walks, so there are none for 200 times as long after it.
"""

from micropython import const

_MAX_NEEDS = const(8)
_PAUSE = const(200)
_MAX_ID = const(0x3FFFFFFF)


def _nobody(row):
    """Stand for who wants to know of changes."""


class Need:
    """What was learned of a name: bytes typically (a moving mean) and at worst, of count runs."""

    def __init__(self, name):
        self.name = name
        self.count = 0
        self.typical = 0
        self.worst = 0

    def learn(self, grown):
        """Take one more measurement."""
        self.count = min(self.count + 1, _MAX_ID)
        self.worst = max(self.worst, grown)
        # The mean of all at first, then each counts a quarter.
        self.typical += (grown - self.typical) // min(self.count, 4)


class Needs:
    """The table: the first eight names. `began` and `ended` are told of each operation."""

    def __init__(self, memory, board, clock):
        self._memory = memory
        self._board = board
        self._clock = clock
        self.table = [None] * _MAX_NEEDS
        self.changed = _nobody  # function of a row that changed
        self.op = None  # the one that is measured
        self._running = 0
        self._used = 0  # when it began
        self._peak = 0
        self._collections = 0
        self._cost_us = 0
        self._again_s = self._again_ms = 0  # not measured before

    def worst(self, name):
        """Return what operations of that name needed at most, None if it was never measured."""
        for need in self.table:
            if need is not None and need.name == name:
                return need.worst
        return None

    def all(self):
        """Return what was learned."""
        return [need for need in self.table if need]

    def began(self, op):
        """Note that an operation has its place; its table's lock is held, and when one ends."""
        self._running = running = self._running + 1
        s = self._again_s
        clock = self._clock
        if running > 1 or clock.s < s or (clock.s == s and clock.ms < self._again_ms):
            self.op = None  # whoever is measured is not alone any more
        elif self._row_for(op.name) is not None:
            self.op = op
            began = self._board.ticks_us()
            self._used = self._peak = self._memory.used_now()
            self._collections = self._memory.collected()
            self._cost_us = self._board.ticks_diff(self._board.ticks_us(), began)

    def ended(self, op):
        """Note that an operation that had its place has ended."""
        self._running -= 1
        if self.op is op:
            self.op = None
            again_ms = self._clock.ms + 2 * self._cost_us * _PAUSE // 1000
            self._again_s = self._clock.s + again_ms // 1000
            self._again_ms = again_ms % 1000
            try:
                self._file(op.name, self._memory.used_now())
            except MemoryError:  # for the row: it is learned another time
                pass

    def look(self):
        """See how much is used at a sample, while there is `op`; allocates nothing."""
        used = self._memory.total - self._memory.free
        if used > self._peak:
            self._peak = used

    def _row_for(self, name):
        """Return the row of a name, or a free one, None if there is none."""
        free = None
        for row in range(_MAX_NEEDS):
            need = self.table[row]
            if need is None:
                free = row if free is None else free
            elif need.name == name:
                return row
        return free

    def _file(self, name, used):
        if self._collections != self._memory.collected() or used < self._used:
            return  # garbage was collected, here or elsewhere
        row = self._row_for(name)
        if row is None:
            return
        if self.table[row] is None:
            self.table[row] = Need(name)
        self.table[row].learn(max(self._peak, used) - self._used)
        self.changed(row)
