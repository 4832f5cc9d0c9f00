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
    """Reads one heap walk a sample; `total`, `free` and `live` are bytes, live None if unknown."""

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
        self.free = self._walk()
        self._collect()

    def read(self):
        """Bring the figures up to now; allocates nothing.

        After a collection made here `free` is still what it was before: used shows the garbage
        that the application lives with, live what is not garbage.
        """
        free = self._walk()
        self.free = free
        used = self.total - free
        live = self.live
        dropped = self._used - used > self.total >> _DROP_SHIFT
        self._used = used
        if dropped or (live is not None and used < live):
            self.live = used  # at most so much
        if live is None or used - live > self.total >> _LINE_SHIFT:
            self._collect()

    def _walk(self):
        free = self._board.mem_free()
        if self._grows or not self.total:
            self.total = free + self._board.mem_alloc()
        return free

    def _collect(self):
        """Collect, if it is time and allowed, and look what is left."""
        if self._clock.since(self._ready_s, self._ready_ms) < 0:
            return
        board = self._board
        began = board.ticks_us()
        if not board.collect():
            return
        cost_ms = board.ticks_diff(board.ticks_us(), began) * _PAUSE // 1000
        self.collections += 1
        self._ready_s = self._clock.s + cost_ms // 1000
        self._ready_ms = self._clock.ms + cost_ms % 1000
        self._used = self.live = self.total - self._walk()
