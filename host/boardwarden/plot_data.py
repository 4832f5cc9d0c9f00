"""Reads from a recording what is to be drawn: lines of metrics, gaps, levels, events."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from boardwarden.errors import RecordingError
from boardwarden.history import Statistics, is_gap
from boardwarden.recording.reading import (
    Happened,
    Recording,
    Remembered,
    Sample,
    Span,
    Window,
)
from boardwarden.recording.schema import HISTORY
from warden_schema import ids

Point = tuple[float, float]  # seconds since the epoch, figure in the recording's unit
_LONGEST_S = max(step_s for step_s, _ in ids.TIERS)  # of the slots of a board's history
MAX_POINTS = 4000  # of a line; a picture has fewer columns


class Metric(NamedTuple):
    """A panel: `columns` of the recording by what each line is called; `unit` as recorded."""

    title: str
    unit: str  # bytes, bytes/s, fraction, s, dBm, or "" for a number of something
    columns: dict[str, str]


METRICS = {
    "memory": Metric(
        "memory", "bytes", {"heap": "total_bytes", "used": "used_bytes", "live": "live_bytes"}
    ),
    "cpu": Metric("CPU", "fraction", {"": "cpu"}),
    "loop_lag": Metric("loop lag", "s", {"worst": "loop_lag_worst_s", "mean": "loop_lag_s"}),
    "loop_lag_worst": Metric("worst loop lag", "s", {"": "loop_lag_worst_s"}),
    "storage": Metric("storage", "fraction", {}),  # of each mount; recorded when it changes
    "used_bytes": Metric("used memory", "bytes", {"": "used_bytes"}),
    "live_bytes": Metric("live memory", "bytes", {"": "live_bytes"}),
    "available_bytes": Metric("free memory", "bytes", {"": "available_bytes"}),
    "largest_free_block_bytes": Metric(
        "largest free block", "bytes", {"": "largest_free_block_bytes"}
    ),
    "fragmentation": Metric("fragmentation", "fraction", {"": "fragmentation"}),
    "low_water_bytes": Metric("least left by live memory", "bytes", {"": "low_water_bytes"}),
    "system_heap": Metric(
        "system heap",
        "bytes",
        {
            "free": "system_heap_free_bytes",
            "largest block": "system_heap_largest_free_block_bytes",
            "least free": "system_heap_low_water_bytes",
        },
    ),
    "tasks": Metric("tasks", "", {"": "tasks"}),
    "threads": Metric("threads", "", {"": "threads"}),
    "connected": Metric("WLAN connected", "", {"": "connected"}),
    "rssi_dbm": Metric("signal", "dBm", {"": "rssi_dbm"}),
    "sent_bytes": Metric("sent", "bytes", {"": "sent_bytes"}),
    "received_bytes": Metric("received", "bytes", {"": "received_bytes"}),
    "overhead": Metric("agent's share", "fraction", {"budget": "budget", "agent": "overhead"}),
    "link_bytes_per_s": Metric("link", "bytes/s", {"": "link_bytes_per_s"}),
    "dropped_frames": Metric("dropped frames", "", {"": "dropped_frames"}),
    "bad_frames": Metric("bad frames", "", {"": "bad_frames"}),
    "faults": Metric("agent's faults", "", {"": "faults"}),
    "interval": Metric("interval", "s", {"": "interval_s"}),
}
USUAL = ("memory", "cpu", "loop_lag", "storage")


class Band(NamedTuple):
    """The least and the greatest figure in a slot of the board's own history."""

    begin: float
    end: float
    least: float
    greatest: float


class Line(NamedTuple):
    """A line in pieces, between which is a gap; of one column of one board.

    Of times without samples its pieces are means of the board's own history, with their bands.
    """

    board: str
    name: str
    pieces: list[list[Point]]
    bands: tuple[Band, ...] = ()


class Gap(NamedTuple):
    """A time in which nothing came from a board: its link was lost, or nobody recorded."""

    begin: float
    end: float


