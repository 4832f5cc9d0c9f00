"""The figures that a threshold can watch, by their place in `ids.THRESHOLD_METRICS`."""

from micropython import const

from warden.policy.forecast import Forecast

METRICS = (
    "memory",
    "memory_exhausted_in",
    "storage",
    "storage_exhausted_in",
    "cpu",
    "loop_lag",
    "loop_lag_worst",
    "available_bytes",
    "live_bytes",
    "largest_free_block_bytes",
    "tasks",
    "threads",
    "connected",
    "rssi_dbm",
    "overhead",
    "link_bytes_per_s",
    "dropped_frames",
    "bad_frames",
    "faults",
)
_MEMORY_EXHAUSTED_IN = const(1)
_STORAGE_EXHAUSTED_IN = const(3)
_AVAILABLE_BYTES = const(7)
_LIVE_BYTES = const(8)
_NOT_IN_SAMPLE = const(0b1_1000_1011)  # a bit for each of these and for memory
# Those that the sample has under another name.
_SAMPLE_NAMES = {
    2: "storage_permille",
    4: "cpu_permille",
    5: "loop_lag_ms",
    6: "loop_lag_worst_ms",
    14: "overhead_permille",
}
_HISTORY_MEMORY = const(0)  # as in ids.METRICS
_HISTORY_STORAGE = const(3)


class Metrics:
    """Reads metrics, in the units of `ids.THRESHOLD_METRICS`; None where the board cannot tell."""

    def __init__(self, sample, memory, storage, history):
        self._sample = sample
        self._memory = memory
        self._storage = storage
        self._history = history
        self._forecasts = (Forecast(history, _HISTORY_MEMORY), Forecast(history, _HISTORY_STORAGE))
        self._exhausted_in = [None, None]  # seconds, as forecast last
        self._forecast_s = -1  # when that was, of either

    def read(self, metric):
        """Return a metric's value now, None if it is not known; allocates nothing."""
        if not _NOT_IN_SAMPLE >> metric & 1:
            return getattr(self._sample, _SAMPLE_NAMES.get(metric) or METRICS[metric])
        if metric == _MEMORY_EXHAUSTED_IN:
            return self._read_forecast(0, self._history.memory_limit)
        if metric == _STORAGE_EXHAUSTED_IN:
            return self._read_forecast(1, self._storage.limit)
        memory = self._memory  # not the sample's: it may have been collected since
        live = memory.live
        if live is None or metric == _LIVE_BYTES:
            return live
        if metric == _AVAILABLE_BYTES:
            return memory.total - live
        return live // (memory.total // 1000)  # permille; live * 1000 may exceed 30 bits

    def _read_forecast(self, place, limit):
        """Return a forecast, made anew where that is due: one a second, only what is read.

        limit: of the figure, in the history's scale, None if there is none.
        """
        s = self._sample.uptime_s
        forecast = self._forecasts[place]
        if s >= forecast.due_s and s != self._forecast_s:
            self._forecast_s = s
            self._exhausted_in[place] = None if limit is None else forecast.seconds(limit)
        return self._exhausted_in[place]
