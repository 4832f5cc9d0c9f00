"""The heap: total, free, and what is really live.

Used is not live: a MicroPython heap fills with garbage until a collection. What a collection left
is live; between collections that figure stands. One is made here when so much was used since that
it might no longer be true, at a rate that keeps its cost below half a percent of the core.
"""

from micropython import const

_LINE_SHIFT = const(3)  # collect when used exceeds live by an eighth of the heap
_DROP_SHIFT = const(5)  # used fell by a 32nd of the heap: there was a collection
_PAUSE = const(200)  # after a collection of n µs, none for 200 n


class Memory:
    """Reads one heap walk a sample; `total`, `free` and `live` are bytes."""

    def __init__(self, board, clock):
        self._board = board
        self._clock = clock
        self._grows = board.heap_grows()
        self.total = 0
        self.free = 0
        self.live = None
        self._used = 0
        self._ready_s = 0  # no collection before this time
        self._ready_ms = 0
        self.collections = 0  # made here
        self._collect()

    def read(self):
        """Bring the figures up to now; allocates nothing."""
        self._walk()
        used = self.total - self.free
        live = self.live
        if live is None or used < live or self._used - used > self.total >> _DROP_SHIFT:
            self.live = used
        elif used - live > self.total >> _LINE_SHIFT and self._may_collect():
            self._collect()
            used = self.total - self.free
        self._used = used

    def _walk(self):
        self.free = self._board.mem_free()
        if self._grows or not self.total:
            self.total = self.free + self._board.mem_alloc()

    def _may_collect(self):
        return self._clock.since(self._ready_s, self._ready_ms) >= 0

    def _collect(self):
        board = self._board
        began = board.ticks_us()
        if not board.collect():
            self._walk()
            return
        cost_ms = board.ticks_diff(board.ticks_us(), began) * _PAUSE // 1000
        self.collections += 1
        self._ready_s = self._clock.s + cost_ms // 1000
        self._ready_ms = self._clock.ms + cost_ms % 1000
        self._walk()
        self.live = self.total - self.free
        self._used = self.live
