"""The board's figures over time, drawn in block characters, which nearly every font has.

Memory is a plot, load and links are lines with bars. Figures end at the right edge, newest last,
one to a column; None is a gap.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from rich.text import Text
from textual.widget import Widget

from boardwarden.board import Board
from boardwarden.models import Storage
from boardwarden.render.status import reason
from boardwarden.render.text import NOTHING, count, duration, percent, printable, size

from .feed import Feed, link_text

Values = Sequence[float | None]
Styled = tuple[str, str]  # a character, and Rich's style of it

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_SHADE = "░"
_NO_LEVEL = -1
_DARK = "#4d3a10"  # behind what is shaded
_LIVE, _USED = "#3fb950", "#d29922"
_LARGEST = "#58a6ff"
_CPU, _LAG = "#a371f7", "#ff7b72"
_LEAST_LAG_S = 0.02  # the top of the bars, where all are shorter
_LABEL = 9
_FIGURE = 8
_AXIS = 9  # the width of its labels: "warn 75 %"
_LEVELS = (("warn", "┄", "#d29922"), ("crit", "─", "#f85149"))


class Plot:
    """`width` by `height` characters for figures from 0 to `top`, which is at the upper edge."""

    def __init__(self, width: int, height: int, top: float) -> None:
        self._width = width
        self._height = height
        self._top = top

    def area(self, figures: Values, style: str) -> Iterator[list[Styled]]:
        """Yield the rows, from the top, of an area under the figures."""
        levels = self._levels(figures)
        for floor in self._floors():
            yield [(_eighth(level - floor), style) for level in levels]

    def memory(self, live: Values, used: Values) -> Iterator[list[Styled]]:
        """Yield the rows: live memory is solid, other used memory is shaded."""
        columns = list(zip(self._levels(live), self._levels(used), strict=True))
        for floor in self._floors():
            yield [_memory_cell(low - floor, high - floor) for low, high in columns]

    def row_of(self, figure: float) -> int:
        """Return the number of the row, from the top, that a figure is in."""
        share = figure / self._top if self._top > 0 else 0.0
        from_below = int(max(0.0, min(1.0, share)) * self._height)
        return max(0, self._height - 1 - from_below)

    def _floors(self) -> Iterator[int]:
        """Return how many eighths of a character are below each row, the top row first."""
        return iter(range((self._height - 1) * 8, -1, -8))

    def _levels(self, figures: Values) -> list[int]:
        """Return each column's height in eighths of a character; below the plot where none is."""
        newest = figures[-self._width :] if self._width > 0 else ()
        none = [_NO_LEVEL] * (max(0, self._width) - len(newest))
        return none + [self._level(figure) for figure in newest]

    def _level(self, figure: float | None) -> int:
        if figure is None:
            return _NO_LEVEL
        share = figure / self._top if self._top > 0 else 0.0
        return max(1, round(min(1.0, share) * self._height * 8))


def _memory_cell(live: int, used: int) -> Styled:
    if live >= 8:
        return _eighth(live), _LIVE
    if live > 0:
        return _eighth(live), f"{_LIVE} on {_DARK}" if used >= 8 else _LIVE
    if used >= 8:
        return _SHADE, f"{_USED} on {_DARK}"
    return _eighth(used), _USED


def _eighth(level: int) -> str:
    return _EIGHTHS[max(0, min(8, level))]


class Figures(Widget):
    """A widget that draws a board's figures."""

    feed: Feed | None = None
    _shown: object = None
    _drawn: object = None

    def show(self, feed: Feed) -> None:
        """Draw the board's present state, if that is new."""
        board = feed.board
        shown = (feed, board and (board.status, board.thresholds, link_text(feed)))
        if shown != self._shown or self.size != self._drawn:
            self._shown, self._drawn = shown, self.size
            self.feed = feed
            self.refresh()

    def render(self) -> Text:
        """Return the picture."""
        board = None if self.feed is None else self.feed.board
        if self.feed is None or board is None:
            return Text("no figures yet")
        width, height = self.content_size
        lines = list(self.lines(self.feed, board, width, height))
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return Text("\n").join(lines)

    def lines(self, feed: Feed, board: Board, width: int, height: int) -> Iterator[Text]:
        """Yield the picture's lines."""
        raise NotImplementedError


class MemoryPlot(Figures):
    """Live and used bytes as areas up to the total, the largest free block as bars."""

    def show(self, feed: Feed) -> None:
        """See Figures; the frame says how much memory there is, and how far back it goes."""
        super().show(feed)
        total = None if feed.board is None else feed.board.status.memory.total_bytes
        span_s = feed.track.span_s(self.content_size.width)
        self.border_title = f"memory, {size(total)}"
        self.border_subtitle = f"the last {duration(span_s)}" if span_s else ""

    def lines(self, feed: Feed, board: Board, width: int, height: int) -> Iterator[Text]:
        memory, track = board.status.memory, feed.track
        below = list(_largest(feed, board, width))
        room, rows = max(1, width - _AXIS - 1), max(1, height - 1 - len(below))
        plot = Plot(room, rows, float(memory.total_bytes or 0))
        live, used = track.last("live", room), track.last("used", room)
        marks = _marks(board, plot)
        for number, row in enumerate(plot.memory(live, used)):
            mark = marks.get(number)
            if mark is None:
                yield _axis(_total_or_zero(number, rows, memory.total_bytes)).append_text(
                    _joined(row)
                )
            else:
                label, char, style = mark
                yield _axis(label, style).append_text(_joined(_crossed(row, char, style)))
        text = f" used {size(memory.used_bytes)} ({percent(memory.usage)})"
        live_text = f" live {size(memory.live_bytes)}  "
        yield Text.assemble(("█", _LIVE), live_text, ("░", _USED), text)
        yield from below