class Restart(NamedTuple):
    """When a boot began, and why the one before it ended; None: nobody knows."""

    at: float
    cause: str | None
    expected: bool | None


class Seen(NamedTuple):
    """What is drawn of one board's boot: its samples in pieces, and the gaps between those.

    `history` is what the board remembered of those, in pieces, too; of the rest of them are `gaps`.
    """

    span: Span
    pieces: list[list[Sample]]
    gaps: list[Gap]
    history: list[list[Remembered]]


def seen(recording: Recording, span: Span, columns: list[str], window: Window) -> Seen:
    """Read the samples of a span in a window of time; a column named twice is read once."""
    samples = list(recording.samples(span, ["interval_s", *columns], window))
    breaks = [link.at for link in recording.links(span) if link.state != "up"]
    slots = sorted(recording.history(span, window), key=_begin)
    pieces: list[list[Sample]] = []
    gaps: list[Gap] = []
    history: list[list[Remembered]] = []
    for sample in samples:
        if not pieces or _is_gap(pieces[-1][-1], sample, breaks):
            if pieces:
                interval = max(sample.figures[0] or 0.0, pieces[-1][-1].figures[0] or 0.0)
                gap = Gap(pieces[-1][-1].at, sample.at)
                found = _remembered(slots, gap, interval)
                gaps += _unknown(gap, found, interval)
                history += found
            pieces.append([])
        pieces[-1].append(sample)
    return Seen(span, pieces, gaps, history)


def _remembered(slots: list[Remembered], gap: Gap, interval_s: float) -> list[list[Remembered]]:
    """Return the slots of a gap, in pieces between which the board measured nothing.

    slots: by when they began.
    """
    pieces: list[list[Remembered]] = []
    first = bisect_left(slots, gap.begin - _LONGEST_S, key=_begin)
    for each in slots[first : bisect_left(slots, gap.end, key=_begin)]:
        if _end(each) > gap.begin:
            if not pieces or is_gap(each.at - _end(pieces[-1][-1]), interval_s):
                pieces.append([])
            pieces[-1].append(each)
    return pieces


def _unknown(gap: Gap, history: list[list[Remembered]], interval_s: float) -> list[Gap]:
    """Return what is left of a gap beside what the board remembered of it."""
    left, begin = [], gap.begin
    for begins, ends in [*((piece[0].at, _end(piece[-1])) for piece in history), (gap.end,) * 2]:
        if not history or is_gap(begins - begin, interval_s):
            left.append(Gap(begin, begins))
        begin = ends
    return left


def _begin(remembered: Remembered) -> float:
    return remembered.at


def _end(remembered: Remembered) -> float:
    return remembered.at + remembered.slot.step_s


def _silence(found: Seen, window: Window) -> Gap | None:
    """Return the time at a boot's end without samples, whatever else came in it; None if short."""
    begin, interval = found.span.began, 0.0
    if found.pieces:
        last = found.pieces[-1][-1]
        begin, interval = last.at, last.figures[0] or 0.0
    begin, end = max(begin, window[0]), min(found.span.ended, window[1])
    return Gap(begin, end) if is_gap(end - begin, interval) else None


def _is_gap(before: Sample, after: Sample, breaks: list[float]) -> bool:
    interval = max(before.figures[0] or 0.0, after.figures[0] or 0.0)
    if is_gap(after.at - before.at, interval):
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
        means, bands = _of_history(found, HISTORY.get(column), 1.0)
        if any(pieces) or means:
            pieces = _in_order(_thinned(pieces) + means)
            made.append(Line(found.span.address, name, pieces, bands))
    return made


