"""Draws a picture with matplotlib: a panel for each metric, and one for the events."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from boardwarden.recording.reading import Happened
from boardwarden.render.tables import event_name
from boardwarden.transport.address import short_names

from .plot_data import METRICS, Band, Drawn, Line, Restart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH_IN = 10.0
_PANEL_IN = 1.9
_ROW_IN = 0.22  # of the events
_DPI = 120
_DAY_S = 86_400.0  # matplotlib counts in days since the same epoch
MAX_EVENT_ROWS = 10
_LEVEL_COLORS = {"warn": "#e69f00", "critical": "#d62728", "clear": "#2ca02c"}
_OTHER_COLOR = "#555555"
_WRONG = ("reset", "denied", "exception", "hang")  # kinds of events
_MAX_NAMED = 12  # restarts; more names would cover each other
_STYLES = ("-", "--", ":", "-.")
_FAINT = {"heap": 0.5, "used": 0.45, "worst": 0.5, "budget": 0.5}  # what is not the main line
_BYTES = ("B", "KB", "MB", "GB", "TB")  # steps of 1024


class Scale(NamedTuple):
    """A factor for figures, and the unit that they have then."""

    factor: float
    unit: str


def scale(unit: str, figures: Iterable[float]) -> Scale:
    """Return the scale in which figures of a unit are read best."""
    most = max(map(abs, figures), default=0.0)
    if unit == "fraction":
        return Scale(100.0, "%")
    if unit == "s":
        return Scale(1000.0, "ms") if most < 1 else Scale(1.0, "s")
    if unit.startswith("bytes"):
        step = 0
        while most >= 1000 and step < len(_BYTES) - 1:
            most /= 1024
            step += 1
        return Scale(1024.0**-step, _BYTES[step] + unit.removeprefix("bytes"))
    return Scale(1.0, unit)


def draw(drawn: Drawn, title: str, kind: str) -> bytes:
    """Return a picture as the bytes of a "png" or "svg"."""
    from matplotlib import rc_context

    file = io.BytesIO()
    with rc_context({"svg.fonttype": "none"}):  # text stays text: to be searched, and smaller
        figure(drawn, title).savefig(file, format=kind)
    return file.getvalue()


def figure(drawn: Drawn, title: str) -> Figure:
    """Return the picture as matplotlib has it: a panel a metric, and one of events if any."""
    from matplotlib.figure import Figure

    rows = _event_rows(drawn.events)
    heights = [_PANEL_IN] * len(drawn.panels) + ([_ROW_IN * (len(rows) + 1)] if rows else [])
    made = Figure(figsize=(_WIDTH_IN, sum(heights) + 0.9), dpi=_DPI, layout="constrained")
    panels = made.subplots(
        len(heights), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for panel, name in zip(panels, drawn.panels, strict=False):
        _draw_panel(panel, drawn, name)
    if rows:
        _draw_events(panels[-1], rows)
    for panel in panels:
        _mark(panel, drawn)
    _name_restarts(panels[0], drawn)
    _draw_time(panels[-1], drawn)
    made.suptitle(title, fontsize=11)
    return made


def _draw_panel(panel: Any, drawn: Drawn, name: str) -> None:
    metric, lines = METRICS[name], drawn.panels[name]
    figures = [y for line in lines for piece in line.pieces for _, y in piece]
    figures += [band.greatest for line in lines for band in line.bands]
    factor, unit = scale(metric.unit, figures)
    names = list(dict.fromkeys(line.name for line in lines))
    labels: set[str] = set()
    for line in lines:
        label = _label(line, drawn.boards, names)
        style = _style(line, drawn.boards, names)
        xs, ys = _points(line, factor)
        panel.plot(xs, ys, label=None if label in labels else label or None, **style)
        alone = [piece[0] for piece in line.pieces if piece and piece[0][0] == piece[-1][0]]
        if alone:  # a line from a point to itself is not seen
            dots = {**style, "linestyle": "none", "marker": "."}
            panel.plot(*_points(line._replace(pieces=[alone]), factor), **dots)
        if line.bands:  # drawn at once: one by one, a thousand take a minute
            bands = _band_points(line.bands, factor)
            panel.fill_between(*bands, color=style["color"], alpha=0.2, linewidth=0)
        labels.add(label)
    levels = sorted(drawn.levels.get(name, ()), key=lambda level: level.value)
    for place, level in enumerate(levels):
        color = _LEVEL_COLORS[level.name]
        panel.axhline(level.value * factor, color=color, linewidth=0.8, linestyle=(0, (6, 4)))
        x = panel.get_yaxis_transform()
        panel.text(1.005, level.value * factor, level.name, color=color, fontsize=7,
                   va="bottom" if place else "top", transform=x)  # fmt: skip
    panel.set_ylabel(f"{metric.title} ({unit})" if unit else metric.title, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(True, linewidth=0.4, color="#dddddd")
    if metric.unit != "dBm":
        most = max(*figures, *(level.value for level in levels), 0)
        panel.set_ylim(0, most * factor * 1.08 or 1)
    if not metric.unit:
        panel.yaxis.get_major_locator().set_params(integer=True)
    if labels - {""}:
        above = (0, 1.0)
        panel.legend(fontsize=7, loc="lower left", bbox_to_anchor=above, frameon=False, ncols=6)


def _label(line: Line, boards: list[str], names: list[str]) -> str:
    parts = [short_names(boards)[boards.index(line.board)]] if len(boards) > 1 else []
    return " ".join([*parts, line.name] if len(names) > 1 or not parts else parts)


def _style(line: Line, boards: list[str], names: list[str]) -> dict[str, Any]:
    """Return a colour for each board, or each line where there is one board."""
    one = len(boards) == 1
    number = names.index(line.name) if one else boards.index(line.board)
    faint = _FAINT.get(line.name, 1.0)
    # From the last name on: the main line of a metric is its last.
    color = f"C{len(names) - 1 - number if one else number % 10}"
    style = "-" if one else _STYLES[(len(names) - 1 - names.index(line.name)) % len(_STYLES)]
    return {"color": color, "linestyle": style, "alpha": faint, "linewidth": 1.2, "marker": ""}


def _points(line: Line, factor: float) -> tuple[list[float], list[float]]:
    """Return a line's coordinates; NaN breaks it at a gap."""
    xs: list[float] = []
    ys: list[float] = []
    for piece in line.pieces:
        xs += [at / _DAY_S for at, _ in piece] + [float("nan")]
        ys += [y * factor for _, y in piece] + [float("nan")]
    return xs, ys


