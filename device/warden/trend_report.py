"""Trends, and the history by columns: for `warden.trends()` and for a host that reads it.

A column is one statistic (0 min, 1 mean, 2 max) of one metric in one tier of the history.
"""

from array import array

from micropython import const

from warden.sensors.storage import shift_for
from warden_schema.trend import fit, is_clear, seconds_to

_NAMES = ("live_bytes", "cpu_permille", "loop_lag_ms", "storage_used_bytes")
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
_NO_VALUE = const(0xFFFF)


def report_trends(agent, period_ms):
    """Return a dict for each metric of the last period_ms of history.

    points: slots with a value; slope_per_s and stderr_per_s: None with too few of them; clear:
    whether the slope stands out from its scatter (`warden_schema.trend`); exhausted_in_s: when
    memory or storage is full at the rate of the newest slots, None where those do not clearly rise.
    """
    for tier in range(len(_SLOTS)):  # the finest that reaches back, or the coarsest
        step_s = _STEP_S[tier]
        if period_ms <= step_s * _SLOTS[tier] * 1000:
            break
    wanted = max(1, min(period_ms // 1000 // step_s, _SLOTS[tier]))
    rows = agent.storage.rows
    full = agent.memory.total
    if agent.policy is not None and agent.policy.forecast is not None:
        full = agent.policy.forecast.full or full
    limits = {
        _MEMORY_METRIC: full,
        _STORAGE_METRIC: rows[0][1] * rows[0][2] if rows else None,
    }
    found = {}
    agent.clock.advance()
    newest = {_MEMORY_METRIC: agent.memory.live}
    if rows:
        newest[_STORAGE_METRIC] = rows[0][1] * (rows[0][2] - rows[0][3])
    for metric, name in enumerate(_NAMES):
        factor = _scale(agent, metric)
        means = column(agent.history, tier, metric, _MEAN)
        values = [None if mean == _NO_VALUE else mean * factor for mean in means][-wanted:]
        points, slope, error = fit(values, step_s)
        left_s = seconds_to(limits.get(metric), newest.get(metric), values, step_s)
        if metric == _MEMORY_METRIC and left_s is not None:
            left_s = max(0.0, left_s - agent.memory.live_age_ms() / 1000)
        found[name] = {
            "points": points,
            "slope_per_s": slope,
            "stderr_per_s": error,
            "clear": is_clear(slope, error),
            "exhausted_in_s": left_s,
        }
    return found


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
    for value, end in ((tier, len(_SLOTS)), (metric, len(_NAMES)), (statistic, _STATISTICS)):
        if not isinstance(value, int) or not 0 <= value < end:
            raise ValueError("no such column")
    data = bytes(column(history, tier, metric, statistic))  # all ports are little-endian
    step_s = _STEP_S[tier]
    return [history.numbers[tier] * step_s, step_s, _scale(agent, metric), data]


def _scale(agent, metric):
    """Return what a figure of the history is to be multiplied with."""
    if metric == _MEMORY_METRIC:
        return 1 << agent.history.shift
    if metric == _STORAGE_METRIC and agent.storage.rows:
        row = agent.storage.rows[0]
        return row[1] << shift_for(row[2])
    return 1
