"""What happened, kept on the board: three tiers of fixed size, with no host.

A slot keeps the least, the mean and the greatest of each metric. Seconds are gathered into
minutes, and these into hours. Figures are scaled to 16 bits; 0xFFFF is no value.
"""

from array import array

from micropython import const

from warden_schema.loops import keep as _keep

_METRICS = const(4)
_STATS = const(3)  # min, mean, max
_NONE = const(0xFFFF)
_TIERS = const(3)

# What `loops.keep` keeps of a metric in a slot that is still open.
_FIELDS = const(4)

_STEPS = (1, 60, 3600)
_SLOTS = (60, 60, 24)


# Where each tier's slots begin in the ring.
_BEGINS = (0, 60 * _METRICS * _STATS, 120 * _METRICS * _STATS)
_FIGURES = const(1728)  # of 144 slots


class History:
    """`add(s)` files a sample at uptime s; values: its words, see `plain` for figures."""

    def __init__(self, values):
        self._values = values
        self.ring = array("H", [_NONE] * _FIGURES)  # the closed slots, tier after tier
        # The number of each tier's open slot, seconds // step; then what is gathered there.
        self.open_slots = array("i", [0] * (_TIERS + _TIERS * _METRICS * _FIELDS))

    def add(self, s):
        """File the sample under uptime s (seconds, never less than before); allocates nothing.

        Return a bit for each of its values, from live to received bytes, that is not known.
        """
        return _keep(self._values, self.open_slots, self.ring, s)

    def newest_s(self, tier):
        """Return the uptime, in seconds, at the end of the tier's newest closed slot."""
        return self.open_slots[tier] * _STEPS[tier]

    def column(self, tier, metric, stat):
        """Return the tier's closed slots of one statistic, oldest first, as array("H")."""
        column = array("H", [_NONE] * _SLOTS[tier])
        for index in range(len(column)):
            column[index] = self.value(tier, metric, stat, index)
        return column

    def value(self, tier, metric, stat, index):
        """Return a figure of that column; allocates nothing."""
        # The place of the open slot in the ring is the oldest's.
        place = (self.open_slots[tier] + index) % _SLOTS[tier]
        return self.ring[_BEGINS[tier] + (place * _METRICS + metric) * _STATS + stat]

    def place(self, tier, metric, stat):
        """Return where that statistic of the tier's first slot is in the ring."""
        return _BEGINS[tier] + metric * _STATS + stat

    def step_s(self, tier):
        """Return the length of a slot in seconds."""
        return _STEPS[tier]

    def tier_for(self, period_s):
        """Return the finest tier that reaches back period_s seconds, or the coarsest."""
        for tier in range(_TIERS):
            if period_s <= _STEPS[tier] * _SLOTS[tier]:
                return tier
        return _TIERS - 1
