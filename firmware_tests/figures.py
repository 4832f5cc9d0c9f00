"""The figures of a sample by their names, which the board's own code has as places."""

UNKNOWN = -0x3FFFFFFF - 1
FIELDS = (
    "uptime_s",
    "uptime_ms",
    "free_bytes",
    "cpu_permille",
    "overhead_permille",
    "loop_lag_worst_ms",
    "loop_lag_ms",
    "live_bytes",
    "link_bytes_per_s",
    "tasks",
    "rssi_dbm",
    "sent_bytes",
    "received_bytes",
    "largest_free_block_bytes",
    "threads",
    "connected",
    "dropped_frames",
    "skipped_frames",
    "bad_frames",
    "faults",
    "interval_ms",
    "total_bytes",
    "wanted_interval_ms",
    "budget_permille",
    "low_water_bytes",
)
_PLACES = FIELDS + ("storage_used",)  # which is not sent


def figure(sample, name):
    """Return a figure, None where it is not known; allocates nothing."""
    return sample.get(_PLACES.index(name))


def put_figure(sample, name, value):
    """Set a figure, None where it is not known; allocates nothing."""
    sample.figures[_PLACES.index(name)] = UNKNOWN if value is None else value
