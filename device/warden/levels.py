"""Levels that a figure should not cross, each with hysteresis and a time that it must hold.

A figure rises to a level when it has been there, without a break, for the hold time. It falls from
critical below warn, and from warn below clear, at once. Where little is bad, all is the other way
round. A figure that the board cannot tell changes nothing.
"""

from array import array

from micropython import const

from warden.figures import FALLING, METRICS, PLACES
from warden_schema.loops import crossed as _crossed

_MAX_THRESHOLDS = const(8)
_FREE = const(-1)  # in a row of words, see `plain.crossed`: instead of a place,
_CALM = const(3)  # and where it says that it must be looked at
_WORDS = const(4)
_MAX_LEVEL = const(0x3FFFFFFF)
_MAX_HOLD_MS = const(600_000)

CLEAR = const(0)
WARN = const(1)
CRITICAL = const(2)

_LEVELS = const(("clear", "warn", "critical"))

TELL = const(0)  # events only
PROTECT = const(1)  # what `ladder` does
RESET = const(2)  # that, and the board is reset when it does not help


def _nobody(row):
    """Stand for who wants to know of changes."""


class Threshold:
    """One metric's levels; `level` and `value` are those of the last change."""

    def __init__(self, metric, warn, critical, clear, hold_ms, action):
        self.metric = metric
        self.warn = warn
        self.critical = critical
        self.clear = clear
        self.hold_ms = hold_ms
        self.action = action
        self.level = CLEAR
        self.value = None
        self.critical_ms = -1  # for how long it has been critical, -1: it is not
        self.sign = -1 if _falls(metric, warn, critical, clear) else 1
        self._warn_ms = -1  # for how long it has been at warn or above, -1: it is not
        self._held_ms = -1  # at critical
        self.edge = critical if warn is None else warn  # on its good side, nothing begins
        self.calm = True  # and nothing has begun

    @property
    def name(self):
        """The metric's name."""
        return METRICS[self.metric]

    def look(self, value, passed_ms):
        """Take a figure, passed_ms after the last one; return whether the level changed."""
        if value is None:
            self._warn_ms = self._held_ms = -1
            return False
        at_warn = self._reaches(value, self.warn)
        at_critical = self._reaches(value, self.critical)
        self._warn_ms = self._longer(self._warn_ms, at_warn or at_critical, passed_ms)
        self._held_ms = self._longer(self._held_ms, at_critical, passed_ms)
        level = self._fallen(value, at_warn, at_critical)
        if self._held_ms >= self.hold_ms:
            level = CRITICAL
        elif level == CLEAR and self._warn_ms >= self.hold_ms and self.warn is not None:
            level = WARN
        self.critical_ms = self._longer(self.critical_ms, level == CRITICAL, passed_ms)
        self.calm = level == CLEAR and self._warn_ms < 0
        if level == self.level:
            return False
        self.level = level
        self.value = value
        return True

    def _fallen(self, value, at_warn, at_critical):
        """Return the level, as far as it has fallen."""
        level = self.level
        if level == CRITICAL and not at_critical and self.warn is not None and not at_warn:
            level = WARN
        if level and not at_warn and not at_critical and not self.beyond_clear(value):
            level = CLEAR
        return level

    def beyond_clear(self, value):
        """Tell whether a figure is on the bad side of the clear level."""
        return (value - self.clear) * self.sign > 0

    def _reaches(self, value, level):
        return level is not None and (value - level) * self.sign >= 0

    def _longer(self, ms, holds, passed_ms):
        """Return for how long it holds now: 0 when it begins, -1 when it does not."""
        if not holds:
            return -1
        return 0 if ms < 0 else min(ms + passed_ms, _MAX_LEVEL)