def _of_history(
    found: Seen, metric: str | None, factor: float
) -> tuple[list[list[Point]], tuple[Band, ...]]:
    """Return a metric's means of times without samples, in pieces, and the bands around them."""
    means: list[list[Point]] = []
    bands: list[Band] = []
    for piece in found.history if metric is not None else ():
        points = []
        for each in piece:
            figure: Statistics = getattr(each.slot, metric or "")
            if figure.mean is not None:
                points.append((each.at + each.slot.step_s / 2, figure.mean * factor))
            if figure.min is not None and figure.max is not None:
                bands.append(Band(each.at, _end(each), figure.min * factor, figure.max * factor))
        if points:
            means.append(points)
    return means, tuple(bands)


def _in_order(pieces: list[list[Point]]) -> list[list[Point]]:
    return sorted(filter(None, pieces), key=lambda piece: piece[0][0])


def storage_lines(recording: Recording, found: Seen) -> list[Line]:
    """Return how full each mount was, as steps from change to change."""
    ends = [(piece[0].at, piece[-1].at) for piece in found.pieces]
    by_mount: dict[str, list[Point]] = {}
    sizes: dict[str, Any] = {}
    first: str | None = None  # the mount of the board's history
    for change in recording.changes(found.span):
        rows = (change.value or ()) if change.what == "storage" else ()
        first = (rows[0].get("mount") or "") if rows else first
        for row in rows:
            if row.get("usage") is not None:
                by_mount.setdefault(row.get("mount") or "", []).append((change.at, row["usage"]))
                sizes.setdefault(row.get("mount") or "", row.get("total_bytes") or 0)
    made = []
    for mount, points in by_mount.items():
        pieces = [_steps(points, begin, end) for begin, end in ends]
        size = sizes[mount] if mount == first else None
        known = isinstance(size, (int, float)) and size >= 1
        factor = 1 / size if known and size else 1.0
        means, bands = _of_history(found, "storage" if known else None, factor)
        made.append(Line(found.span.address, mount, _in_order(pieces + means), bands))
    return made


def _steps(points: list[Point], begin: float, end: float) -> list[Point]:
    """Return points as steps from begin to end."""
    figure = points[0][1]
    made: list[Point] = []
    for at, value in points:
        if at <= begin:
            figure = value
        elif at <= end:
            made += [(at, made[-1][1] if made else figure), (at, value)]
    return [(begin, figure), *made, (end, made[-1][1] if made else figure)]


