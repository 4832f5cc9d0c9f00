"""The history of four metrics, stored on the board: three tiers of fixed size.

A second has the mean of each metric; a minute and an hour have the least and the greatest too, of
all samples in it. Figures are scaled to 16 bits; 0xFFFF is no value. `trend_report` reads them.
"""

from array import array

from micropython import const

from warden.sensors.storage import shift_for

_METRICS = const(4)
_MEMORY_METRIC = const(0)  # the one in bytes
_NO_VALUE = const(0xFFFF)
# The ring has the means of 60 seconds, 60 minutes and 24 hours, four in a slot; then, of minutes
# and hours, least and greatest of each: those of the mean at place n are at 2 * n + _EXTREMES.
_MINUTES = const(240)
_HOURS = const(480)
_RING = const(1248)
_EXTREMES = const(96)
# What the open slot has of a metric, one after the other.
_LEAST = const(0)
_GREATEST = const(1)
_SUM = const(2)
_COUNT = const(3)
_OPEN = const(4)  # values


class Tier:
    """Slots of equal length: `slots` that are closed, from ring[begin] on, and the open one.

    number: of the open slot, its uptime // step_s; its place in the ring is that of the oldest.
    open_slot: least, greatest, sum and count of each metric in it.
    """

    def __init__(self, step_s, slots, ring, begin, longer):
        self.step_s = step_s
        self.slots = slots
        self.ring = ring
        self.begin = begin
        self.longer = longer  # the tier of longer slots, None for the last
        self.number = 0
        self.open_slot = [0] * (_METRICS * _OPEN)

    def add(self, least, greatest, mean, place):
        """Add one value to the open slot, or the least, greatest and mean of a shorter slot.

        place: in `open_slot`, of what there is of its metric.
        """
        values = self.open_slot
        if not values[place + _COUNT] or least < values[place + _LEAST]:
            values[place + _LEAST] = least
        if not values[place + _COUNT] or greatest > values[place + _GREATEST]:
            values[place + _GREATEST] = greatest
        values[place + _SUM] += mean
        values[place + _COUNT] += 1

    def close(self):
        """Put the open slot into the ring, and into the open one of the longer tier; open the next.

        A metric of which nothing was added has no value.
        """
        values = self.open_slot
        at = self.begin + self.number % self.slots * _METRICS
        place = 0
        while place < _METRICS * _OPEN:
            mean = _NO_VALUE
            if values[place + _COUNT]:
                mean = values[place + _SUM] // values[place + _COUNT]
                values[place + _SUM] = values[place + _COUNT] = 0
                if self.longer is not None:
                    self.longer.add(values[place], values[place + _GREATEST], mean, place)
            else:
                values[place] = values[place + _GREATEST] = mean
            self.ring[at] = mean
            if self.begin:  # not of seconds
                self.ring[2 * at + _EXTREMES] = values[place]
                self.ring[2 * at + _EXTREMES + 1] = values[place + _GREATEST]
            place += _OPEN
            at += 1
        self.number += 1


class History:
    """`tiers`: of seconds, minutes and hours. shift: of memory, by which its bytes are scaled."""

    def __init__(self, total):
        self.shift = shift_for(total)
        ring = array("H", b"\xff\xff" * _RING)
        hours = Tier(3600, 24, ring, _HOURS, None)
        minutes = Tier(60, 60, ring, _MINUTES, hours)
        self.tiers = (Tier(1, 60, ring, 0, minutes), minutes, hours)

    def add(self, sample):
        """Add a sample, whose uptime is never less than the last one's; allocates nothing."""
        for tier in self.tiers:  # shorter slots first: the longer ones gather them
            number = sample.uptime_s // tier.step_s
            if tier.number >= number:
                break
            while tier.number < number:
                tier.close()
                if tier.number < number - tier.slots:
                    tier.number = number - tier.slots  # what is older is gone
        self.gather(_MEMORY_METRIC, sample.live_bytes)
        self.gather(1, sample.cpu_permille)
        self.gather(2, sample.loop_lag_ms)
        self.gather(3, sample.storage_used)

    def gather(self, metric, value):
        """Add a value to the open second, if it is not None."""
        if value is not None:
            if metric == _MEMORY_METRIC:
                value >>= self.shift
            value = min(value, _NO_VALUE - 1)
            self.tiers[0].add(value, value, value, metric * _OPEN)
