"""Measures the heap: total, free, live and the largest free block.

Used is not live: a MicroPython heap fills with garbage until a collection. What a collection left
is live; between collections that figure stands.

The C module `_warden` (docs/native.md) sees each collection and what it left, and reads the heap in
slices. Without it a sample is one walk of `gc`'s, and a collection shows when used falls.
"""

from array import array

from micropython import const

# When a collection is made here to see what is live, and how long none is made after one.
_RENEW_SHIFT = const(3)  # an eighth of the heap was used since: live may be wrong by so much
_SAMPLE_COLLECT_PAUSE = const(200)  # times what one takes: half a percent of the core at most
_LOW_SHIFT = const(3)  # in the last eighth the runtime would collect soon anyway,
_LOW_RENEW_SHIFT = const(5)  # and less is left to be surprised by: a 32nd,
_LOW_COLLECT_PAUSE = const(40)  # for a fortieth of the core at most
_DROP_SHIFT = const(5)  # used fell by a 32nd of the heap: something collected

_MAX_HEAP_BYTES = const(0x3FFFFFFF)  # a desktop may have more

# Places in the array that the C module fills: heap_t in device/native/_warden/_warden.c.
_HEAP_TOTAL = const(0)
_HEAP_FREE = const(1)
_HEAP_LARGEST = const(2)
_HEAP_COLLECTIONS = const(5)
_HEAP_LIVE = const(9)
_HEAP_STATE_BYTES = const(76)
_HEAP_SLICE_BYTES = const(1536)  # of its table: a pause like those of the agent's other steps


class Memory:
    """Reads the heap; `total`, `free`, `used`, `live` and `largest` are bytes as of the last scan.

    live: what is not garbage, None if that is not known; largest: the largest free block, None
    without the C module. collections: those made here or, with the C module, all. spent_us: what
    those made here took; who charges it to the agent sets it to 0.
    """

    def __init__(self, board, clock):
        self.board = board
        self.clock = clock
        self.heap = board.native_heap()
        self.slices = self.at_once = None  # what the C module found, in slices and at this moment
        self.total = self.free = self.used = 0
        self.live = self.largest = None
        self.last_used = 0  # after a collection that was made here: what it left
        self.collections = 0
        self.spent_us = 0
        self.cost_us = 0  # of the last collection made here, and when it ended
        self.ended_s = self.ended_ms = 0
        if self.heap is not None:
            self.slices = array("i", bytes(_HEAP_STATE_BYTES))
            self.at_once = array("i", bytes(_HEAP_STATE_BYTES))
        self.slice_bytes = 0  # all at once, until the first sample
        self.scan()

    def scan(self):
        """Read the heap, or a slice of it; return whether it is read to its end.

        Then the figures are new, and live is renewed where that is due. They show the heap before
        that: the garbage that the application lives with. Allocates nothing.
        """
        state = self.slices
        if state is None:
            self.used = self.used_now()
            self.free = self.total - self.used
        else:
            if not self.heap(state, self.slice_bytes):
                return False
            self.total = state[_HEAP_TOTAL]
            self.free = state[_HEAP_FREE]
            self.used = self.total - self.free
            self.largest = state[_HEAP_LARGEST]
        total = self.total
        used = self.used
        if state is not None and state[_HEAP_COLLECTIONS]:  # 0: it does not see them
            self.collections = state[_HEAP_COLLECTIONS]
            self.live = state[_HEAP_LIVE]
        elif self.last_used - used > total >> _DROP_SHIFT:
            self.live = used
        self.last_used = used
        if self.live is None:
            self.collect()
        else:
            self.live = min(self.live, used)
            used -= self.live  # what is new since then
            if self.free > total >> _LOW_SHIFT:
                if used > total >> _RENEW_SHIFT:
                    self.collect()
            elif used > total >> _LOW_RENEW_SHIFT:
                self.collect(_LOW_COLLECT_PAUSE)
        return True

    def read(self, sample):
        """Put the figures into the sample; return whether live became known or unknown."""
        self.slice_bytes = _HEAP_SLICE_BYTES
        sample.total_bytes = self.total
        sample.free_bytes = self.free
        sample.largest_free_block_bytes = self.largest
        changed = (sample.live_bytes is None) != (self.live is None)
        sample.live_bytes = self.live
        if self.live is not None:
            left = self.total - self.live
            if sample.low_water_bytes is None or left < sample.low_water_bytes:
                sample.low_water_bytes = left
        return changed

    def collect(self, pause=_SAMPLE_COLLECT_PAUSE):
        """Collect garbage if allowed and not too soon, and measure what is live; return if it did.

        pause: after a collection of n ms, none for so many times n.
        """
        board = self.board
        if self.collect_in_ms(pause):
            return False
        began = board.ticks_us()
        if not board.collect():
            return False
        self.cost_us = board.ticks_diff(board.ticks_us(), began)
        self.spent_us += self.cost_us
        self.ended_s = self.clock.s
        self.ended_ms = self.clock.ms
        self.collections += 1
        self.live = self.last_used = self.used_now()
        return True

    def collect_in_ms(self, pause=_SAMPLE_COLLECT_PAUSE):
        """Return the ms until a collection is not too soon, 0 if it is not now."""
        pause_ms = (self.cost_us >> 3) * pause // 125  # in parts that do not exceed 30 bits
        return max(0, pause_ms + self.clock.until_ms(self.ended_s, self.ended_ms))

    def free_now(self):
        """Return the free bytes at this moment; reads the whole heap."""
        state = self.at_once
        if state is None:
            return min(self.board.mem_free(), _MAX_HEAP_BYTES)
        self.heap(state, 0)
        if state[_HEAP_COLLECTIONS]:
            self.collections = state[_HEAP_COLLECTIONS]
        return state[_HEAP_FREE]

    def used_now(self):
        """Return the used bytes at this moment; reads the whole heap. `collections` is of now."""
        free = self.free_now()
        if self.at_once is not None:
            return self.at_once[_HEAP_TOTAL] - free
        if self.board.heap_grows or not self.total:
            self.total = min(free + self.board.mem_alloc(), _MAX_HEAP_BYTES)
        return self.total - free

    def largest_now(self):
        """Return the largest free block in bytes at this moment, None without the C module."""
        if self.at_once is None:
            return None
        self.free_now()
        return self.at_once[_HEAP_LARGEST]
