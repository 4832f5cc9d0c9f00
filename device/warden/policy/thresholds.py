"""Thresholds: levels that a metric should not cross, with hysteresis and a hold time.

A metric rises to a level once it has reached it for the hold time, without a break. It falls from
critical when it is below warn, and from warn when it is back at clear, at once. Where little is
bad, all of that is the other way round. A value that is not known changes no level.
"""

from micropython import const

from warden.policy.metrics import METRICS
from warden.sensors.threads import new_lock
from warden.tables import Table

_THRESHOLD = const(13)  # the kind of message
_MAX_THRESHOLDS = const(8)
_MAX_LIMIT = const(0x3FFFFFFF)
_MAX_HOLD_MS = const(600_000)
_CLEAR = const(0)  # levels
_WARN = const(1)
_AT_CRITICAL = const(2)
_LEVEL_NAMES = const(("clear", "warn", "critical"))
_RESET = const(2)  # an action: reset the board where nothing else helps
_LITTLE_IS_BAD = const(0b11_0010_1000_1010)  # a bit for each metric


class Threshold:
    """What is watched of one metric; `level` and `value` are those of the last change.

    ValueError or TypeError for what makes no sense.
    """

    def __init__(self, metric, warn, critical, clear, hold_ms, action):
        for limit in (warn, critical, clear):
            if limit is not None:
                if not isinstance(limit, int) or isinstance(limit, bool):
                    raise TypeError("levels are integers, or None")
                if not -_MAX_LIMIT <= limit <= _MAX_LIMIT:
                    raise ValueError("levels are below 2**30")
        if not isinstance(hold_ms, int) or not 0 <= hold_ms <= _MAX_HOLD_MS:
            raise ValueError("hold_ms must be 0 to 600000")
        if not isinstance(action, int) or not 0 <= action <= _RESET:
            raise ValueError("no such action")
        first = critical if warn is None else warn
        last = first if critical is None else critical
        if clear is None:
            clear = first
        if first != last:
            falls = last < first
        elif first != clear:
            falls = first < clear
        else:
            falls = bool(_LITTLE_IS_BAD >> metric & 1)
        if not (last <= first <= clear if falls else clear <= first <= last):
            raise ValueError("the levels must be in order: clear, warn, critical")
        self.metric = metric
        self.warn = warn
        self.critical = critical
        self.clear = clear
        self.hold_ms = hold_ms
        self.action = action
        self.level = _CLEAR
        self.value = None
        self.critical_ms = -1  # for how long its level has been critical, -1: it is not
        self.falls = falls  # whether little is bad
        self.first = first  # from there on a value is bad
        self._bad_ms = self._critical_ms = -1  # for how long the value has reached that

    def evaluate(self, value, period_ms):
        """Take in a value, period_ms after the last one; return whether the level changed."""
        falls = self.falls
        bad = value is not None and (value <= self.first if falls else value >= self.first)
        if not bad and (value is None or self.level == _CLEAR):  # as nearly always
            self._bad_ms = self._critical_ms = -1
            return False
        limit = self.critical
        critical = limit is not None and (value <= limit if falls else value >= limit)
        self._bad_ms = _add_ms(self._bad_ms, bad, period_ms)
        self._critical_ms = _add_ms(self._critical_ms, critical, period_ms)
        level = self.level
        if critical and self._critical_ms >= self.hold_ms:
            level = _AT_CRITICAL
        elif not bad:
            if not self.beyond_clear(value):
                level = _CLEAR
            elif self.warn is not None:
                level = min(level, _WARN)
        elif level == _CLEAR and self.warn is not None and self._bad_ms >= self.hold_ms:
            level = _WARN
        self.critical_ms = _add_ms(self.critical_ms, level == _AT_CRITICAL, period_ms)
        if level == self.level:
            return False
        self.level = level
        self.value = value
        return True

    def beyond_clear(self, value):
        """Tell whether a value is on the bad side of the clear level."""
        return value < self.clear if self.falls else value > self.clear


def _add_ms(ms, holds, period_ms):
    """Return for how long something holds now: 0 when it begins, -1 when it does not."""
    if not holds:
        return -1
    return 0 if ms < 0 else min(ms + period_ms, _MAX_LIMIT)


class Thresholds(Table):
    """The table: one threshold for a metric at most."""

    def __init__(self, metrics, events, can_reset):
        super().__init__(
            events.clock,
            _THRESHOLD,
            ("metric", "warn", "critical", "clear", "hold_ms", "action", "level", "value"),
            _MAX_THRESHOLDS,
        )
        self.metrics = metrics
        self._events = events
        self._can_reset = can_reset
        self.lock = new_lock()
        self.moved = True  # a level has changed; who has seen that clears it

    def set(self, metric, warn=None, critical=None, clear=None, hold_ms=0, action=0):
        """Watch a metric (its name or place), instead of how it was; without levels, no more.

        Raises ValueError or TypeError for what makes no sense, and when eight are watched.
        """
        if isinstance(metric, str) and metric in METRICS:
            metric = METRICS.index(metric)
        if not isinstance(metric, int) or not 0 <= metric < len(METRICS):
            raise ValueError("no such metric")
        threshold = None
        if warn is not None or critical is not None:
            threshold = Threshold(metric, warn, critical, clear, hold_ms, action)
            if action == _RESET and not self._can_reset:
                raise ValueError("this port cannot reset the board")
        with self.lock:
            at = None
            for row in range(_MAX_THRESHOLDS):
                other = self.rows[row]
                if other is not None and other.metric == metric:
                    at = row
                    break
                if other is None and at is None and threshold is not None:
                    at = row
            if at is not None:
                self._put(at, threshold)
            elif threshold is not None:
                raise ValueError("no more than eight thresholds")

    def replace(self, others):
        """Watch what these thresholds watch, instead."""
        with self.lock:
            for row in range(_MAX_THRESHOLDS):
                self._put(row, others.rows[row])

    def _put(self, row, threshold):
        self.rows[row] = threshold
        self.moved = True
        if threshold is None:
            self.mark_free()
        else:
            self.mark_dirty(row)

    def all(self):
        """Return those that are watched."""
        return [threshold for threshold in self.rows if threshold is not None]

    def evaluate(self, period_ms):
        """Evaluate all, period_ms after the last time; allocates nothing."""
        for row in range(_MAX_THRESHOLDS):
            threshold = self.rows[row]
            if threshold is not None:
                value = self.metrics.read(threshold.metric)
                if threshold.evaluate(value, period_ms):
                    self.moved = True
                    self.mark_dirty(row)
                    level = _LEVEL_NAMES[threshold.level]
                    self._events.post("threshold", threshold.metric, level, value)
