"""Reads what is to be drawn out of a recording, and has it drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from boardwarden.recording.errors import RecordingError
from boardwarden.recording.reading import Happened, Recording, Span, Window

from .metrics import METRICS, USUAL
from .series import Gap, Line, Seen, columns_of, lines, seen, storage_lines


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
    restarts: list[float]
    samples: int = field(default=0)


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
    found = [seen(recording, span, columns, window) for span in spans]
    found = [each for each in found if each.pieces]
    if not found:
        raise RecordingError(_nothing(recording, spans))
    panels = {name: _panel(recording, name, found, columns) for name in names}
    for name in metrics:
        if not panels[name]:
            raise RecordingError(f"No board in {recording.path} tells {name} in that time.")
    boards = list(dict.fromkeys(each.span.address for each in found))
    shown = [name for name in names if panels[name]]
    begin = min(each.pieces[0][0].at for each in found)
    end = max(each.pieces[-1][-1].at for each in found)
    events = [happened for each in found for happened in recording.events(each.span, (begin, end))]
    return Drawn(
        window=(begin, end),
        boards=boards,
        panels={name: panels[name] for name in shown},
        levels=_levels(recording, found[-1], shown) if len(boards) == 1 else {},
        events=sorted(events, key=lambda happened: happened.at),
        gaps=[gap for each in found for gap in each.gaps] + _between(found),
        restarts=[each.pieces[0][0].at for each in _later_boots(found)],
        samples=sum(len(piece) for each in found for piece in each.pieces),
    )


def _panel(recording: Recording, name: str, found: list[Seen], columns: list[str]) -> list[Line]:
    if name == "storage":
        return [line for each in found for line in storage_lines(recording, each)]
    return [line for each in found for line in lines(METRICS[name], each, columns)]


def _later_boots(found: list[Seen]) -> list[Seen]:
    boards: set[str] = set()
    later = []
    for each in found:
        if each.span.address in boards:
            later.append(each)
        boards.add(each.span.address)
    return later


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
        metric = threshold["metric"]
        factor = _heap_bytes(recording, last.span) if metric == "memory" else 1
        panel = "memory" if metric == "live_bytes" and metric not in names else metric
        if panel in names:
            found.setdefault(panel, []).extend(
                Level(level, threshold[level] * factor)
                for level in ("warn", "critical")
                if threshold[level] is not None
            )
    return found


def _heap_bytes(recording: Recording, span: Span) -> int:
    totals = (sample.figures[0] or 0 for sample in recording.samples(span, ["total_bytes"]))
    return next(totals, 0)


def _nothing(recording: Recording, spans: list[Span]) -> str:
    from datetime import datetime

    if not any(span.samples for span in spans):
        return f"There are no samples in {recording.path}."
    begin, end = min(span.began for span in spans), max(span.ended for span in spans)
    when = [f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M:%S}" for moment in (begin, end)]
    return f"There are no samples in that time; {recording.path} goes from {when[0]} to {when[1]}."
