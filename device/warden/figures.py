"""The figures that a threshold may watch, by their place in `ids.THRESHOLD_METRICS`.

All are integers, in the unit that is named there; None where the board cannot tell.
"""

from micropython import const

from warden.forecast import Forecast

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
_MEMORY = const(0)
_MEMORY_EXHAUSTED_IN = const(1)
_STORAGE_USED = const(2)
_STORAGE_EXHAUSTED_IN = const(3)
_AVAILABLE_BYTES = const(7)

_UNKNOWN = const(-0x40000000)

_UPTIME_S = const(0)  # in the sample
_MEMORY_DUE_S = const(46)  # when these forecasts are renewed
_STORAGE_DUE_S = const(47)
_NEVER_S = const(0x3FFFFFFF)
_LONGEST_S = const(60)
_MEMORY_HISTORY = const(0)
_STORAGE_HISTORY = const(3)

# Those of which little is bad, where the levels do not say it.
FALLING = (1, 3, 7, 9, 12, 13)
# Those that a collection, and giving memory back, may improve.
OF_MEMORY = (0, 1, 7, 8, 9)

# Where they are among the values: in ids.SAMPLE_VALUES, or behind them, those that are made here.
PLACES = b"\x18\x19\x1a\x1b\x07\x08\x09\x1c\x05\x06\x0a\x0b\x0c\x0d\x10\x11\x12\x14\x15"
FIRST_MADE = const(24)


class Figures:
    """Reads them from what the agent measured last; allocates nothing.

    values: array("i"), see `plain` for figures; limit_of: function of a metric of the history ->
    its limit there, in the history's scale.
    """

    def __init__(self, values, memory, storage, history, limit_of):
        self.values = values
        self._memory = memory
        self._storage = storage
        self._limit_of = limit_of
        self._memory_forecast = Forecast(history, _MEMORY_HISTORY)
        self._storage_forecast = Forecast(history, _STORAGE_HISTORY)

    def read(self, metric):
        """Return the metric's figure, or None."""
        place = PLACES[metric]
        value = self._make(metric) if place >= FIRST_MADE else self.values[place]
        return None if value == _UNKNOWN else value

    def watch(self, metrics):
        """Have those forecasts renewed, from now on, that are of these metrics."""
        values = self.values
        values[_MEMORY_DUE_S] = 0 if _MEMORY_EXHAUSTED_IN in metrics else _NEVER_S
        values[_STORAGE_DUE_S] = 0 if _STORAGE_EXHAUSTED_IN in metrics else _NEVER_S

    def renew_memory(self):
        """Bring its forecast up to now."""
        values = self.values
        values[PLACES[_MEMORY_EXHAUSTED_IN]] = self._make(_MEMORY_EXHAUSTED_IN)
        values[_MEMORY_DUE_S] = self._memory_forecast.due_s()

    def renew_storage(self):
        """Bring its forecast up to now."""
        values = self.values
        values[PLACES[_STORAGE_EXHAUSTED_IN]] = self._make(_STORAGE_EXHAUSTED_IN)
        due_s = values[_UPTIME_S] + _LONGEST_S
        if self._storage.rows:
            due_s = self._storage_forecast.due_s()
        values[_STORAGE_DUE_S] = due_s

    def _make(self, metric):
        """Return a figure, _UNKNOWN for None."""
        if metric == _STORAGE_USED:
            return self.values[PLACES[_STORAGE_USED]]  # as of the last scan
        if metric == _STORAGE_EXHAUSTED_IN:
            if not self._storage.rows:
                return _UNKNOWN
            return self._storage_forecast.seconds(self._limit_of(_STORAGE_HISTORY))
        memory = self._memory
        live = memory.live
        if live is None:
            return _UNKNOWN
        if metric == _MEMORY:
            return live // (memory.total // 1000)  # nothing here exceeds 30 bits
        if metric == _AVAILABLE_BYTES:
            return memory.total - live
        return self._memory_forecast.seconds(self._limit_of(_MEMORY_HISTORY))