def _thinned(pieces: list[list[Point]]) -> list[list[Point]]:
    """Return fewer points if there are too many to see: minimum and maximum of each piece."""
    total = sum(map(len, pieces))
    if total <= MAX_POINTS:
        return pieces
    size = -(-2 * total // MAX_POINTS)
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


class Level(NamedTuple):
    """A threshold's level at the end of what is drawn, in the metric's unit."""

    name: str
    value: float


@dataclass(frozen=True)
class Drawn:
    """What a picture shows; times are seconds since the epoch."""

    window: Window
    boards: list[str]
    panels: dict[str, list[Line]]  # by metric
    levels: dict[str, list[Level]]
    events: list[Happened]
    gaps: list[Gap]
    restarts: list[Restart]
    samples: int = 0
    slots: int = 0  # of the boards' own history
    lost_events: int = 0


def read(
    recording: Recording,
    metrics: Sequence[str] = (),
    addresses: Sequence[str] = (),
    window: Window = (float("-inf"), float("inf")),
) -> Drawn:
    """Read these metrics (none: the usual ones) of these boards (none: all) in a window of time.

    Raises RecordingError where there is nothing to draw.
    """
    names = list(dict.fromkeys(metrics or USUAL))
    columns = columns_of(names)
    spans = recording.spans(addresses)
    all_seen = [seen(recording, span, columns, window) for span in spans]
    found = [each for each in all_seen if each.pieces]
    if not found:
        raise RecordingError(_nothing(recording, spans))
    panels = {name: _panel(recording, name, found, columns) for name in names}
    for name in metrics:
        if not panels[name]:
            raise RecordingError(f"No board in {recording.path} has {name} in that time.")
    boards = list(dict.fromkeys(each.span.address for each in found))
    shown = [name for name in names if panels[name]]
    begin = min(each.pieces[0][0].at for each in found)
    silences = [gap for each in all_seen if (gap := _silence(each, window)) is not None]
    silences = [Gap(max(gap.begin, begin), gap.end) for gap in silences if gap.end > begin]
    end = max(*(each.pieces[-1][-1].at for each in found), *(gap.end for gap in silences), begin)
    events = [item for each in all_seen for item in recording.events(each.span, (begin, end))]
    return Drawn(
        window=(begin, end),
        boards=boards,
        panels={name: panels[name] for name in shown},
        levels=_levels(recording, found[-1], shown) if len(boards) == 1 else {},
        events=sorted(events, key=lambda happened: happened.at),
        gaps=[gap for each in found for gap in each.gaps] + _between(found) + silences,
        restarts=list(_restarts(recording, found)),
        samples=sum(len(piece) for each in found for piece in each.pieces),
        slots=sum(len({*chain(*each.history)}) for each in found),
        lost_events=sum(
            lost.number
            for each in all_seen
            for lost in recording.lost_events(each.span, (begin, end))
        ),
    )


def _panel(recording: Recording, name: str, found: list[Seen], columns: list[str]) -> list[Line]:
    if name == "storage":
        return [line for each in found for line in storage_lines(recording, each)]
    return [line for each in found for line in lines(METRICS[name], each, columns)]


def _restarts(recording: Recording, found: list[Seen]) -> Iterable[Restart]:
    """Yield why each boot but the first of a board began, from the list that it sent."""
    before: dict[str, dict[str, Any] | None] = {}
    for each in found:
        address, at = each.span.address, each.pieces[0][0].at
        lists = (row.value for row in recording.changes(each.span) if row.what == "resets")
        newest: dict[str, Any] | None = next((rows[-1] for rows in lists if rows), None)
        if address in before:
            if newest is None:
                yield Restart(at, each.span.reset_cause, None)
            elif newest == before[address]:  # as in boardwarden.crashes.Restart
                yield Restart(at, None, None)
            else:
                yield Restart(at, newest["cause"], newest["expected"])
        before[address] = newest


def _between(found: list[Seen]) -> list[Gap]:
    """Return the gaps between two boots of a board."""
    ended: dict[str, float] = {}
    gaps = []
    for each in found:
        begin = each.pieces[0][0].at
        if each.span.address in ended and ended[each.span.address] < begin:
            gaps.append(Gap(ended[each.span.address], begin))
        ended[each.span.address] = each.pieces[-1][-1].at
    return gaps


def _levels(recording: Recording, last: Seen, names: list[str]) -> dict[str, list[Level]]:
    """Return the levels that the board watched at last, of what is drawn."""
    thresholds: list[dict[str, Any]] = []
    for change in recording.changes(last.span):
        if change.what == "thresholds":
            thresholds = change.value
    found: dict[str, list[Level]] = {}
    for threshold in thresholds:
        metric = threshold.get("metric")
        factor = _heap_bytes(recording, last.span) if metric == "memory" else 1
        panel = "memory" if metric == "live_bytes" and metric not in names else metric
        if panel in names:
            found.setdefault(panel, []).extend(
                Level(level, threshold[level] * factor)
                for level in ("warn", "critical")
                if threshold.get(level) is not None
            )
    return found


def _heap_bytes(recording: Recording, span: Span) -> int:
    totals = (sample.figures[0] or 0 for sample in recording.samples(span, ["total_bytes"]))
    return next(totals, 0)


def _nothing(recording: Recording, spans: list[Span]) -> str:
    if not any(span.samples for span in spans):
        return f"There are no samples in {recording.path}."
    begin, end = min(span.began for span in spans), max(span.ended for span in spans)
    when = [f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M:%S}" for moment in (begin, end)]
    return f"There are no samples in that time; {recording.path} goes from {when[0]} to {when[1]}."
