"""The board's figures over time: memory as a plot, load and links in lines with bars."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual.widget import Widget

from boardwarden.board import Board
from boardwarden.cli.text import NONE, count, duration, percent, size

from .braille import Canvas, bars
from .feed import Feed
from .words import because, link_text

_LIVE, _USED, _LARGEST = "#3fb950", "#d29922", "#58a6ff"
_CPU, _LAG = "#a371f7", "#ff7b72"
_LEAST_LAG_S = 0.02  # the top of the bars, where all are shorter
_LABEL = 9
_FIGURE = 8


class Figures(Widget):
    """Draws a board's figures, in the room that it has."""

    feed: Feed | None = None

    def show(self, feed: Feed) -> None:
        """Draw what this board tells now."""
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
    """Live bytes as an area, used bytes and the largest free block as lines, up to the total."""

    def lines(self, feed: Feed, board: Board, width: int, height: int) -> Iterator[Text]:
        """See Figures."""
        memory = board.status.memory
        canvas = Canvas(width, max(1, height - 2))
        top = float(memory.total_bytes or 0)
        span_s = feed.track.span_s(canvas.columns)
        self.border_title = f"memory, {size(memory.total_bytes)}"
        self.border_subtitle = f"the last {duration(span_s)}" if span_s else ""
        canvas.fill(feed.track.last("live", canvas.columns), top, _LIVE)
        canvas.line(feed.track.last("largest", canvas.columns), top, _LARGEST, every=3)
        canvas.line(feed.track.last("used", canvas.columns), top, _USED)
        for row in canvas.rows():
            yield Text.assemble(*row)
        live, used = size(memory.live_bytes), size(memory.used_bytes)
        share = f" ({percent(memory.usage)})"
        yield Text.assemble(("⣿", _LIVE), f" live {live}  ", ("⠒", _USED), f" used {used}{share}")
        largest = memory.largest_free_block_bytes
        why = because(board, largest, "largest_free_block")
        text = f" largest free block {size(largest)}" + (f": {why}" if why else "")
        yield Text.assemble(("⠄", _LARGEST), text)


class Load(Figures):
    """CPU, the loop's longest step, tasks, storage, the agent's own cost, and the link."""

    def lines(self, feed: Feed, board: Board, width: int, height: int) -> Iterator[Text]:
        """See Figures."""
        cpu, overhead = board.status.cpu, board.status.overhead
        room = width - _LABEL - _FIGURE
        lags = feed.track.last("lag", room)
        longest = max([_LEAST_LAG_S, *(lag for lag in lags if lag is not None)])
        why = because(board, cpu.usage, "cpu")
        loads = bars(feed.track.last("cpu", room), room, 1.0)
        yield _line("cpu", percent(cpu.usage), why or loads, "" if why else _CPU)
        why = because(board, cpu.loop_lag_worst_s, "loop_lag")
        steps = bars(lags, room, longest)
        yield _line("longest", duration(cpu.loop_lag_worst_s), why or steps, "" if why else _LAG)
        tasks, threads = count(cpu.active_tasks, "task"), count(cpu.active_threads, "thread")
        yield _line("tasks", f"{tasks}, {threads}, lag {duration(cpu.loop_lag_s)}")
        yield _line("storage", _storage(board))
        budget = f" of {percent(overhead.budget)}" if overhead.budget is not None else ""
        rate = f", {size(overhead.bytes_per_s)}/s" if overhead.bytes_per_s is not None else ""
        yield _line("agent", f"{percent(overhead.cpu)}{budget}{rate}")
        yield _line("link", link_text(feed))


def _line(label: str, figure: str, rest: str = "", style: str = "") -> Text:
    text = Text.assemble((label.ljust(_LABEL), "bold"), figure)
    return text.append(" " * max(1, _FIGURE - len(figure))).append(rest, style) if rest else text


def _storage(board: Board) -> str:
    mounts = board.status.storage
    if not mounts:
        return f"{NONE} {because(board, None, 'storage')}"
    first, more = mounts[0], f" +{len(mounts) - 1}" if len(mounts) > 1 else ""
    used = f"{size(first.used_bytes)} of {size(first.total_bytes)}"
    return f"{first.mount} {used} ({percent(first.usage)}){more}"
