"""The history as those want it who ask for it: by columns, and what their figures are.

Imported when somebody asks. A column is one statistic (0 min, 1 mean, 2 max) of one metric in one
tier.
"""

from array import array

from micropython import const

from warden.sampler import shift_for

_METRICS = const(4)
_STATS = const(3)
_TIERS = const(3)
_NONE = const(0xFFFF)
_MEMORY = const(0)
_STORAGE = const(3)
_SHIFT = const(39)  # in the sample's words, of the memory

_STEPS = (1, 60, 3600)
_SLOTS = (60, 60, 24)
# Where each tier's slots begin in the ring.
_BEGINS = (0, 60 * _METRICS * _STATS, 120 * _METRICS * _STATS)


def newest_s(history, tier):
    """Return the uptime, in seconds, at the end of the tier's newest closed slot."""
    return history.open_slots[tier] * _STEPS[tier]


def step_s(tier):
    """Return the length of a slot in seconds."""
    return _STEPS[tier]


def tier_for(period_s):
    """Return the finest tier that reaches back period_s seconds, or the coarsest."""
    for tier in range(_TIERS):
        if period_s <= _STEPS[tier] * _SLOTS[tier]:
            return tier
    return _TIERS - 1


def column(history, tier, metric, stat):
    """Return the tier's closed slots of one statistic, oldest first, as array("H")."""
    slots = _SLOTS[tier]
    found = array("H", [_NONE] * slots)
    oldest = history.open_slots[tier]  # its place in the ring is that of the open one
    for index in range(slots):
        place = (oldest + index) % slots
        found[index] = history.ring[_BEGINS[tier] + (place * _METRICS + metric) * _STATS + stat]
    return found


def scale(agent, metric):
    """Return what a figure in the history is to be multiplied with, by metric."""
    if metric == _MEMORY:
        return 1 << agent.values[_SHIFT]
    if metric == _STORAGE and agent.storage.rows:
        row = agent.storage.rows[0]
        return row[1] << shift_for(row[2])
    return 1


def read(agent, tier, metric, stat):
    """Return [newest_s, step_s, scale, bytes] of a column, see docs/wire.md."""
    for value, limit in ((tier, _TIERS), (metric, _METRICS), (stat, _STATS)):
        if not isinstance(value, int) or not 0 <= value < limit:
            raise ValueError("no such column")
    figures = column(agent.history, tier, metric, stat)
    data = bytearray(2 * len(figures))
    for index, value in enumerate(figures):  # little-endian on every board
        data[2 * index] = value & 0xFF
        data[2 * index + 1] = value >> 8
    return [newest_s(agent.history, tier), step_s(tier), scale(agent, metric), data]
