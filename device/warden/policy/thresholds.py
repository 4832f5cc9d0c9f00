"""Thresholds: levels that a metric should not cross, with hysteresis and a hold time.

A metric rises to a level once it has reached it for the hold time, without a break. It falls from
critical when it is below warn, and from warn when it is back at clear, at once. Where little is
bad, all of that is the other way round. A value that is not known changes no level. What is filled
for ten seconds, and then full, looks like a leak until then: a forecast rises to no level sooner
than after four seconds.
"""

from micropython import const

from warden.checks import check_int
from warden.sample import fragmentation_permille
from warden.sensors.threads import import_lock
from warden.tables import Table

# By their places in ids.THRESHOLD_METRICS, which has their units. One text: as texts of their own
# they would take 0.3 KB more.
METRICS = (
    "memory memory_exhausted_in storage storage_exhausted_in cpu loop_lag loop_lag_worst "
    "available_bytes live_bytes largest_free_block_bytes tasks threads connected rssi_dbm "
    "overhead link_bytes_per_s dropped_frames bad_frames faults fragmentation "
    "system_heap_free_bytes system_heap_largest_free_block_bytes system_heap_low_water_bytes"
)
# For each of them its place among a sample's figures, 0 for those that are found elsewhere.
_METRIC_FIGURES = const(b"\0\0\0\0\x03\x06\x05\0\0\0\x09\x0e\x0f\x0a\x04\x08\x10\x12\x13\0\0\0\0")
_UNKNOWN = const(-0x3FFFFFFF - 1)
_MEMORY = const(0)
_MEMORY_EXHAUSTED_IN = const(1)
_STORAGE_USED = const(2)
_STORAGE_EXHAUSTED_IN = const(3)
_AVAILABLE_BYTES = const(7)
_LIVE_BYTES = const(8)
_LARGEST_FREE_BLOCK = const(9)
_FRAGMENTATION = const(19)
_SYSTEM_HEAP_METRICS = const(20)  # the first of three
_FORECAST_METRICS = const((1, 3))
_LITTLE_IS_BAD = const(0b111_0000_0011_0010_1000_1010)  # a bit for each metric

# Live bytes in permille of the heap for warn, critical and clear, at the first sample that shows
# it; the action is PROTECT.
DEFAULT_THRESHOLD = const((_MEMORY, 750, 850, 650, 0, 1))

_THRESHOLD = const(13)  # a kind of message
_MAX_THRESHOLDS = const(8)
_MAX_LIMIT = const(0x3FFFFFFF)
_MAX_HOLD_MS = const(600_000)
_FORECAST_HOLD_MS = const(3500)  # four samples a second apart
_NEVER = const(0x3FFFFFFF)  # the forecast of what does not rise
_CLEAR = const(0)  # levels
_WARN = const(1)
_AT_CRITICAL = const(2)
_LEVEL_NAMES = const(("clear", "warn", "critical"))
_RESET = const(2)  # an action: reset the board where nothing else helps


class Threshold:
    """The levels of one metric; `level` and `value` are those of the last change.

    ValueError or TypeError for what makes no sense.
    """

    def __init__(self, metric, warn, critical, clear, hold_ms, action):
        for value in (warn, critical, clear):
            if value is not None:
                check_int("level", value, -_MAX_LIMIT, _MAX_LIMIT)
        check_int("hold_ms", hold_ms, 0, _MAX_HOLD_MS)
        check_int("action", action, 0, _RESET)
        first = critical if warn is None else warn
        last = first if critical is None else critical
        if clear is None:
            clear = first
        sign = -1 if _LITTLE_IS_BAD >> metric & 1 else 1
        if last != clear:
            sign = -1 if last < clear else 1
        if not clear * sign <= first * sign <= last * sign:
            raise ValueError("clear, warn, critical must be in order")
        self.metric = metric
        self.warn = warn
        self.critical = critical
        self.clear = clear
        self.hold_ms = hold_ms
        self.action = action
        self.level = _CLEAR
        self.value = None
        self.sign = sign  # -1 where little is bad
        self.bad_from = first * sign  # from there on a value times the sign is bad
        self.over_ms = -1  # for how long it has been, -1: it is not
        self.critical_ms = -1  # the same of critical
        self.level_ms = 0  # for how long the level has been what it is
        self.rank = 0  # how much there is to be done about it, 0: nothing

    def evaluate(self, value, period_ms):
        """Update the level for a new value, period_ms after the last; return whether it changed."""
        sign = self.sign
        bad = value is not None and value * sign >= self.bad_from
        level = self.level
        if not bad and (value is None or level == _CLEAR):  # as nearly always
            self.over_ms = self.critical_ms = -1
            return False
        critical = self.critical is not None and value * sign >= self.critical * sign
        self.over_ms = _add_ms(self.over_ms, bad, period_ms)
        self.critical_ms = _add_ms(self.critical_ms, critical, period_ms)
        if self.has_held(self.critical_ms):
            level = _AT_CRITICAL
        elif bad:
            if level == _CLEAR and self.has_held(self.over_ms):
                level = _WARN
        elif not self.beyond_clear(value):
            level = _CLEAR
        elif self.warn is not None:
            level = _WARN
        if level == self.level:
            self.level_ms = _add_ms(self.level_ms, True, period_ms)
            return False
        self.level = level
        self.value = None if value == _NEVER else value
        self.level_ms = 0
        self.rank = 4 * level + self.action if level and self.action else 0
        return True

    def has_held(self, ms):
        """Tell whether a level has been reached for long enough."""
        if self.metric in _FORECAST_METRICS and ms < _FORECAST_HOLD_MS:
            return False
        return ms >= self.hold_ms

    def beyond_clear(self, value):
        """Tell whether a value is on the bad side of the clear level."""
        return value * self.sign > self.clear * self.sign


