"""Times in which no sample came from a board, and what the board's own history has of them.

Times are the board's uptime in seconds. Figures are in the host's units: bytes, fractions of one,
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from warden_schema import ids

from .history import BOARD_METRICS, Column
from .models import Model

_LATE = 3  # intervals without a sample, and
_LATE_S = 1.0  # so much more, are a gap


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
            whole, part = begin_s <= at and end <= end_s, begin_s < end and at < end_s
            if value is not None and (whole if tier == 0 else part):
                found.setdefault(at, {})[key] = value
    return [_slot(at, step_s, figures) for at, figures in sorted(found.items())]


def _slot(begin_s: float, step_s: float, figures: Mapping[tuple[int, int], float]) -> HistorySlot:
    every = [
        Statistics(*(figures.get((metric, place)) for place in range(len(ids.STATISTICS))))
        for metric in range(len(BOARD_METRICS))
    ]
    return HistorySlot(begin_s, step_s, *every)
