"""The heap: total, free, and what is really live.

Used is not live: a MicroPython heap fills with garbage until a collection. What a collection left
is live; between collections that figure stands. One is made here when so much was used since that
it might no longer be true, at a rate that keeps its cost below half a percent of the core. In the
last eighth of the heap less is left to be surprised by, and the runtime would collect soon anyway:
there it is made four times as early, for at most a fortieth of the core.

The C module `_warden` (docs/native.md) sees each collection and what it left, and reads the heap in
slices; without it a sample is one walk of `gc`'s, and a collection shows when used falls.
"""

from array import array

from micropython import const

_LINE_SHIFT = const(3)  # collect when used exceeds live by an eighth of the heap
_PAUSE = const(200)  # after a collection of n µs, none for 200 n
_LAST_SHIFT = const(3)  # the last eighth of the heap: there the two are
_LAST_LINE_SHIFT = const(5)
_LAST_PAUSE = const(40)
_DROP_SHIFT = const(5)  # used fell by a 32nd of the heap: there was a collection

# Of the allocation table, in bytes; 64 KB of a 32-bit board's heap. On a Cortex-M3 at most 13 300
# instructions (tools/native_cost.py), a tenth of a sample.
_SLICE = const(1024)

# Places in the array that _warden.heap() fills: heap_t in device/native/_warden/_warden.c.
_TOTAL = const(0)
_FREE = const(1)
_LARGEST = const(2)
_COLLECTIONS = const(5)
_LIVE = const(9)
_STATE_BYTES = const(76)


class Memory:
    """Reads the heap once a sample; `total`, `free`, `live` and `largest` are bytes.

    live: None if unknown; largest: of the free blocks, None without the C module; reading: whether
    there is more of the heap to be read before these figures change: see read_on().
    """

    def __init__(self, board, clock):
        self._board = board
        self._clock = clock
        self._grows = board.heap_grows()
        self._heap = board.native_heap()
        self._state = self._at_once = None
        self.total = 0
        self.free = 0
        self.live = None
        self.largest = None
        self.reading = False
        self._used = 0
        self._cost_us = 0  # of the last collection made here,
        self._ended_s = 0  # and when that was
        self._ended_ms = 0
        self.collections = 0  # made here
        self.spent_us = 0  # in those, since the agent last charged itself with it
        if self._heap is not None:
            self._state = array("i", bytes(_STATE_BYTES))  # of a pass in slices
            self._at_once = array("i", bytes(_STATE_BYTES))
            self._heap(self._state, 0)
            self._take()
        self.free = self._walk()
        self.collect()

    def read(self):
        """Bring the figures up to now; allocates nothing.

        After a collection made here `free` is still what it was before: used shows the garbage
        that the application lives with, live what is not garbage.
        """
        if self._heap is None:
            self.free = self._walk()
        else:
            self.read_on()
        used = self.total - self.free
        live = self.live
        dropped = self._used - used > self.total >> _DROP_SHIFT and not self._counted()
        self._used = used
        if dropped or (live is not None and used < live):
            self.live = used  # at most so much
        if live is None:
            self.collect()
        elif self.free > self.total >> _LAST_SHIFT:
            if used - live > self.total >> _LINE_SHIFT:
                self.collect()
        elif used - live > self.total >> _LAST_LINE_SHIFT:
            self.collect(_LAST_PAUSE)

    def read_on(self):
        """Read one slice more, if there is the C module for it; figures change with the last one.

        A heap that takes more than one is so read between two samples, and a sample tells of the
        pass before. A collection ends a pass: what it left is newer.
        """
        self.reading = not self._heap(self._state, _SLICE)
        self._take()

    def _take(self):
        state = self._state
        self.total = state[_TOTAL]
        self.free = state[_FREE]
        self.largest = state[_LARGEST]
        if state[_COLLECTIONS]:
            self.live = state[_LIVE]

    def _counted(self):
        """Tell whether the C module sees collections: not if a linker did not do as it was told."""
        return self._heap is not None and self._state[_COLLECTIONS] != 0

    def _look(self):
        self._heap(self._at_once, 0)
        return self._at_once

    def _walk(self):
        if self._heap is not None:
            return self._look()[_FREE]
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

    def collected(self):
        """Return how many collections there were, as of used_now(): those that can be seen."""
        return self._at_once[_COLLECTIONS] if self._counted() else self.collections

    def free_now(self):
        """Return the free bytes at this moment; one heap walk."""
        return self._board.mem_free() if self._heap is None else self._look()[_FREE]

    def largest_now(self):
        """Return the largest free block in bytes at this moment, None without the C module."""
        return None if self._heap is None else self._look()[_LARGEST]

    def collect_in_ms(self, pause=_PAUSE):
        """Return the ms until a collection is not too soon, 0 if it is not now."""
        if not self.collections:
            return 0
        left = self._cost_us * pause // 1000 - self._clock.since(self._ended_s, self._ended_ms)
        return left if left > 0 else 0
