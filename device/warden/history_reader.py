"""Reads the history by columns: for `warden.trends()`, and for a host.

A column is one statistic (0 min, 1 mean, 2 max) of one metric in one tier of the history.
"""

from array import array

from micropython import const

from warden.sensors.storage import shift_for

NAMES = ("live_bytes", "cpu_permille", "loop_lag_ms", "storage_used_bytes")
_STATISTICS = const(3)
_MEAN = const(1)
_MEMORY_METRIC = const(0)
_STORAGE_METRIC = const(3)
_METRICS = const(4)
# See `warden.history`.
_STEP_S = const((1, 60, 3600))
_SLOTS = const((60, 60, 24))
_TIER_BEGIN = const((0, 240, 480))
_EXTREMES = const(96)


def column(history, tier, metric, statistic):
    """Return a tier's closed slots of one statistic, oldest first, as array("H").

    Each statistic of a second is its mean.
    """
    slots = _SLOTS[tier]
    found = array("H", bytes(2 * slots))
    for index in range(slots):
        place = _TIER_BEGIN[tier] + (history.numbers[tier] + index) % slots * _METRICS + metric
        if tier and statistic != _MEAN:
            place = 2 * place + _EXTREMES + statistic // 2
        found[index] = history.ring[place]
    return found


def read_column(agent, tier, metric, statistic):
    """Return [newest_s, step_s, scale, bytes] of a column, see docs/wire.md."""
    history = agent.history
    for value, end in ((tier, len(_SLOTS)), (metric, len(NAMES)), (statistic, _STATISTICS)):
        if not isinstance(value, int) or not 0 <= value < end:
            raise ValueError("no such column")
    data = bytes(column(history, tier, metric, statistic))  # all ports are little-endian
    step_s = _STEP_S[tier]
    return [history.numbers[tier] * step_s, step_s, scale(agent, metric), data]


def scale(agent, metric):
    """Return what a figure of the history is to be multiplied with."""
    if metric == _MEMORY_METRIC:
        return 1 << agent.history.shift
    if metric == _STORAGE_METRIC and agent.storage.rows:
        row = agent.storage.rows[0]
        return row[1] << shift_for(row[2])
    return 1
