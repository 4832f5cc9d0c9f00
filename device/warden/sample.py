"""The newest figures, by name."""

# In the order in which SAMPLE sends them: ids.SAMPLE_VALUES, held equal by a test.
FIELDS = (
    "uptime_s",
    "uptime_ms",
    "interval_ms",
    "total_bytes",
    "free_bytes",
    "live_bytes",
    "largest_free_block_bytes",
    "cpu_permille",
    "loop_lag_ms",
    "loop_lag_worst_ms",
    "tasks",
    "threads",
    "connected",
    "rssi_dbm",
    "sent_bytes",
    "received_bytes",
    "overhead_permille",
    "link_bytes_per_s",
    "dropped_frames",
    "skipped_frames",
    "bad_frames",
    "faults",
    "wanted_interval_ms",
    "budget_permille",
)


class Sample:
    """One attribute for each of FIELDS, None where the board cannot tell; sensors fill their own.

    Not sent: period_ms, the time since the sample before; storage_permille, of the first mount in
    use, and storage_used, the same in the scale of the history.
    """

    def __init__(self):
        for name in FIELDS:
            setattr(self, name, None)
        self.uptime_s = self.uptime_ms = 0
        self.dropped_frames = self.skipped_frames = self.bad_frames = self.faults = 0
        self.period_ms = 0
        self.storage_permille = self.storage_used = None