def _band_points(
    bands: Sequence[Band], factor: float
) -> tuple[list[float], list[float], list[float]]:
    """Return times, and between what to fill; NaN between two bands."""
    nan = float("nan")
    times = [at / _DAY_S for band in bands for at in (band.begin, band.end, band.end)]
    least = [y for band in bands for y in (*[band.least * factor] * 2, nan)]
    greatest = [y for band in bands for y in (*[band.greatest * factor] * 2, nan)]
    return times, least, greatest


# --- events -------------------------------------------------------------------------------------


def _event_rows(events: list[Happened]) -> dict[str, list[Happened]]:
    """Return the events by what they are; the rarest kinds share a row when there are many."""
    counts = Counter(event_name(happened.event) for happened in events)
    own = {what for what, _ in counts.most_common(MAX_EVENT_ROWS)}
    rows: dict[str, list[Happened]] = {}
    for happened in events:
        what = event_name(happened.event)
        rows.setdefault(what if what in own else "others", []).append(happened)
    return dict(sorted(rows.items(), reverse=True))


def _color(happened: Happened) -> str:
    event = happened.event
    if event.kind == "threshold":
        return _LEVEL_COLORS.get(event.detail or "", _OTHER_COLOR)
    return _LEVEL_COLORS["critical"] if event.kind in _WRONG else _OTHER_COLOR


def _draw_events(panel: Any, rows: dict[str, list[Happened]]) -> None:
    for row, found in enumerate(rows.values()):
        xs = [happened.at / _DAY_S for happened in found]
        panel.scatter(xs, [row] * len(xs), c=[_color(each) for each in found], marker="|", s=60)
    panel.set_yticks(range(len(rows)), [f"{what} ({len(found)})" for what, found in rows.items()])
    panel.set_ylim(-0.7, len(rows) - 0.3)
    panel.tick_params(labelsize=7)
    panel.grid(True, axis="x", linewidth=0.4, color="#dddddd")


def _mark(panel: Any, drawn: Drawn) -> None:
    """Mark what concerns all panels: crossed thresholds, gaps, restarts."""
    if len(drawn.boards) == 1:  # of several, a gap of one is no gap of another
        for gap in drawn.gaps:
            panel.axvspan(gap.begin / _DAY_S, gap.end / _DAY_S, color="#eeeeee", zorder=0)
    for restart in drawn.restarts:
        color = _restart_color(restart)
        panel.axvline(restart.at / _DAY_S, color=color, linewidth=0.9, linestyle=":")
    for happened in drawn.events:
        if happened.event.kind in ("threshold", "reset", "exception", "hang"):
            panel.axvline(happened.at / _DAY_S, color=_color(happened), linewidth=0.6, alpha=0.45)


def _restart_color(restart: Restart) -> str:
    return _LEVEL_COLORS["critical"] if restart.expected is False else "black"


def _name_restarts(panel: Any, drawn: Drawn) -> None:
    """Write the cause of each restart beside its line, where there are not too many."""
    if len(drawn.restarts) > _MAX_NAMED:
        return
    for restart in (each for each in drawn.restarts if each.cause):
        panel.text(restart.at / _DAY_S, 0.97, f" {restart.cause}", fontsize=7,
                   color=_restart_color(restart), rotation=90, va="top",
                   transform=panel.get_xaxis_transform())  # fmt: skip


def _draw_time(panel: Any, drawn: Drawn) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    begin, end = (datetime.fromtimestamp(moment).astimezone() for moment in drawn.window)
    zone = end.tzinfo
    locator = AutoDateLocator(tz=zone, minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    panel.xaxis.set_major_locator(locator)
    ticks = ConciseDateFormatter(locator, tz=zone, show_offset=False)  # type: ignore[no-untyped-call]
    panel.xaxis.set_major_formatter(ticks)
    panel.tick_params(axis="x", labelsize=8)
    notes = ["grey: nothing was heard"] if drawn.gaps and len(drawn.boards) == 1 else []
    if any(line.bands for lines in drawn.panels.values() for line in lines):
        notes.append("with a band: the board's own minutes")
    wrong = any(restart.expected is False for restart in drawn.restarts)
    notes += (
        ["dotted: a restart" + (", red: unexpected" if wrong else "")] if drawn.restarts else []
    )
    day = f"{begin:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S}, UTC{end:%z}"
    panel.set_xlabel("; ".join([day, *notes]), fontsize=8)
    margin = (drawn.window[1] - drawn.window[0]) * 0.01 + 0.01
    panel.set_xlim((drawn.window[0] - margin) / _DAY_S, (drawn.window[1] + margin) / _DAY_S)
