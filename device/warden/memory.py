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
from warden_schema.loops import read_memory as _read
from warden_schema.loops import read_on as _read_on

_PAUSE = const(200)  # after a collection of n µs, none for 200 n
_LAST_PAUSE = const(40)  # in the last eighth of the heap

# Places in the array that _warden.heap() fills: heap_t in device/native/_warden/_warden.c.
_TOTAL = const(0)
_FREE = const(1)
_LARGEST = const(2)
_COLLECTIONS = const(5)
_PARTS = const(11)
_STATE_BYTES = const(76)

# Places in the sample.
_TOTAL_BYTES = const(3)
_FREE_BYTES = const(4)
_LIVE_BYTES = const(5)
_LARGEST_FREE_BLOCK_BYTES = const(6)
_USED_BYTES = const(37)
_SPENT_US = const(43)
_UNKNOWN = const(-0x40000000)
_MOST = const(0x3FFFFFFF)  # a desktop may have more


class Memory:
    """Reads the heap once a sample, into its words; `total`, `free`, `live`, `largest` are bytes.

    live: None if unknown; largest: of the free blocks, None without the C module. state: of a pass
    over the heap in slices, heap_t of the C module.
    """

    def __init__(self, board, clock, values):
        self._board = board
        self._clock = clock
        self.values = values
        self._grows = board.heap_grows()
        self.heap = board.native_heap()
        self.state = array("i", bytes(_STATE_BYTES))  # of a pass in slices
        self._cost_us = 0  # of the last collection made here,
        self._ended_s = 0  # and when that was
        self._ended_ms = 0
        self.collections = 0  # made here
        values[_SPENT_US] = 0  # in those, since the agent last charged itself with it
        if self.heap is None:
            self.state[_LARGEST] = _UNKNOWN
            self.walk()
        else:
            self._at_once = array("i", bytes(_STATE_BYTES))
            self.heap(self.state, 0)
        _heap(values, self.state)
        self.collect()

    @property
    def reading(self):
        """Tell whether there is more of the heap to be read before the figures change."""
        return self.state[_PARTS] != 0

    @property
    def total(self):
        """Bytes of the heap."""
        return self.values[_TOTAL_BYTES]

    @property
    def free(self):
        """Bytes that were free in the last sample."""
        return self.values[_FREE_BYTES]

    @property
    def live(self):
        """Bytes that are no garbage, None if that is not known."""
        live = self.values[_LIVE_BYTES]
        return None if live == _UNKNOWN else live

    @property
    def largest(self):
        """Bytes of the largest free block, None if that is not known."""
        largest = self.values[_LARGEST_FREE_BLOCK_BYTES]
        return None if largest == _UNKNOWN else largest

    read = _read
    read_on = _read_on

    def collect_wanted(self, wanted):
        """Collect as `loops.heap` wants it."""
        self.collect(_PAUSE if wanted == 1 else _LAST_PAUSE)

    def _counted(self):
        """Tell whether the C module sees collections: not if a linker did not do as it was told."""
        return self.state[_COLLECTIONS] != 0

    def _look(self):
        self.heap(self._at_once, 0)
        return self._at_once

    def walk(self):
        """Return the free bytes; without the C module they are in `state` then, too."""
        if self.heap is not None:
            return self._look()[_FREE]
        state = self.state
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
        self.values[_SPENT_US] += self._cost_us
        self.collections += 1
        self._ended_s = self._clock.s
        self._ended_ms = self._clock.ms
        free = self.walk()
        values = self.values
        values[_USED_BYTES] = values[_LIVE_BYTES] = values[_TOTAL_BYTES] - free
        return True

    def used_now(self):
        """Return the used bytes at this moment; one heap walk."""
        return self.total - self.walk()

    def collected(self):
        """Return how many collections there were, as of used_now(): those that can be seen."""
        return self._at_once[_COLLECTIONS] if self._counted() else self.collections

    def free_now(self):
        """Return the free bytes at this moment; one heap walk."""
        return self._board.mem_free() if self.heap is None else self._look()[_FREE]

    def largest_now(self):
        """Return the largest free block in bytes at this moment, None without the C module."""
        return None if self.heap is None else self._look()[_LARGEST]

    def collect_in_ms(self, pause=_PAUSE):
        """Return the ms until a collection is not too soon, 0 if it is not now."""
        if not self.collections:
            return 0
        left = self._cost_us * pause // 1000 - self._clock.since(self._ended_s, self._ended_ms)
        return left if left > 0 else 0
