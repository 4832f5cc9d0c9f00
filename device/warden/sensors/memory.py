"""Measures the heap: total, free, live and the largest free block.

Used is not live: a MicroPython heap fills with garbage until a collection. What a collection left
is live; between collections that figure stands, until it is renewed. So it is with the largest free
block that a collection left.

The heap is read from its allocation table, in slices where it is large: by the C module `_warden`
(docs/native.md), which sees each collection and what it left, or by `heap_viper`. Where there is
neither, a sample is one walk of `gc`'s, and the largest block is not known.
"""

from micropython import const

# When a collection is made here to see what is live, and how long none is made after one.
_SAMPLE_COLLECT_PAUSE = const(200)  # times what one takes: half a percent of the core at most
_LOW_SHIFT = const(3)  # in the last eighth the runtime would collect soon anyway,
_LOW_RENEW_SHIFT = const(5)  # and less is left to be surprised by: a 32nd,
_LOW_COLLECT_PAUSE = const(40)  # for a fortieth of the core at most
_LAST_SHIFT = const(4)  # in the last 16th it would in a moment, or if that is in pieces:
_LAST_COLLECT_PAUSE = const(10)  # one that was held up must not hide how full it is
_BLOCK_COLLECT_PAUSE = const(10)  # until it is known whether a block that is wanted can be had
_MAX_RISE_US = const(1000)  # what one takes may double, and rise by so much, at a time
_DROP_SHIFT = const(5)  # used fell by a 32nd of the heap: something collected
_HIGH_SHIFT = const(1)  # live is more than half of the heap:
_OLD_MS = const(9000)  # then it is no older than this at the next sample, if that can be

_MAX_HEAP_BYTES = const(0x3FFFFFFF)  # a desktop may have more
_PROVE_EVERY = const(16)  # collections the table is compared with what `gc` finds,
_PROOF_TRIES = const(20)  # so often

# Places in the array that a pass over the heap fills: heap_t in device/native/_warden/_warden.c;
# `heap_viper` fills the first.
_HEAP_TOTAL = const(0)
_HEAP_FREE = const(1)
_HEAP_LARGEST = const(2)
_HEAP_COLLECTIONS = const(5)
_HEAP_LIVE = const(9)
_HEAP_LEFT = const(10)

_NO_TABLE = const(13)  # a reason, from ids
_UNKNOWN = const(-0x3FFFFFFF - 1)
# Places among a sample's figures.
_FREE_FIGURE = const(2)
_LIVE_FIGURE = const(7)
_LARGEST_FIGURE = const(13)
_TOTAL_FIGURE = const(21)
_LOW_WATER_FIGURE = const(24)


