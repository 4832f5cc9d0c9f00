"""How much memory operations take: learned by name, from those that ran alone.

Of those that want the figure before it is known (`LEARNED`) one runs at a time, and is measured
whatever runs beside it: the figure is at most too high. One that runs out of memory raises it.

The heap's growth while an operation runs is its own if no other operation runs meanwhile and no
garbage is collected; others are not counted. It is what the operation allocated, garbage included,
and that of the application's other tasks with it: what has to be free for it to run without a
collection. A measurement takes two heap walks, so there are none for 200 times as long after it.
"""

from micropython import const

from warden.policy.rows import find_row
from warden.tables import Table

_NEED = const(15)  # the kind of message
_MAX_NAMES = const(8)
_MAX_COUNT = const(0x3FFFFFFF)
_PROFILE_PAUSE = const(200)
_LEARN_COLLECT_PAUSE = const(20)  # before one that learns: a twentieth of the core at most
_LEARNED = const(-1)
_NOT_KNOWN = const(2)  # of `learns`, see Operation
_ENDED = const(5)  # a state of an operation
_LEAST_RAISE = const(1024)  # bytes


class MemoryNeed:
    """What operations of a name took in `count` runs; typical_bytes is a moving mean."""


class MemoryProfile(Table):
    """The table: the first eight names. began() for each operation, ended() for a measured one."""

    def __init__(self, policy):
        super().__init__(
            policy.clock, _NEED, ("name", "count", "typical_bytes", "worst_bytes"), _MAX_NAMES
        )
        self.policy = policy
        self.learner = None  # the operation for which the others of LEARNED wait
        self.op = None  # that is measured,
        self.least = 0  # bytes in use when it began,
        self.greatest = 0  # and at most since
        self.collections = 0
        self.deadline_s = self.deadline_ms = 0  # when measuring is allowed again

    def expected(self, name):
        """Return the bytes that operations of that name took at worst.

        LEARNED if that is not known yet, None if it never will be, as the table is full.
        """
        row = find_row(self.rows, "name", name)
        if row is None:
            return None
        return _LEARNED if self.rows[row] is None else self.rows[row].worst_bytes

    def failed(self, op):
        """Raise the figure of an operation that ran out of memory."""
        with self.policy.lock:
            row = find_row(self.rows, "name", op.name)
            if row is not None and self.rows[row] is not None:
                need = self.rows[row]
                worst = need.worst_bytes + max(_LEAST_RAISE, need.worst_bytes >> 2)
                need.worst_bytes = min(worst, self.policy.memory.total >> 1)
                self.mark_dirty(row)

    def is_learning(self):
        """Tell whether an operation runs of which the figure is wanted and not known."""
        return self.learner is not None and self.learner.state != _ENDED

    def began(self, op):
        """Begin to measure an operation, if it is the only one; the caller has the lock."""
        if self.learner is not None and self.is_learning():
            return
        self.op = None  # whoever was measured is not alone any more
        clock = self.clock
        if op.learns < _NOT_KNOWN:
            if clock.s < self.deadline_s or self.policy.operations.places > 1:
                return
            if clock.s == self.deadline_s and clock.ms < self.deadline_ms:
                return
        if find_row(self.rows, "name", op.name) is not None:
            self.op = op
            if op.learns == _NOT_KNOWN:
                self.learner = op
                self.policy.memory.collect(_LEARN_COLLECT_PAUSE)  # rather than meanwhile
            board = self.policy.agent.board
            began = board.ticks_us()
            self.least = self.greatest = self.policy.memory.used_now()
            self.collections = self.policy.memory.collections
            ms = board.ticks_diff(board.ticks_us(), began) * 2 * _PROFILE_PAUSE // 1000 + clock.ms
            self.deadline_s = clock.s + ms // 1000
            self.deadline_ms = ms % 1000

    def ended(self, op):
        """Add what the measured operation took to its name's row; the caller has the lock."""
        learns = self.op is self.learner
        self.op = self.learner = None
        memory = self.policy.memory
        used = memory.used_now()
        row = find_row(self.rows, "name", op.name)
        if not learns and (used < self.least or memory.collections != self.collections):
            return
        need = self.rows[row]
        if need is None:
            try:
                need = MemoryNeed()
                need.name = op.name
                need.count = need.typical_bytes = need.worst_bytes = 0
            except MemoryError:  # it is learned another time
                return
            self.rows[row] = need
        grown = max(self.greatest, used) - self.least  # at least 0
        need.count = min(need.count + 1, _MAX_COUNT)
        # The mean of all at first, then each counts a quarter.
        need.typical_bytes += (grown - need.typical_bytes) // min(need.count, 4)
        need.worst_bytes = max(need.worst_bytes, grown)
        self.mark_dirty(row)