def _add_ms(ms, active, period_ms):
    """Return a duration with period_ms added: 0 when `active` begins, -1 while it is False."""
    if not active:
        return -1
    if ms < 0:
        return 0
    return ms if ms > _MAX_HOLD_MS else ms + period_ms


class Thresholds(Table):
    """The table of thresholds: one for a metric at most."""

    def __init__(self, policy):
        super().__init__(
            policy.clock,
            _THRESHOLD,
            ("metric", "warn", "critical", "clear", "hold_ms", "action", "level", "value"),
            _MAX_THRESHOLDS,
        )
        self.policy = policy
        self.worst = None  # of those about which there is something to be done
        # The bytes that one wants in one free block; 0 if none does, and live memory is protected,
        # -1 if it is not.
        self.wanted_block = -1

    def set(self, metric, warn=None, critical=None, clear=None, hold_ms=0, action=0):
        """Set the threshold of a metric (its name or place), or remove it if no level is given.

        Raises ValueError or TypeError for what makes no sense, and when eight are watched.
        """
        policy = self.policy
        if isinstance(metric, str):
            names = METRICS.split()
            if metric not in names:
                raise ValueError("no such metric")
            metric = names.index(metric)
        check_int("metric", metric, 0, len(_METRIC_FIGURES) - 1)
        threshold = None
        if warn is not None or critical is not None:
            threshold = Threshold(metric, warn, critical, clear, hold_ms, action)
            if action == _RESET and policy.agent.board.reset is None:
                raise ValueError("the port cannot reset the board")
            if metric in _FORECAST_METRICS and policy.forecast is None:
                with import_lock:
                    from warden.policy.forecast import Forecast
                policy.forecast = Forecast(policy.agent.history)
        with policy.lock:
            row = self.find_row("metric", metric)
            if row is not None:
                self.put(row, threshold)
            elif threshold is not None:
                raise ValueError("no more than eight")

    def put(self, row, threshold):
        """Put a threshold, or None, into a row; the caller has the policy's lock."""
        self.rows[row] = threshold
        self.wanted_block = -1
        for entry in self.rows:
            if entry is None:
                pass
            elif entry.metric == _LARGEST_FREE_BLOCK:
                self.wanted_block = entry.bad_from * entry.sign
            elif entry.metric == _MEMORY and entry.action and self.wanted_block < 0:
                self.wanted_block = 0
        if threshold is None:
            self.policy.mark_dirty(0)
        else:
            self.mark_dirty(row)

    def all(self):
        """Return the thresholds that are set."""
        return list(filter(None, self.rows))

    def evaluate(self, period_ms):
        """Evaluate all thresholds, period_ms after the last time; allocates nothing."""
        worst = None
        rows = self.rows
        row = 0
        while row < _MAX_THRESHOLDS:
            entry = rows[row]
            row += 1
            if entry is not None:
                value = self.read(entry.metric)
                # Nearly always it is clear, and the value is not bad: there is nothing to evaluate.
                if (
                    entry.level == _CLEAR
                    and entry.over_ms < 0
                    and (value is None or value * entry.sign < entry.bad_from)
                ):
                    continue
                if entry.evaluate(value, period_ms):
                    self.mark_dirty(row - 1)
                    self.post(entry)
                if entry.rank and (worst is None or entry.rank > worst.rank):
                    worst = entry
        self.worst = worst

    def post(self, entry):
        """Post an event for a threshold whose level has changed."""
        self.policy.events.post("threshold", entry.metric, _LEVEL_NAMES[entry.level], entry.value)

    def read(self, metric):
        """Return a metric's value now, None where the board cannot tell; allocates nothing."""
        agent = self.policy.agent
        place = _METRIC_FIGURES[metric]
        if place:
            value = agent.sample.figures[place]
            return None if value == _UNKNOWN else value
        if metric == _MEMORY or metric == _AVAILABLE_BYTES or metric == _LIVE_BYTES:
            memory = agent.memory  # not the sample's: garbage may have been collected since
            live = memory.live
            if memory.is_off and metric != _LIVE_BYTES:
                live = memory.total - memory.free  # nothing gives garbage back
            elif live is None or metric == _LIVE_BYTES:
                return live
            if metric == _MEMORY:  # permille; live * 1000 may exceed 30 bits
                return live // (memory.total // 1000 or 1)  # a replay may know no total
            return memory.total - live
        if metric == _MEMORY_EXHAUSTED_IN:
            return self.policy.forecast.memory(agent.memory, self.policy.pressure.blocks.usual)
        if metric == _STORAGE_EXHAUSTED_IN:
            return self.policy.forecast.storage(agent.storage)
        if metric == _STORAGE_USED:
            return agent.storage.permille
        if metric == _LARGEST_FREE_BLOCK:
            return agent.memory.left
        if metric == _FRAGMENTATION:
            memory = agent.memory
            if memory.live is None:
                return None
            return fragmentation_permille(memory.total - memory.live, memory.left)
        if agent.system_heap is None:
            return None
        return agent.system_heap.values[metric - _SYSTEM_HEAP_METRICS]