def _marks(board: Board, plot: Plot) -> dict[int, tuple[str, str, str]]:
    """Return label, character and style of each row that a threshold of memory is in."""
    marks: dict[int, tuple[str, str, str]] = {}
    total = board.status.memory.total_bytes
    for threshold in board.thresholds:
        if threshold.metric == "memory" and total:
            for (name, char, style), level in zip(
                _LEVELS, (threshold.warn, threshold.critical), strict=True
            ):
                if level is not None:
                    marks[plot.row_of(level * total)] = (f"{name} {percent(level)}", char, style)
    return marks


def _total_or_zero(row: int, rows: int, total: int | None) -> str:
    if row == 0:
        return size(total)
    return "0" if row == rows - 1 else ""


def _axis(label: str, style: str = "") -> Text:
    return Text.assemble((label[:_AXIS].rjust(_AXIS), style), "┤" if label else "│")


def _crossed(row: list[Styled], char: str, style: str) -> list[Styled]:
    """Return a row with a line through all but the tops of what is drawn in it."""
    behind = {"█": f"{style} on {_LIVE}", _SHADE: f"{style} on {_DARK}", " ": style}
    return [(char, behind[cell]) if cell in behind else (cell, old) for cell, old in row]


class Load(Figures):
    """CPU, the loop's longest step, tasks, storage, the agent's own cost, and the link."""

    def lines(self, feed: Feed, board: Board, width: int, height: int) -> Iterator[Text]:
        cpu, overhead = board.status.cpu, board.status.overhead
        heap = board.status.system_heap
        below = 4 if heap is None else 5
        room, rows = width - _LABEL - _FIGURE, max(1, (height - below) // 2)
        why = reason(cpu.usage, "cpu", board.capabilities)
        picture = Plot(room, rows, 1.0).area(feed.track.last("cpu", room), _CPU)
        yield from _pictured("cpu", percent(cpu.usage), why, picture, width)
        lags = feed.track.last("lag", room)
        longest = max([_LEAST_LAG_S, *(lag for lag in lags if lag is not None)])
        why = reason(cpu.loop_lag_worst_s, "loop_lag", board.capabilities)
        picture = Plot(room, rows, longest).area(lags, _LAG)
        yield from _pictured("lag max", duration(cpu.loop_lag_worst_s), why, picture, width)
        tasks, threads = count(cpu.active_tasks, "task"), count(cpu.active_threads, "thread")
        yield _line("tasks", f"{tasks}, {threads}, lag {duration(cpu.loop_lag_s)}")
        if board.status.storage:
            yield _line("storage", _storage(board.status.storage))
        else:
            yield from _missing("storage", reason(None, "storage", board.capabilities), width)
        if heap is not None:
            largest = size(heap.largest_free_block_bytes)
            yield _line("system", f"{size(heap.free_bytes)} free, largest block {largest}")
        budget = f" of {percent(overhead.budget)}" if overhead.budget is not None else ""
        rate = f", {size(overhead.bytes_per_s)}/s" if overhead.bytes_per_s is not None else ""
        yield _line("agent", f"{percent(overhead.cpu)}{budget}{rate}")
        yield _line("link", link_text(feed))


def _pictured(
    label: str, figure: str, why: str, picture: Iterator[list[Styled]], width: int
) -> Iterator[Text]:
    """Yield a figure's lines: with its picture, or with why there is none."""
    if why:
        yield from _missing(label, why, width)
        return
    line = _line(label, figure)
    for row in picture:
        line.pad_right(max(0, _LABEL + _FIGURE - line.cell_len))
        yield line.append_text(_joined(row))
        line = Text()


def _missing(label: str, why: str, width: int) -> Iterator[Text]:
    """Yield a dash and why there is no figure, on as many lines as that takes."""
    for part in textwrap.wrap(f"{NOTHING} {why}", max(1, width - _LABEL)):
        yield _line(label, part)
        label = ""


def _joined(row: list[Styled]) -> Text:
    """Return characters with their styles; neighbours of one style are drawn at once."""
    runs = groupby(row, key=itemgetter(1))
    return Text.assemble(*(("".join(char for char, _ in run), style) for style, run in runs))


def _line(label: str, text: str) -> Text:
    return Text.assemble((label.ljust(_LABEL), "bold"), text)


def _largest(feed: Feed, board: Board, width: int) -> Iterator[Text]:
    """Yield the line of the largest free block, or why there is none."""
    memory = board.status.memory
    largest = memory.largest_free_block_bytes
    if why := reason(largest, "largest_free_block", board.capabilities):
        for part in textwrap.wrap(f"largest free block {NOTHING} {why}", max(1, width)):
            yield Text(part)
        return
    text = Text(f"largest free {size(largest)}, frag {percent(memory.fragmentation)} ")
    room = width - text.cell_len
    plot = Plot(room, 1, float(memory.total_bytes or 0))
    for row in plot.area(feed.track.last("largest", room), _LARGEST):
        yield text.append_text(_joined(row))


def _storage(mounts: Sequence[Storage]) -> str:
    first, more = mounts[0], f" +{len(mounts) - 1}" if len(mounts) > 1 else ""
    used = f"{size(first.used_bytes)} of {size(first.total_bytes)}"
    return f"{printable(first.mount or '')} {used} ({percent(first.usage)}){more}"
