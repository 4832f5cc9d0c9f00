"""How much memory operations take: learned by name, from those that ran alone.

The heap's growth while an operation runs is its own if no other operation runs meanwhile and no
garbage is collected; others are not counted. It is what the operation allocated, garbage included,
and that of the application's other tasks with it: what has to be free for it to run without a
collection. A measurement takes two heap walks, so there are none for 200 times as long after it.
"""

from micropython import const

from warden.tables import Table

_NEED = const(15)  # the kind of message
_MAX_NAMES = const(8)
_MAX_COUNT = const(0x3FFFFFFF)
_PROFILE_PAUSE = const(200)


class MemoryNeed:
    """What operations of a name took, in bytes: a moving mean, and at worst, of count runs."""

    def __init__(self, name):
        self.name = name
        self.count = 0
        self.typical_bytes = 0
        self.worst_bytes = 0


class MemoryProfile(Table):
    """The table: the first eight names. `began()` and `ended()` hear of each operation."""

    def __init__(self, memory, board, clock):
        super().__init__(
            clock, _NEED, ("name", "count", "typical_bytes", "worst_bytes"), _MAX_NAMES
        )
        self._memory = memory
        self._board = board
        self._measured = None  # the operation that is
        self._running = 0
        self._used = 0  # bytes, when it began
        self._peak = 0
        self._collections = 0
        self._cost_us = 0
        self._next_s = self._next_ms = 0  # nothing is measured before

    def expected(self, name):
        """Return the bytes that operations of that name took at worst, None if not known."""
        for need in self.rows:
            if need is not None and need.name == name:
                return need.worst_bytes
        return None

    def began(self, op):
        """Note that an operation has its place; called with its table's lock held, as ended()."""
        self._running += 1
        self._measured = None  # whoever was is not alone any more
        if self._running > 1 or self.clock.left_ms(self._next_s, self._next_ms) > 0:
            return
        if self._find_row(op.name) is not None:
            self._measured = op
            began = self._board.ticks_us()
            self._used = self._peak = self._memory.used_now()
            self._cost_us = self._board.ticks_diff(self._board.ticks_us(), began)
            self._collections = self._memory.collections

    def ended(self, op):
        """Note that an operation that had its place has ended."""
        self._running -= 1
        if self._measured is not op:
            return
        self._measured = None
        next_ms = self.clock.ms + self._cost_us * 2 * _PROFILE_PAUSE // 1000
        self._next_s = self.clock.s + next_ms // 1000
        self._next_ms = next_ms % 1000
        used = self._memory.used_now()
        if self._collections == self._memory.collections and used >= self._used:
            try:
                self._learn(op.name, max(self._peak, used) - self._used)
            except MemoryError:  # for a new name: it is learned another time
                pass

    def sampled(self, used):
        """Take in the bytes that a sample found in use; allocates nothing."""
        if self._measured is not None and used > self._peak:
            self._peak = used

    def _find_row(self, name):
        """Return the row of a name, else a free one, None if there is none."""
        free = None
        for row in range(_MAX_NAMES):
            need = self.rows[row]
            if need is None:
                free = row if free is None else free
            elif need.name == name:
                return row
        return free

    def _learn(self, name, grown):
        row = self._find_row(name)
        if row is None:
            return
        need = self.rows[row]
        if need is None:
            need = self.rows[row] = MemoryNeed(name)
        need.count = min(need.count + 1, _MAX_COUNT)
        # The mean of all at first, then each counts a quarter.
        need.typical_bytes += (grown - need.typical_bytes) // min(need.count, 4)
        need.worst_bytes = max(need.worst_bytes, grown)
        self.mark_dirty(row)