class Memory:
    """Reads the heap; `total`, `free`, `live` and `largest` are bytes as of the last scan.

    Made by `warden.setup.make_memory`, which lists what else it has.

    live: what is not garbage, None if that is not known; largest: the largest free block, None
    where that is not known, `reason` is the reason then; left: the largest free block that a
    collection left, likewise. collections: those made here or, with the C module, all. spent_us:
    what those made here took; who charges it to the agent sets it to 0.
    """

    def scan(self):
        """Read the heap, or a slice of it; return whether it is read to its end.

        Then the figures are new, and live is renewed where that is due. They show the heap before
        that: the garbage that the application lives with. Allocates nothing.
        """
        state = self.slices
        if state is None:
            used = self.used_now()
            self.free = self.total - used
        else:
            if not self.heap(state, self.room):
                self.sliced = True
                return False
            used = state[_HEAP_TOTAL] - state[_HEAP_FREE]
            # Garbage was collected between the slices, as it seems: a pass begins anew. Once: who
            # collects all the time gets figures that are mixed.
            if self.sliced and self.has_table and not self.again:
                self.again = self.last_used - used > self.total >> _DROP_SHIFT
                if self.again:
                    return False
            self.sliced = self.again = False
            self.total = state[_HEAP_TOTAL]
            self.free = state[_HEAP_FREE]
            self.largest = state[_HEAP_LARGEST]
        total = self.total
        # What is live is known from a collection that was seen; else it is no more than used.
        every = self.board.gc_threshold()  # so many bytes allocated, and the runtime collects
        if state is not None and state[_HEAP_COLLECTIONS]:  # 0: it does not see them
            self.collections = state[_HEAP_COLLECTIONS]
            if self.seen != self.collections:
                self.seen = self.collections
                self.set_live(state[_HEAP_LIVE], state[_HEAP_LEFT])
            self.live = state[_HEAP_LIVE]
        elif self.last_used - used > total >> _DROP_SHIFT:
            # Much of it may be garbage that was made since.
            if used - (self.live or 0) > total >> _LOW_SHIFT and self.collect(_LOW_COLLECT_PAUSE):
                return True
            self.set_live(used, self.largest)
        elif 0 <= every < total >> _DROP_SHIFT and self.live is not None:
            self.set_live(max(self.live, used - every), self.largest)
        self.last_used = used
        if self.live is not None:
            self.live = min(self.live, used)
        if self.is_off:
            self.left = self.largest
        elif self.left is not None:
            self.left = max(self.left, self.largest)
        self.renew()
        return True

    def set_live(self, live, left):
        """Set what a collection left: live bytes, and the largest free block, None: not known."""
        self.live = live
        self.left = left
        self.live_s = self.clock.s
        self.live_ms = self.clock.ms

    def renew(self):
        """Collect garbage to see what is live, where that is due."""
        total = self.total
        pause = _SAMPLE_COLLECT_PAUSE
        if self.live is None:
            self.collect(pause)
            return
        every = total >> self.renew_shift
        largest = self.largest
        in_pieces = largest is not None and largest < self.wanted
        if self.free <= total >> _LOW_SHIFT:
            every = min(every, total >> _LOW_RENEW_SHIFT)
            pause = _LOW_COLLECT_PAUSE
            if in_pieces or self.free <= total >> _LAST_SHIFT:
                pause = _LAST_COLLECT_PAUSE
        elif in_pieces:
            # All that is left of it may have been taken meanwhile.
            every = min(every, total >> _LOW_RENEW_SHIFT, largest)
            pause = _LOW_COLLECT_PAUSE if self.left < self.wanted else _BLOCK_COLLECT_PAUSE
        # Since then more is used, or, where it matters, it is old: a board that frees its memory
        # says so within ten seconds, if it samples so often.
        if total - self.free - self.live > every or (
            (pause < _SAMPLE_COLLECT_PAUSE or self.live > total >> _HIGH_SHIFT)
            and self.live_age_ms() + self.governor.interval_ms >= _OLD_MS
        ):
            self.collect(pause)

    def live_age_ms(self):
        """Return how long ago it was seen what is live, in ms; None if it was not."""
        return None if self.live is None else -self.clock.until_ms(self.live_s, self.live_ms)

    def read(self, sample):
        """Put the figures into the sample; return whether one became known or unknown."""
        figures = sample.figures
        figures[_TOTAL_FIGURE] = self.total
        figures[_FREE_FIGURE] = self.free
        largest = _UNKNOWN if self.largest is None else self.largest
        live = _UNKNOWN if self.live is None else self.live
        # Only what is unknown is negative: the sign of one that became known or unknown changes.
        changed = figures[_LARGEST_FIGURE] ^ largest | figures[_LIVE_FIGURE] ^ live
        figures[_LARGEST_FIGURE] = largest
        figures[_LIVE_FIGURE] = live
        if live >= 0 and not 0 <= figures[_LOW_WATER_FIGURE] <= self.total - live:
            figures[_LOW_WATER_FIGURE] = self.total - live
        return changed < 0

    def collect(self, pause):
        """Collect garbage if allowed and not too soon, and measure what is live; return if it did.

        pause: after a collection of n ms, none for so many times n.
        """
        board = self.board
        if self.collect_in_ms(pause):
            return False
        began = board.ticks_us()
        self.is_off = not board.collect()
        if self.is_off:
            return False
        took_us = board.ticks_diff(board.ticks_us(), began)
        self.spent_us += took_us
        # Once, something else may have had the core meanwhile: no long pause for that.
        self.cost_us = min(took_us, 2 * self.cost_us + _MAX_RISE_US)
        self.ended_s = self.clock.s
        self.ended_ms = self.clock.ms
        self.collections += 1
        if self.has_table and not self.collections % _PROVE_EVERY:
            self.prove()
        self.last_used = self.used_now()
        self.set_live(self.last_used, self.block())
        return True

    def prove(self):
        """Compare the table with what `gc` finds, and do without it if they differ."""
        for _ in range(_PROOF_TRIES):  # another thread may allocate meanwhile
            if self.free_now() == self.board.mem_free():
                return
        self.heap = self.slices = self.at_once = self.largest = None
        self.has_table = False
        self.reason = _NO_TABLE

    def collect_in_ms(self, pause):
        """Return the ms until a collection is not too soon, 0 if it is not now."""
        pause_ms = (self.cost_us >> 3) * pause // 125  # in parts that do not exceed 30 bits
        return max(0, pause_ms + self.clock.until_ms(self.ended_s, self.ended_ms))

    def free_now(self):
        """Return the free bytes at this moment; reads the whole heap."""
        state = self.at_once
        if state is None:
            return min(self.board.mem_free(), _MAX_HEAP_BYTES)
        self.heap(state, 0)
        return state[_HEAP_FREE]

    def used_now(self):
        """Return the used bytes at this moment; reads the whole heap. `collections` is of now."""
        free = self.free_now()
        state = self.at_once
        if state is not None:
            if state[_HEAP_COLLECTIONS]:
                self.collections = state[_HEAP_COLLECTIONS]
            return state[_HEAP_TOTAL] - free
        if self.board.heap_grows or not self.total:
            self.total = min(free + self.board.mem_alloc(), _MAX_HEAP_BYTES)
        return self.total - free

    def block(self):
        """Return the largest free block in bytes as of the last free_now(), None: not known."""
        return self.at_once and self.at_once[_HEAP_LARGEST]
