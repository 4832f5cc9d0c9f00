"""Warns before the heap has no free block as large as the application usually takes.

Boards rarely die because memory is used up; they die because no free block is large enough. What
is usual is seen in the heap: when its longest object becomes longer between two samples, a block of
that length was taken. Once is an exception; usual is what was taken twice, or was doubled, as a
list that grows does. At warn no free block has twice that length, or a 32nd of the heap. A text
that is joined again and again, each time a little longer, needs thrice: each time it moves, and
once it lies in the middle of what was free, neither side of it has a third. It grows until it has
not become longer for four times as long as the last time; what doubles, with the next sample.
"""

from micropython import const

from warden.policy.thresholds import Threshold

_LARGEST_FREE_BLOCK = const(9)  # a metric
_PROTECT = const(1)  # an action
_HEAP_LONGEST = const(3)  # a place in the array of a pass: the longest object, see heap_viper
_LEAST_SHIFT = const(5)
_MOST_SHIFT = const(1)  # warn is at half of the heap at most
_MANY_RISES = const(2)  # more in a row, and it grows
_MAX_RISES = const(8)
_MAX_LAST_MS = const(0x7FFFFFF)
_FORGET_MS = const(60_000)  # where nothing as large is there any more, half of usual


class BlockWatch:
    """`evaluate()` after each sample; `threshold` is what it found, beside those of the table."""

    def __init__(self, memory):
        self.memory = memory
        self.longest = 0  # object, at the last sample
        self.taken = 0  # the last time that it became longer
        self.usual = 0
        self.rises = 0  # how often in a row it became longer
        self.wait_ms = self.last_ms = 0  # between the last two of these, and since
        self.forget_ms = 0
        self.threshold = Threshold(_LARGEST_FREE_BLOCK, 0, None, 0, 0, _PROTECT)

    def evaluate(self, period_ms):
        """Evaluate the largest free block; return whether the level changed. Allocates nothing."""
        memory = self.memory
        if memory.has_table:  # the C module does not tell it
            self.learn(memory.slices[_HEAP_LONGEST], period_ms)
        total = memory.total
        threshold = self.threshold
        warn = (3 if self.rises > _MANY_RISES else 2) * self.usual
        warn = min(max(total >> _LEAST_SHIFT, warn), total >> _MOST_SHIFT)
        threshold.warn = memory.wanted = warn
        threshold.bad_from = -warn
        threshold.clear = warn + (warn >> 2)
        memory.renew()  # what is left was seen when less was wanted
        return threshold.evaluate(memory.left, period_ms)

    def learn(self, longest, period_ms):
        """Find what is usual, from the longest object now."""
        if longest > self.longest > 0:
            self.usual = max(self.usual, min(longest, 2 * self.taken))
            self.rises = min(self.rises + 1, _MAX_RISES)
            self.wait_ms = self.last_ms if 2 * longest < 3 * self.taken else 0
            self.taken = longest
            self.last_ms = 0
        elif longest < self.longest or self.last_ms > 4 * self.wait_ms:
            self.rises = 0
        self.last_ms = min(self.last_ms + period_ms, _MAX_LAST_MS)
        self.longest = longest
        self.forget_ms += min(period_ms, _FORGET_MS - 1)  # one sample alone does not tell
        if longest >= self.usual:
            self.forget_ms = 0
        elif self.forget_ms >= _FORGET_MS:
            self.forget_ms = 0
            self.usual >>= 1
