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
        self._cost_us = 0  # of the last collection made here,
        self._ended_s = 0  # and when that was
        self._ended_ms = 0
        self.collections = 0  # made here
        self.spent_us = 0  # in those, since the agent last charged itself with it
        self.free = self._walk()
        self.collect()

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
            self.collect()

    def _walk(self):
        free = self._board.mem_free()
        if self._grows or not self.total:
            self.total = free + self._board.mem_alloc()
        return free

    def collect(self, pause=_PAUSE):
        """Collect, if allowed and not too soon, and look what is left; return whether it did.

        pause: after a collection of n ms, none for so many times n.
        """
        board = self._board
        if self.collect_in_ms(pause) > 0:
            return False
        began = board.ticks_us()
        if not board.collect():
            return False
        self._cost_us = board.ticks_diff(board.ticks_us(), began)
        self.spent_us += self._cost_us
        self.collections += 1
        self._ended_s = self._clock.s
        self._ended_ms = self._clock.ms
        self._used = self.live = self.total - self._walk()
        return True

    def used_now(self):
        """Return the used bytes at this moment; one heap walk."""
        return self.total - self._walk()

    def collect_in_ms(self, pause=_PAUSE):
        """Return the ms until a collection is not too soon, 0 if it is not now."""
        if not self.collections:
            return 0
        left = self._cost_us * pause // 1000 - self._clock.since(self._ended_s, self._ended_ms)
        return left if left > 0 else 0
