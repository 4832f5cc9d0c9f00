"""The lines of a picture: what a recording has of a metric, broken where nothing was known."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from boardwarden.recording.reading import Recording, Sample, Span, Window

from .metrics import METRICS, Metric

Point = tuple[float, float]  # seconds since the epoch, figure in the recording's unit
MOST_POINTS = 4000  # of a line; a picture has fewer columns
_LATE = 3  # intervals without a sample, and
_LATE_S = 1.0  # so much more, are a gap


class Line(NamedTuple):
    """A line in pieces, between which is a gap; of one column of one board."""

    board: str
    name: str
    pieces: list[list[Point]]


class Gap(NamedTuple):
    """A time in which nothing was heard of a board: its link was lost, or nobody recorded."""

    begin: float
    end: float


class Seen(NamedTuple):
    """What is drawn of one board's boot: its samples in pieces, and the gaps between those."""

    span: Span
    pieces: list[list[Sample]]
    gaps: list[Gap]


def seen(recording: Recording, span: Span, columns: list[str], window: Window) -> Seen:
    """Read the samples of a span in a window of time; a column named twice is read once."""
    samples = list(recording.samples(span, ["interval_s", *columns], window))
    breaks = [link.at for link in recording.links(span) if link.state != "up"]
    pieces: list[list[Sample]] = []
    gaps = []
    for sample in samples:
        if not pieces or _is_gap(pieces[-1][-1], sample, breaks):
            if pieces:
                gaps.append(Gap(pieces[-1][-1].at, sample.at))
            pieces.append([])
        pieces[-1].append(sample)
    return Seen(span, pieces, gaps)


def _is_gap(before: Sample, after: Sample, breaks: list[float]) -> bool:
    interval = max(before.figures[0] or 0.0, after.figures[0] or 0.0)
    if after.at - before.at > _LATE * interval + _LATE_S:
        return True
    place = bisect_left(breaks, before.at)
    return place < len(breaks) and breaks[place] <= after.at


def lines(metric: Metric, found: Seen, columns: list[str]) -> list[Line]:
    """Return the lines of a metric; those without any figure are left out."""
    made = []
    for name, column in metric.columns.items():
        place = columns.index(column) + 1
        pieces = [
            [
                (sample.at, float(sample.figures[place]))
                for sample in piece
                if sample.figures[place] is not None
            ]
            for piece in found.pieces
        ]
        if any(pieces):
            made.append(Line(found.span.address, name, _thinned(pieces)))
    return made


def storage_lines(recording: Recording, found: Seen) -> list[Line]:
    """Return how full each mount was, as steps from change to change."""
    ends = [(piece[0].at, piece[-1].at) for piece in found.pieces]
    told: dict[str, list[Point]] = {}
    for change in recording.changes(found.span):
        for row in (change.value or ()) if change.what == "storage" else ():
            if row["usage"] is not None:
                told.setdefault(row["mount"] or "", []).append((change.at, row["usage"]))
    return [
        Line(found.span.address, mount, [_steps(points, begin, end) for begin, end in ends])
        for mount, points in told.items()
    ]


def _steps(points: list[Point], begin: float, end: float) -> list[Point]:
    """Return points as a line from begin to end that is level but where it changes."""
    figure = points[0][1]
    made: list[Point] = []
    for at, value in points:
        if at <= begin:
            figure = value
        elif at <= end:
            made += [(at, made[-1][1] if made else figure), (at, value)]
    return [(begin, figure), *made, (end, made[-1][1] if made else figure)]


def _thinned(pieces: list[list[Point]]) -> list[list[Point]]:
    """Return fewer points where there are too many to be seen: least and greatest of each bit."""
    total = sum(map(len, pieces))
    if total <= MOST_POINTS:
        return pieces
    size = -(-2 * total // MOST_POINTS)
    return [
        [point for start in range(0, len(piece), size) for point in _ends(piece, start, size)]
        for piece in pieces
    ]


def _ends(piece: list[Point], start: int, size: int) -> Iterable[Point]:
    bit = piece[start : start + size]
    least, greatest = min(bit, key=lambda point: point[1]), max(bit, key=lambda point: point[1])
    return sorted({least, greatest})


def columns_of(names: Iterable[str]) -> list[str]:
    """Return the columns that these metrics need, each once."""
    found = (column for name in names for column in METRICS[name].columns.values())
    return list(dict.fromkeys(found))
