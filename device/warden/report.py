"""What applications and the REPL ask for: made when asked, so it may allocate."""

from micropython import const

from warden.columns import column, scale, step_s, tier_for
from warden_schema import trend

_UNKNOWN = const(-0x40000000)

_METRICS = ("live_bytes", "cpu_permille", "loop_lag_ms", "storage_used_bytes")


def status(agent):
    """Return the newest figures as a dict; its shape is docs/board.md's."""
    values = agent.values

    def value(place):
        return None if values[place] == _UNKNOWN else values[place]

    memory = agent.memory
    used = memory.total - memory.free
    machine, firmware, port, unique_id, reset_cause, version = agent.identity
    return {
        "memory": {
            "total_bytes": memory.total,
            "used_bytes": used,
            "available_bytes": memory.free,
            "live_bytes": memory.live,
            "largest_free_block_bytes": value(6),
            "usage_permille": used * 1000 // memory.total,
        },
        "cpu": {
            "usage_permille": value(7),
            "active_threads": value(11),
            "active_tasks": value(10),
            "loop_lag_ms": value(8),
            "loop_lag_worst_ms": value(9),
            "uptime_s": value(0),
        },
        "storage": [_mount(row) for row in agent.storage.rows],
        "network": {
            "connected": None if value(12) is None else bool(value(12)),
            "rssi_dbm": value(13),
            "sent_bytes": value(14),
            "received_bytes": value(15),
        },
        "overhead": {
            "cpu_permille": value(16),
            "budget_permille": values[31],
            "bytes_per_s": value(17),
            "dropped_frames": value(18),
        },
        "interval_ms": values[33],
        "wanted_interval_ms": values[32],
        "board": {
            "machine": machine,
            "firmware": firmware,
            "port": port,
            "unique_id": unique_id,
            "boot_id": agent.boot_id,
            "reset_cause": reset_cause,
            "agent": version,
        },
        "faults": agent.faults,
    }


def _mount(row):
    mount, block, blocks, free, available = row
    return {
        "mount": mount,
        "total_bytes": block * blocks,
        "used_bytes": block * (blocks - free),
        "available_bytes": block * available,
        "usage_permille": (blocks - free) * 1000 // blocks,
    }


def trends(agent, period_ms):
    """Return a dict for each metric of the last period_ms of history.

    points: slots with a value; slope_per_s and stderr_per_s: None with too few of them; clear:
    whether the slope stands out from its scatter (`warden_schema.trend`); exhausted_in_s: when
    memory or storage is full at this rate, None where that is not clear.
    """
    tier = tier_for((period_ms + 999) // 1000)
    wanted = max(1, period_ms // 1000 // step_s(tier))
    limits = [agent.memory.total, None, None, None]
    if agent.storage.rows:
        row = agent.storage.rows[0]
        limits[3] = row[1] * row[2]
    found = {}
    for metric, name in enumerate(_METRICS):
        factor = scale(agent, metric)
        means = column(agent.history, tier, metric, 1)
        values = [None if mean == 0xFFFF else mean * factor for mean in means][-wanted:]
        points, slope, error, last = trend.fit(values, step_s(tier))
        limit = limits[metric]
        found[name] = {
            "points": points,
            "slope_per_s": slope,
            "stderr_per_s": error,
            "clear": trend.is_clear(slope, error),
            "exhausted_in_s": (
                None if limit is None else trend.seconds_to(limit, slope, error, last)
            ),
        }
    return found
