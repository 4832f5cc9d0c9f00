"""Figures over time: samples, the board's own history, and what it has of times without samples.

Times are the board's uptime in seconds. Metrics are those of `warden_schema.ids.METRICS`, and
fragmentation, of which the board stores no history; all in the host's units: bytes, fractions of
one, seconds.
"""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from warden_schema import ids, trend

from .errors import RequestError
from .models import Model, Trend

BOARD_METRICS = ("memory", "cpu", "loop_lag", "storage")  # in the order of ids.METRICS
METRICS = (*BOARD_METRICS, "fragmentation")  # and of samples alone
# Permille and milliseconds become fractions and seconds, bytes stay.
_UNITS = (1, 1000, 1000, 1, 1000)
_SAMPLES = 600
_EXACT = 3  # columns: uptime, memory, storage
_SMALL = 3  # cpu, loop_lag, fragmentation: permille and milliseconds, which single precision holds
_MAX_FIGURE = 2**53  # as of any integer that a board sends
_NONE = float("nan")  # stands for no figure
_TREND_SLOTS = 60  # a period is divided into so many for a trend, as the board's tiers are
_SAME_SLOT = 1e-6  # of a slot: what division may make of evenly spaced times

Figures = tuple[float | None, ...]
_LATE = 3  # intervals without a sample, and
_LATE_S = 1.0  # so much more, are a gap


@dataclass(frozen=True)
class Sample(Model):
    """The figures of one SAMPLE; the fields after the first are METRICS."""

    uptime_s: float = 0.0
    memory: float | None = None
    cpu: float | None = None
    loop_lag: float | None = None
    storage: float | None = None
    fragmentation: float | None = None


@dataclass(frozen=True)
class Column(Model):
    """One statistic of one metric in one tier, oldest first; `newest_s` ends its newest slot."""

    newest_s: float = 0.0
    step_s: float = 0.0
    values: Figures = ()

    def points(self) -> list[tuple[float, float]]:
        """Return (time of the slot's middle, figure) of each slot that has one."""
        oldest = self.newest_s - (len(self.values) - 0.5) * self.step_s
        return [(oldest + i * self.step_s, v) for i, v in enumerate(self.values) if v is not None]

    def at(self, uptime_s: float) -> float | None:
        """Return the figure of the slot that a time is in; None if there is none."""
        back = (self.newest_s - uptime_s) // self.step_s if self.step_s > 0 else -1.0
        return self.values[-1 - int(back)] if 0 <= back < len(self.values) else None


def _figure(value: float, unit: int) -> float | None:
    """Return a stored figure in its unit; of bytes as an integer again."""
    if value != value:  # no figure
        return None
    return int(value) if unit == 1 else value / unit


def column(value: object, metric: int) -> Column:
    """Return the Column in a reply to HISTORY_READ; raise RequestError if it is malformed."""
    try:
        newest_s, step_s, scale, data = cast(list[Any], value)
        newest_s = newest_s or 0  # None before the first slot
        if {type(newest_s), type(step_s), type(scale)} != {int} or step_s <= 0:
            raise TypeError
        if not -_MAX_FIGURE <= ids.NO_VALUE * scale <= _MAX_FIGURE:
            raise ValueError  # a recording would not be read any more
        steps = struct.unpack(f"<{len(data) // 2}H", data)
        factor = scale / _UNITS[metric]
        values = tuple(None if step == ids.NO_VALUE else step * factor for step in steps)
        return Column(float(newest_s), float(step_s), values)
    except (TypeError, ValueError, struct.error):
        raise RequestError(
            "The board's history is not understood; install the agent in this version."
        ) from None


