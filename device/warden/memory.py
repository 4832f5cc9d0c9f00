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

from warden_schema.loops import heap as _heap

_PAUSE = const(200)  # after a collection of n µs, none for 200 n
_LAST_PAUSE = const(40)  # in the last eighth of the heap

# Of the allocation table, in bytes; 64 KB of a 32-bit board's heap. On a Cortex-M3 at most 13 300
# instructions (tools/native_cost.py), a tenth of a sample.
_SLICE = const(1024)

# Places in the array that _warden.heap() fills: heap_t in device/native/_warden/_warden.c.
_TOTAL = const(0)
_FREE = const(1)
_LARGEST = const(2)
_COLLECTIONS = const(5)
_STATE_BYTES = const(76)

# Places in the sample.
_TOTAL_BYTES = const(3)
_FREE_BYTES = const(4)
_LIVE_BYTES = const(5)
_LARGEST_FREE_BLOCK_BYTES = const(6)
_USED_BYTES = const(37)
_UNKNOWN = const(-0x40000000)
_MOST = const(0x3FFFFFFF)  # a desktop may have more


class Memory:
    """Reads the heap once a sample, into its words; `total`, `free`, `live`, `largest` are bytes.

    live: None if unknown; largest: of the free blocks, None without the C module; reading: whether
    there is more of the heap to be read before these figures change: see read_on().
    """

    def __init__(self, board, clock, values):
        self._board = board
        self._clock = clock
        self._values = values
        self._grows = board.heap_grows()
        self._heap = board.native_heap()
        self._state = array("i", bytes(_STATE_BYTES))  # of a pass in slices
        self.reading = False
        self._cost_us = 0  # of the last collection made here,
        self._ended_s = 0  # and when that was
        self._ended_ms = 0
        self.collections = 0  # made here
        self.spent_us = 0  # in those, since the agent last charged itself with it
        if self._heap is None:
            self._state[_LARGEST] = _UNKNOWN
            self._walk()
        else:
            self._at_once = array("i", bytes(_STATE_BYTES))
            self._heap(self._state, 0)
        _heap(values, self._state)
        self.collect()

    @property
    def total(self):
        """Bytes of the heap."""
        return self._values[_TOTAL_BYTES]

    @property
    def free(self):
        """Bytes that were free in the last sample."""
        return self._values[_FREE_BYTES]

    @property
    def live(self):
        """Bytes that are no garbage, None if that is not known."""
        live = self._values[_LIVE_BYTES]
        return None if live == _UNKNOWN else live

    @property
    def largest(self):
        """Bytes of the largest free block, None if that is not known."""
        largest = self._values[_LARGEST_FREE_BLOCK_BYTES]
        return None if largest == _UNKNOWN else largest

    def read(self):
        """Bring the figures up to now; allocates nothing.

        After a collection made here `free` is still what it was before: used shows the garbage
        that the application lives with, live what is not garbage.
        """
        state = self._state
        if self._heap is None:
            self._walk()
        else:
            whole = self._heap(state, _SLICE)
            if whole is self.reading:
                self.reading = not whole
        wanted = _heap(self._values, state)
        if wanted:
            self.collect(_PAUSE if wanted == 1 else _LAST_PAUSE)

    def read_on(self):
        """Read one slice more, if there is the C module for it; figures change with the last one.

        A heap that takes more than one is so read between two samples, and a sample tells of the
        pass before. A collection ends a pass: what it left is newer.
        """
        self.reading = not self._heap(self._state, _SLICE)
        _heap(self._values, self._state)

    def _counted(self):
        """Tell whether the C module sees collections: not if a linker did not do as it was told."""
        return self._state[_COLLECTIONS] != 0

    def _look(self):
        self._heap(self._at_once, 0)
        return self._at_once

    def _walk(self):
        """Return the free bytes; without the C module they are in `_state` then, too."""
        if self._heap is not None:
            return self._look()[_FREE]
        state = self._state
        free = self._board.mem_free()
        if free > _MOST:
            free = _MOST
        if self._grows or not state[_TOTAL]:
            state[_TOTAL] = min(free + self._board.mem_alloc(), _MOST)
        state[_FREE] = free
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
        free = self._walk()
        values = self._values
        values[_USED_BYTES] = values[_LIVE_BYTES] = values[_TOTAL_BYTES] - free
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
