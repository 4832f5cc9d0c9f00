"""What happened, kept on the board: three tiers of fixed size, with no host.

A slot keeps the least, the mean and the greatest of each metric. Seconds are gathered into
minutes, and these into hours. Figures are scaled to 16 bits; 0xFFFF is no value.
"""

from array import array

from micropython import const

from warden_schema import loops

_METRICS = const(4)
_STATS = const(3)  # min, mean, max
_NONE = const(0xFFFF)
_TIERS = const(3)

# What `loops.gather` keeps of a metric in a slot that is still open.
_FIELDS = const(4)

_STEPS = (1, 60, 3600)
_SLOTS = (60, 60, 24)


class History:
    """`row` takes a sample's figures, in 16 bits; then `add(s)` files them at uptime s."""

    def __init__(self):
        self.row = array("H", [_NONE] * _METRICS)
        self._rings = [array("H", [_NONE] * (_METRICS * _STATS * slots)) for slots in _SLOTS]
        self._open = [array("i", [0] * (_METRICS * _FIELDS)) for _ in _SLOTS]
        self.open_slots = array("i", [0] * _TIERS)  # the number of each tier's one, seconds // step

    def add(self, s):
        """File `row` under uptime s (seconds, never less than before); allocates nothing."""
        opened = self.open_slots
        if s != opened[0]:
            self._close(0, s)
            if s // 60 != opened[1]:
                self._close(1, s // 60)
                if s // 3600 != opened[2]:
                    self._close(2, s // 3600)
        loops.gather(self._open[0], self.row, _METRICS)

    def _close(self, tier, slot):
        """Close the tier's open slot and open `slot`; those between have no value."""
        ring = self._rings[tier]
        slots = _SLOTS[tier]
        opened = self.open_slots[tier]
        cells = self._open
        last = tier == _TIERS - 1
        longer = cells[tier] if last else cells[tier + 1]
        to = opened % slots * (_METRICS * _STATS)
        loops.file(cells[tier], ring, to, longer, _METRICS, last)
        self.open_slots[tier] = slot
        missing = slot - opened - 1
        if missing > slots:
            missing = slots
        while missing > 0:
            self._clear(ring, (slot - missing) % slots)
            missing -= 1

    def _clear(self, ring, place):
        at = place * _METRICS * _STATS
        end = at + _METRICS * _STATS
        while at < end:
            ring[at] = _NONE
            at += 1

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
        return self._rings[tier][(place * _METRICS + metric) * _STATS + stat]

    def means(self, tier, metric, stat, points, most):
        """Put the means of every five closed slots into points[:most], newest first; how many?"""
        slots = _SLOTS[tier]
        newest = (self.open_slots[tier] + slots - 1) % slots
        at = metric * _STATS + stat
        ring = self._rings[tier]
        return loops.means(ring, newest, slots, _METRICS * _STATS, at, points, most)

    def step_s(self, tier):
        """Return the length of a slot in seconds."""
        return _STEPS[tier]

    def tier_for(self, period_s):
        """Return the finest tier that reaches back period_s seconds, or the coarsest."""
        for tier in range(_TIERS):
            if period_s <= _STEPS[tier] * _SLOTS[tier]:
                return tier
        return _TIERS - 1
