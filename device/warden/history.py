"""What happened, kept on the board: three tiers of fixed size, with no host.

A slot keeps the least, the mean and the greatest of each metric. Seconds are gathered into
minutes, and these into hours. Figures are scaled to 16 bits; 0xFFFF is no value. `trends` reads
them.
"""

from array import array

from micropython import const

from warden.sensors.storage import shift_for

_METRICS = const(4)
_LIVE = const(0)  # the one in bytes
_SLOT = const(12)  # figures: least, mean and greatest of each metric
_RING = const(1728)  # figures of 60 seconds, 60 minutes and 24 hours
_NO_VALUE = const(0xFFFF)


class Tier:
    """Slots of equal length: `slots` that are closed, from ring[begin] on, and the open one.

    number: of the open slot, its uptime // step_s; its place in the ring is that of the oldest.
    least, greatest, sums and counts are what the open one has of each metric.
    """

    def __init__(self, step_s, slots, ring, begin, longer):
        self.step_s = step_s
        self.slots = slots
        self.ring = ring
        self.begin = begin
        self.longer = longer  # the tier of longer slots, None for the last
        self.number = 0
        self.least = [0] * _METRICS
        self.greatest = [0] * _METRICS
        self.sums = [0] * _METRICS
        self.counts = [0] * _METRICS

    def add(self, metric, least, greatest, mean):
        """Add one figure to the open slot, or what was gathered in a shorter one."""
        count = self.counts[metric]
        if not count or least < self.least[metric]:
            self.least[metric] = least
        if not count or greatest > self.greatest[metric]:
            self.greatest[metric] = greatest
        self.sums[metric] += mean
        self.counts[metric] = count + 1

    def open(self, number):
        """Close the open slot, and open the one of this number; between them none has a value.

        Return whether it is another one.
        """
        if self.number >= number:
            return False
        while self.number < number:
            at = self.begin + self.number % self.slots * _SLOT
            for metric in range(_METRICS):
                self.close(metric, at)
                at += 3
            self.number = max(self.number + 1, number - self.slots)
        return True

    def close(self, metric, at):
        """Put what the open slot has of a metric into the ring, and into the longer slot."""
        ring = self.ring
        mean = self.counts[metric]
        if not mean:
            ring[at] = ring[at + 1] = ring[at + 2] = _NO_VALUE
            return
        mean = self.sums[metric] // mean
        self.sums[metric] = self.counts[metric] = 0
        ring[at] = self.least[metric]
        ring[at + 1] = mean
        ring[at + 2] = self.greatest[metric]
        if self.longer is not None:
            self.longer.add(metric, self.least[metric], self.greatest[metric], mean)


class History:
    """`tiers`: of seconds, minutes and hours. shift: of memory, by which its bytes are scaled.

    memory_limit: all of the memory (total), in that scale.
    """

    def __init__(self, total):
        self.shift = shift_for(total)
        self.memory_limit = total >> self.shift
        ring = array("H", b"\xff\xff" * _RING)
        hours = Tier(3600, 24, ring, 120 * _SLOT, None)
        minutes = Tier(60, 60, ring, 60 * _SLOT, hours)
        self.tiers = (Tier(1, 60, ring, 0, minutes), minutes, hours)

    def add(self, sample):
        """File a sample, taken at an uptime never less than before; allocates nothing."""
        for tier in self.tiers:  # shorter slots first: the longer ones gather them
            if not tier.open(sample.uptime_s // tier.step_s):
                break
        self.gather(_LIVE, sample.live_bytes)
        self.gather(1, sample.cpu_permille)
        self.gather(2, sample.loop_lag_ms)
        self.gather(3, sample.storage_used)

    def gather(self, metric, value):
        """Add a figure to the open second, if it is known."""
        if value is not None:
            if metric == _LIVE:
                value >>= self.shift
            value = min(value, _NO_VALUE - 1)
            self.tiers[0].add(metric, value, value, value)