class History:
    """Holds the last samples, and the board's tiers as they were last read.

    Written by one thread and read by any.
    """

    def __init__(self) -> None:
        # A tenth of what tuples take, and at once, for what grows leaves holes: there may be
        # thousands of boards.
        self._exact = array("d", [0.0]) * (_SAMPLES * _EXACT)
        self._small = array("f", [0.0]) * (_SAMPLES * _SMALL)
        self._count = 0  # samples that were added since the boot; the next row follows from it
        self._tiers: dict[tuple[int, int, int], Column] = {}
        self._lock = threading.Lock()

    def add(self, uptime_s: float, figures: Figures) -> None:
        """Add a sample's figures; drop the oldest.

        In the order of METRICS: those of the board's in its units, fragmentation as a fraction.
        """
        memory, cpu, lag, storage, fragmentation = (
            _NONE if each is None else each for each in figures
        )
        exact = array("d", (uptime_s, memory, storage))
        small = array("f", (cpu, lag, fragmentation * _UNITS[-1]))
        with self._lock:
            row = self._count % _SAMPLES
            self._exact[row * _EXACT : (row + 1) * _EXACT] = exact
            self._small[row * _SMALL : (row + 1) * _SMALL] = small
            self._count += 1

    def put(self, tier: int, metric: int, statistic: int, read: Column) -> None:
        """Store a column that was read from the board."""
        with self._lock:
            self._tiers[tier, metric, statistic] = read

    def clear(self) -> None:
        """Clear everything: the board restarted, and its uptime with it."""
        with self._lock:
            self._count = 0
            self._tiers.clear()

    @property
    def samples(self) -> list[Sample]:
        """The samples that came since the connection began, at most 600, oldest first."""
        with self._lock:
            exact, small, count = self._exact[:], self._small[:], self._count
        found = []
        for number in range(max(0, count - _SAMPLES), count):
            row = number % _SAMPLES
            uptime_s, memory, storage = exact[row * _EXACT : (row + 1) * _EXACT]
            cpu, lag, fragmentation = small[row * _SMALL : (row + 1) * _SMALL]
            figures = (memory, cpu, lag, storage, fragmentation)
            found.append(Sample(uptime_s, *map(_figure, figures, _UNITS)))
        return found

    def column(self, tier: int, metric: str, statistic: str) -> Column:
        """Return what fetch_history() read: tier 0 is seconds, 1 minutes, 2 hours.

        `metric` is one of METRICS, `statistic` "min", "mean" or "max"; empty if it was not read.
        """
        key = (tier, METRICS.index(metric), ids.STATISTICS.index(statistic))
        with self._lock:
            return self._tiers.get(key, Column())

    def mean(self, metric: str, uptime_s: float) -> float | None:
        """Return a metric's mean at a time, from the finest tier read that has it; else None."""
        tiers = (self.column(tier, metric, "mean") for tier in range(len(ids.TIERS)))
        found = (tier.at(uptime_s) for tier in tiers)
        return next((figure for figure in found if figure is not None), None)

    def points(self, metric: str) -> list[tuple[float, float]]:
        """Return (uptime, figure), oldest first: samples, and tiers for the time before them."""
        found = [
            (sample.uptime_s, figure)
            for sample in self.samples
            if (figure := getattr(sample, metric)) is not None
        ]
        for tier in range(len(ids.TIERS)):
            older = self.column(tier, metric, "mean").points()
            begin = found[0][0] if found else float("inf")
            found = [point for point in older if point[0] < begin] + found
        return found

    def trend(self, metric: str, period: float, limit: float | None = None) -> Trend:
        """Fit a line through a metric's last `period` seconds; `limit` is where it must end."""
        points = self.points(metric)
        recent = self.samples
        now = recent[-1].uptime_s if recent else points[-1][0] if points else 0.0
        step = period / _TREND_SLOTS
        slots = _slots(points, now, step)
        count, slope, error = trend.fit(slots, step)
        return Trend(
            slope,
            error,
            count,
            trend.is_clear(slope, error),
            trend.seconds_to(limit, points[-1][1] if points else None, slots, step),
        )


def _slots(points: list[tuple[float, float]], end: float, step: float) -> list[float | None]:
    """Return the mean of the points in each slot, the last one up to `end`; None where none is."""
    slots: list[list[float]] = [[] for _ in range(_TREND_SLOTS)]
    for at, figure in points:
        back = int((end - at) / step + _SAME_SLOT)
        if 0 <= back < _TREND_SLOTS:
            slots[-1 - back].append(figure)
    return [sum(slot) / len(slot) if slot else None for slot in slots]


@dataclass(frozen=True)
class Statistics(Model):
    """What a metric was in a time; None: the board does not know it. Of a second only the mean."""

    min: float | None = None
    mean: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class HistorySlot(Model):
    """What the board stored of `step_s` seconds: a second, a minute or an hour.

    `memory` are live bytes, `cpu` is a fraction of a core, `loop_lag` in seconds, `storage` the
    used bytes of the first mount.
    """

    begin_s: float = 0.0
    step_s: float = 0.0
    memory: Statistics = field(default_factory=Statistics)
    cpu: Statistics = field(default_factory=Statistics)
    loop_lag: Statistics = field(default_factory=Statistics)
    storage: Statistics = field(default_factory=Statistics)


@dataclass(frozen=True)
class Gap(Model):
    """A time of one boot in which no sample came: from the last one's uptime to the next one's.

    `slots` are what the board's history has of it, oldest first: seconds of the last minute,
    minutes of the last hour, hours of the last day. `why` says why it could not be read, else None.
    """

    boot_id: int | None = None
    begin_s: float = 0.0
    end_s: float = 0.0
    slots: tuple[HistorySlot, ...] = ()
    why: str | None = None


def is_gap(seconds: float, interval_s: float) -> bool:
    """Return whether samples are missing between two that are so far apart."""
    return seconds > _LATE * interval_s + _LATE_S


def oldest_s(columns: Mapping[tuple[int, int], Column]) -> float:
    """Return when the oldest slot began that each column of a tier has."""
    return max(each.newest_s - len(each.values) * each.step_s for each in columns.values())


def slots(
    tier: int, columns: Mapping[tuple[int, int], Column], begin_s: float, end_s: float
) -> list[HistorySlot]:
    """Return the slots of a tier with a figure of that time, oldest first.

    columns: by metric and statistic. A second counts if all of it is in the time, a minute or an
    hour if a part is.
    """
    step_s = float(ids.TIERS[tier][0])
    found: dict[float, dict[tuple[int, int], float]] = {}
    for key, column in columns.items():
        begins = column.newest_s - len(column.values) * step_s
        for place, value in enumerate(column.values if column.step_s == step_s else ()):
            at = begins + place * step_s
            end = at + step_s
            is_inside, overlaps = begin_s <= at and end <= end_s, begin_s < end and at < end_s
            if value is not None and (is_inside if tier == 0 else overlaps):
                found.setdefault(at, {})[key] = value
    return [_slot(at, step_s, figures) for at, figures in sorted(found.items())]


def _slot(begin_s: float, step_s: float, figures: Mapping[tuple[int, int], float]) -> HistorySlot:
    every = [
        Statistics(*(figures.get((metric, place)) for place in range(len(ids.STATISTICS))))
        for metric in range(len(BOARD_METRICS))
    ]
    return HistorySlot(begin_s, step_s, *every)
