"""The history of four metrics, stored on the board: three tiers of fixed size.

A second has the mean of each metric; a minute and an hour have the least and the greatest too, of
all samples in it. Figures are scaled to 16 bits; 0xFFFF is no value. `trend_report` reads them.
"""

from micropython import const

_METRICS = const(4)
# Places among a sample's figures.
_UPTIME_S = const(0)
_CPU_FIGURE = const(3)
_LAG_FIGURE = const(6)
_LIVE_FIGURE = const(7)
_STORAGE_PLACE = const(25)  # behind those that are sent
_NO_VALUE = const(0xFFFF)
# By tier: how long a slot is, how many there are that are closed, and where they begin in the ring.
_STEP_S = const((1, 60, 3600))
_SLOTS = const((60, 60, 24))
_TIER_BEGIN = const((0, 240, 480))
# The ring has the means, those of four metrics in a slot; then, of minutes and hours, least and
# greatest of each: those of the mean at place n are at 2 * n + _EXTREMES. `make_history` knows how
# many these are.
_EXTREMES = const(96)
# What the open slot of a tier has of a metric, one after the other; first the least, _NO_VALUE
# where nothing was added. A second has no least and no greatest.
_GREATEST = const(1)  # -1 where nothing was added
_SUM = const(2)
_COUNT = const(3)
_OPEN = const(4)  # values
_HOURS = const(2)  # the last tier
_TIERS = const(3)
_TIER_BITS = const(4)  # those of four metrics are 16
# The same of the next tiers, which have longer slots.
_LONGER_SUM = const(18)
_LONGER_COUNT = const(19)
_MINUTE_LEAST = const(16)
_MINUTE_GREATEST = const(17)
_HOUR_LEAST = const(32)
_HOUR_GREATEST = const(33)


class History:
    """`ring`: the closed slots of seconds, minutes and hours; `slots`: what the open ones have.

    numbers: of the open slots, each its uptime // its length; its place in the ring is that of the
    oldest. shift: of memory, by which its bytes are scaled. Made by
    `warden.setup.make_history`.
    """

    def add(self, sample):
        """Add a sample, whose uptime is never less than the last one's; allocates nothing."""
        numbers = self.numbers
        figures = sample.figures
        for tier in range(_TIERS):  # shorter slots first: the longer ones gather them
            number = figures[_UPTIME_S] // _STEP_S[tier]
            if numbers[tier] >= number:
                break
            while numbers[tier] < number:
                self.close(tier)
                if numbers[tier] < number - _SLOTS[tier]:
                    numbers[tier] = number - _SLOTS[tier]  # what is older is gone
        self.gather(0, figures[_LIVE_FIGURE] >> self.shift)
        self.gather(_OPEN, figures[_CPU_FIGURE])
        self.gather(2 * _OPEN, figures[_LAG_FIGURE])
        self.gather(3 * _OPEN, figures[_STORAGE_PLACE])

    def gather(self, place, value):
        """Add a value to the open slots, at the place of its metric; below 0: it is not known.

        Means go from each slot into the next longer one when it ends; least and greatest at once.
        """
        if value >= 0:
            if value >= _NO_VALUE:
                value = _NO_VALUE - 1
            slots = self.slots
            slots[place + _SUM] += value
            slots[place + _COUNT] += 1
            if value < slots[place + _MINUTE_LEAST]:
                slots[place + _MINUTE_LEAST] = value
                slots[place + _HOUR_LEAST] = min(value, slots[place + _HOUR_LEAST])
            if value > slots[place + _MINUTE_GREATEST]:
                slots[place + _MINUTE_GREATEST] = value
                slots[place + _HOUR_GREATEST] = max(value, slots[place + _HOUR_GREATEST])

    def close(self, tier):
        """Put a tier's open slot into the ring, its mean into the next tier's; open another.

        A metric of which nothing was added has no value.
        """
        at = _TIER_BEGIN[tier] + self.numbers[tier] % _SLOTS[tier] * _METRICS
        ring = self.ring
        slots = self.slots
        place = tier << _TIER_BITS
        while place >> _TIER_BITS == tier:
            mean = _NO_VALUE
            if slots[place + _COUNT]:
                mean = slots[place + _SUM] // slots[place + _COUNT]
                slots[place + _SUM] = 0
                slots[place + _COUNT] = 0
                if tier != _HOURS:
                    slots[place + _LONGER_SUM] += mean
                    slots[place + _LONGER_COUNT] += 1
            ring[at] = mean
            if tier:  # not of seconds
                ring[2 * at + _EXTREMES] = slots[place]
                ring[2 * at + _EXTREMES + 1] = slots[place + _GREATEST] & _NO_VALUE
                slots[place] = _NO_VALUE
                slots[place + _GREATEST] = -1
            place += _OPEN
            at += 1
        self.numbers[tier] += 1
