"""What happened, kept on the board: three tiers of fixed size, with no host.

A slot keeps the least, the mean and the greatest of each metric. Seconds are gathered into
minutes, and these into hours. Figures are scaled to 16 bits; 0xFFFF is no value. `trends` reads
them.
"""

from array import array

from micropython import const

from warden.sensors.storage import shift_for

_METRICS = const(4)
_SLOT = const(12)  # figures: least, mean and greatest of each metric
_RING = const(1728)  # figures of 60 seconds, 60 minutes and 24 hours
_NO_VALUE = const(0xFFFF)


class Gathered:
    """What a slot that is still open has of a metric."""

    def __init__(self):
        self.least = self.greatest = self.sum = self.count = 0

    def add(self, least, mean, greatest):
        """Add one figure, or what was gathered in a shorter slot."""
        if not self.count or least < self.least:
            self.least = least
        if not self.count or greatest > self.greatest:
            self.greatest = greatest
        self.sum += mean
        self.count += 1


class Tier:
    """Slots of equal length: `slots` that are closed, from ring[begin] on, and the open one.

    number: of the open slot, its uptime // step_s; its place in the ring is that of the oldest.
    """

    def __init__(self, step_s, slots, ring, begin, longer):
        self.step_s = step_s
        self.slots = slots
        self.ring = ring
        self.begin = begin
        self.longer = longer  # the tier of longer slots, None for the last
        self.number = 0
        self.open = [Gathered() for _ in range(_METRICS)]

    def close(self):
        """Put the open slot into the ring, and have the longer one gather it."""
        at = self.begin + self.number % self.slots * _SLOT
        for metric in range(_METRICS):
            self._close_metric(metric, at)
            at += 3

    def _close_metric(self, metric, at):
        gathered = self.open[metric]
        ring = self.ring
        if not gathered.count:
            ring[at] = ring[at + 1] = ring[at + 2] = _NO_VALUE
            return
        mean = gathered.sum // gathered.count
        gathered.sum = gathered.count = 0
        ring[at] = gathered.least
        ring[at + 1] = mean
        ring[at + 2] = gathered.greatest
        if self.longer is not None:
            self.longer.open[metric].add(gathered.least, mean, gathered.greatest)

    def open_at(self, number):
        """Open the slot of this number; those that were passed over have no value."""
        passed = max(self.number + 1, number - self.slots)
        self.number = number
        while passed < number:
            at = self.begin + passed % self.slots * _SLOT
            for place in range(at, at + _SLOT):
                self.ring[place] = _NO_VALUE
            passed += 1


class History:
    """`tiers`: of seconds, minutes and hours. shift: of memory, by which its bytes are scaled.

    memory_limit: all of the memory, in that scale.
    """

    def __init__(self, memory_total):
        self.shift = shift_for(memory_total)
        self.memory_limit = memory_total >> self.shift
        ring = array("H", b"\xff\xff" * _RING)
        hours = Tier(3600, 24, ring, 120 * _SLOT, None)
        minutes = Tier(60, 60, ring, 60 * _SLOT, hours)
        self.tiers = (Tier(1, 60, ring, 0, minutes), minutes, hours)

    def add(self, sample):
        """File a sample, taken at an uptime never less than before; allocates nothing."""
        seconds = self.tiers[0]
        s = sample.uptime_s
        if s != seconds.number:
            self._begin_second(s)
        live = sample.live_bytes
        self._gather(0, None if live is None else live >> self.shift)
        self._gather(1, sample.cpu_permille)
        self._gather(2, sample.loop_lag_ms)
        self._gather(3, sample.storage_used)

    def _begin_second(self, s):
        """Close the slots that have ended, shorter ones first."""
        for tier in self.tiers:
            number = s // tier.step_s
            if number == tier.number:
                return
            tier.close()
            tier.open_at(number)

    def _gather(self, metric, value):
        if value is not None:
            if value >= _NO_VALUE:
                value = _NO_VALUE - 1
            self.tiers[0].open[metric].add(value, value, value)
