"""Trends of the history, for `warden.trends()`."""

from micropython import const

from warden.checks import check_int
from warden.history_reader import NAMES, column, scale
from warden.running import running_agent
from warden_schema.trend import fit, is_clear, seconds_to

_MEAN = const(1)
_MEMORY_METRIC = const(0)
_STORAGE_METRIC = const(3)
# See `warden.history`.
_STEP_S = const((1, 60, 3600))
_SLOTS = const((60, 60, 24))
_NO_VALUE = const(0xFFFF)


def trends(period_ms):
    """Return the trends of the last period_ms, see `report_trends`."""
    check_int("period_ms", period_ms, 1, None)
    return report_trends(running_agent(), period_ms)


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
    for metric, name in enumerate(NAMES):
        factor = scale(agent, metric)
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
