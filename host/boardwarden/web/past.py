"""A board's figures: of the last minutes, in little memory, and of before, from a recording."""

from __future__ import annotations

import logging
from array import array
from pathlib import Path

from boardwarden.errors import RecordingError
from boardwarden.models import Status
from boardwarden.recording.reading import Recording

FIGURES = ("live", "used", "largest", "cpu", "lag", "fragmentation")  # bytes, fractions, seconds
SHARES = ("memory", "cpu")  # of a row's small graphs, in percent
_POINTS = 600
_ROW = len(FIGURES)
_LEAST_S = 0.9  # between two points: samples of one a second come a little early, too
_SHARES = 60  # points of a small graph
_NONE = float("nan")
_NO_SHARE = -1

Point = tuple[float | None, ...]
LONGEST_S = 7 * 86_400.0  # that is read
# There is one point in so many seconds, of the last day and before: more would not be seen.
_DAY_S = 86_400.0
_STEPS_S = (60.0, 600.0)
# The recording's columns, in the order of FIGURES.
_COLUMNS = (
    *("live_bytes", "used_bytes", "largest_free_block_bytes", "cpu", "loop_lag_worst_s"),
    "fragmentation",
)
Series = dict[str, list[tuple[float, float]]]
_log = logging.getLogger(__name__)


def figures(status: Status) -> Point:
    """Return the figures of a status, in the order of FIGURES."""
    memory, cpu = status.memory, status.cpu
    return (
        memory.live_bytes,
        memory.used_bytes,
        memory.largest_free_block_bytes,
        cpu.usage,
        cpu.loop_lag_worst_s,
        memory.fragmentation,
    )


class Past:
    """The last points of a board; times are seconds since the epoch."""

    def __init__(self) -> None:
        self._times = array("d")  # a float of 32 bits has no seconds of a date
        self._points = array("f")
        self._shares = {name: array("b") for name in SHARES}

    def add(self, at: float, status: Status) -> None:
        """Add a sample's figures, at most one a second; drop the oldest.

        Points later than the sample are of before the clock was set back, and are dropped, too.
        """
        while self._times and self._times[-1] > at:
            del self._times[-1:], self._points[-_ROW:]
        if self._times and at - self._times[-1] < _LEAST_S:
            return
        self._times.append(at)
        self._points.extend(_NONE if each is None else each for each in figures(status))
        if len(self._times) > _POINTS + 60:
            del self._times[:60], self._points[: 60 * _ROW]

    def add_shares(self, memory: int | None, cpu: int | None) -> None:
        """Add a point to the small graphs; None is a gap."""
        for name, share in zip(SHARES, (memory, cpu), strict=True):
            points = self._shares[name]
            points.append(_NO_SHARE if share is None else max(0, min(100, share)))
            if len(points) > _SHARES:
                del points[: len(points) - _SHARES]

    def shares(self, name: str) -> list[int | None]:
        """Return the points of a small graph, oldest first."""
        return [None if each == _NO_SHARE else each for each in self._shares[name]]

    def series(self, name: str) -> list[tuple[float, float]]:
        """Return (seconds since the epoch, figure) of one of FIGURES, oldest first."""
        values = self._points[FIGURES.index(name) :: _ROW]
        return [
            (at, value) for at, value in zip(self._times, values, strict=True) if value == value
        ]


def read_recorded(path: Path, address: str, now: float) -> Series:
    """Return (seconds since the epoch, figure) of each graph, oldest first; blocks.

    A point is the highest figure of a minute, of ten before the last day. Empty where the recording
    has no such board, or cannot be read now, which is logged.
    """
    found: Series = {name: [] for name in FIGURES}
    window = (now - LONGEST_S, now)
    try:
        with Recording(path) as recording:
            spans = [each for each in recording.spans() if each.address == address]
            for span in sorted(spans, key=lambda each: each.began):
                if span.ended < window[0]:
                    continue
                for sample in recording.samples(span, _COLUMNS, window):
                    step = _STEPS_S[now - sample.at > _DAY_S]
                    for name, value in zip(FIGURES, sample.figures, strict=True):
                        if value is not None:
                            _add(found[name], sample.at, float(value), step)
    except RecordingError as error:
        _log.warning("%s", error)
    return found


def _add(points: list[tuple[float, float]], at: float, value: float, step: float) -> None:
    """Add a point, or raise the one of the same step."""
    if points and at - points[-1][0] < step:
        points[-1] = points[-1][0], max(points[-1][1], value)
    else:
        points.append((at, value))