class Thresholds:
    """The table: one threshold for a metric at most. figures: what they are of, or None."""

    def __init__(self, figures, post, can_reset):
        self.figures = figures
        self._post = post  # of events
        self.can_reset = can_reset
        self.table = [None] * _MAX_THRESHOLDS
        self.words = array("i", [_FREE] * (_MAX_THRESHOLDS * _WORDS))
        self.values = None if figures is None else figures.values
        self.changed = self.freed = _nobody  # see `Timed`
        self.moved = True  # one of them has another level, or is new; who looks at it clears it

    def set(self, metric, warn=None, critical=None, clear=None, hold_ms=0, action=TELL):
        """Watch a metric (its name or place), instead of how it was; without levels, no more.

        Raises ValueError or TypeError for what makes no sense, and when eight are watched.
        """
        metric = _metric(metric)
        row = self._row_of(metric)
        if warn is None and critical is None:
            if row is not None:
                self._put(row, None)
                self.freed(0)
            return
        clear = _check(metric, warn, critical, clear, hold_ms, action)
        if action == RESET and not self.can_reset:
            raise ValueError("this port cannot reset the board")
        if row is None:
            if None not in self.table:
                raise ValueError("no more than eight thresholds")
            row = self.table.index(None)
        self._put(row, Threshold(metric, warn, critical, clear, hold_ms, action))
        self.changed(row)

    def replace(self, others):
        """Watch what these watch, instead."""
        for row in range(_MAX_THRESHOLDS):
            self._put(row, others.table[row])
            if self.table[row] is not None:
                self.changed(row)
        self.freed(0)

    def _put(self, row, threshold):
        at = row * _WORDS
        words = self.words
        words[at] = _FREE  # until all is there: another thread may look
        self.table[row] = threshold
        self.moved = True
        if threshold is not None:
            words[at + 1] = threshold.edge
            words[at + 2] = 1 if threshold.sign < 0 else 0
            words[at + _CALM] = 0 if threshold.calm else 1
            words[at] = PLACES[threshold.metric]
        if self.figures is not None:
            self.figures.watch([each.metric for each in self.all()])

    def all(self):
        """Return those that are watched."""
        return [threshold for threshold in self.table if threshold]

    def look(self, passed_ms):
        """Look at all figures, passed_ms after the last time; allocates nothing."""
        row = -1
        while True:
            row = _crossed(self.values, self.words, row + 1, _MAX_THRESHOLDS)
            if row < 0:
                return  # as nearly always at once
            threshold = self.table[row]
            if threshold is not None:
                self._look_at(row, threshold, passed_ms)

    def _look_at(self, row, threshold, passed_ms):
        value = self.figures.read(threshold.metric)
        if threshold.look(value, passed_ms):
            self.moved = True
            self.changed(row)
            self._post("threshold", threshold.metric, _LEVELS[threshold.level], value)
        self.words[row * _WORDS + _CALM] = 0 if threshold.calm else 1

    def would_clear(self, threshold):
        """Tell whether a threshold's figure is now where it clears; not if it is not known."""
        value = self.figures.read(threshold.metric)
        return value is not None and not threshold.beyond_clear(value)

    def _row_of(self, metric):
        for row in range(_MAX_THRESHOLDS):
            if self.table[row] is not None and self.table[row].metric == metric:
                return row
        return None


def _metric(metric):
    """Return a metric's place."""
    if isinstance(metric, str) and metric in METRICS:
        return METRICS.index(metric)
    if isinstance(metric, int) and 0 <= metric < len(METRICS):
        return metric
    raise ValueError("no such metric")


def _falls(metric, warn, critical, clear):
    """Tell whether little is bad: as the levels say, or else as it is with this metric."""
    if warn is not None and critical is not None and warn != critical:
        return critical < warn
    first = critical if warn is None else warn
    if clear is not None and clear != first:
        return clear > first
    return metric in FALLING


def _check(metric, warn, critical, clear, hold_ms, action):
    """Return the clear level; raise TypeError or ValueError for what makes no sense."""
    for value in (warn, critical, clear):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise TypeError("levels are integers, or None")
        if value is not None and not -_MAX_LEVEL <= value <= _MAX_LEVEL:
            raise ValueError("levels are below 2**30")
    first = critical if warn is None else warn
    if clear is None:
        clear = first
    sign = -1 if _falls(metric, warn, critical, clear) else 1
    if (first - clear) * sign < 0 or (critical is not None and (critical - first) * sign < 0):
        raise ValueError("the levels must be in order: clear, warn, critical")
    if not isinstance(hold_ms, int) or not 0 <= hold_ms <= _MAX_HOLD_MS:
        raise ValueError("hold_ms must be 0 to 600000")
    if not isinstance(action, int) or not TELL <= action <= RESET:
        raise ValueError("no such action")
    return clear
