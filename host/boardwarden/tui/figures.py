"""The board's figures over time: memory as a plot, load and links in lines with bars."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from rich.text import Text
from textual.widget import Widget

from boardwarden.board import Board
from boardwarden.cli.text import NONE, count, duration, percent, size

from .blocks import Plot, Styled
from .feed import Feed
from .words import because, link_text

_STYLES = ("#3fb950", "#d29922")  # live, used
_LARGEST = "#58a6ff"
_CPU, _LAG = "#a371f7", "#ff7b72"
_LEAST_LAG_S = 0.02  # the top of the bars, where all are shorter
_LABEL = 9
_FIGURE = 8


class Figures(Widget):
    """Draws a board's figures, in the room that it has."""

    feed: Feed | None = None
    _told: object = None
    _drawn: object = None

    def show(self, feed: Feed) -> None:
        """Draw what this board tells now, if that is new."""
        told = (feed, feed.board and feed.board.status, feed.board and link_text(feed))
        if told != self._told or self.size != self._drawn:
            self._told, self._drawn = told, self.size
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
        """Give the picture's lines."""
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
        """See Figures."""
        memory, track = board.status.memory, feed.track
        plot = Plot(width, max(1, height - 2), float(memory.total_bytes or 0))
        live, used = track.last("live", width), track.last("used", width)
        for row in plot.memory(live, used, _STYLES):
            yield _joined(row)
        solid, shaded = _STYLES
        text = f" used {size(memory.used_bytes)} ({percent(memory.usage)})"
        live_text = f" live {size(memory.live_bytes)}  "
        yield Text.assemble(("█", solid), live_text, ("░", shaded), text)
        yield from _largest(feed, board, width)


class Load(Figures):
    """CPU, the loop's longest step, tasks, storage, the agent's own cost, and the link."""

    def lines(self, feed: Feed, board: Board, width: int, height: int) -> Iterator[Text]:
        """See Figures."""
        cpu, overhead = board.status.cpu, board.status.overhead
        room, rows = width - _LABEL - _FIGURE, max(1, (height - 4) // 2)
        why = because(board, cpu.usage, "cpu")
        picture = Plot(room, rows, 1.0).area(feed.track.last("cpu", room), _CPU)
        yield from _pictured("cpu", percent(cpu.usage), why, picture)
        lags = feed.track.last("lag", room)
        longest = max([_LEAST_LAG_S, *(lag for lag in lags if lag is not None)])
        why = because(board, cpu.loop_lag_worst_s, "loop_lag")
        picture = Plot(room, rows, longest).area(lags, _LAG)
        yield from _pictured("lag max", duration(cpu.loop_lag_worst_s), why, picture)
        tasks, threads = count(cpu.active_tasks, "task"), count(cpu.active_threads, "thread")
        yield _line("tasks", f"{tasks}, {threads}, lag {duration(cpu.loop_lag_s)}")
        yield _line("storage", _storage(board))
        budget = f" of {percent(overhead.budget)}" if overhead.budget is not None else ""
        rate = f", {size(overhead.bytes_per_s)}/s" if overhead.bytes_per_s is not None else ""
        yield _line("agent", f"{percent(overhead.cpu)}{budget}{rate}")
        yield _line("link", link_text(feed))


def _pictured(label: str, figure: str, why: str, picture: Iterator[list[Styled]]) -> Iterator[Text]:
    """Give a figure's lines: with its picture, or with why there is none."""
    line = _line(label, figure)
    if why:
        yield line.append(" ").append(why)
        return
    for row in picture:
        line.pad_right(max(0, _LABEL + _FIGURE - line.cell_len))
        yield line.append_text(_joined(row))
        line = Text()


def _joined(row: list[Styled]) -> Text:
    """Return characters with their styles; neighbours of one style are drawn at once."""
    runs = groupby(row, key=itemgetter(1))
    return Text.assemble(*(("".join(char for char, _ in run), style) for style, run in runs))


def _line(label: str, text: str) -> Text:
    return Text.assemble((label.ljust(_LABEL), "bold"), text)


def _largest(feed: Feed, board: Board, width: int) -> Iterator[Text]:
    """Give the line of the largest free block, or why there is none."""
    memory = board.status.memory
    largest = memory.largest_free_block_bytes
    text = Text(f"largest free block {size(largest)} ")
    if why := because(board, largest, "largest_free_block"):
        yield text.append(why)
        return
    room = width - text.cell_len
    plot = Plot(room, 1, float(memory.total_bytes or 0))
    for row in plot.area(feed.track.last("largest", room), _LARGEST):
        yield text.append_text(_joined(row))


def _storage(board: Board) -> str:
    mounts = board.status.storage
    if not mounts:
        return f"{NONE} {because(board, None, 'storage')}"
    first, more = mounts[0], f" +{len(mounts) - 1}" if len(mounts) > 1 else ""
    used = f"{size(first.used_bytes)} of {size(first.total_bytes)}"
    return f"{first.mount} {used} ({percent(first.usage)}){more}"
