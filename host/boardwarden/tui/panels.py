"""The numbered panels: tables of what the board grants and watches, and texts."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Log, Static

from boardwarden.board import Board
from boardwarden.grants import Operation
from boardwarden.models import OperationState, enum_name
from boardwarden.render.status import Row, aligned, link_state, status_rows, trend_rows
from boardwarden.render.tables import (
    LEASES,
    THRESHOLDS,
    blocker,
    busiest,
    exception_lines,
    lease_rows,
    limit_rows,
    memory_profile_rows,
    reset_lines,
    session_rows,
    threshold_rows,
)
from boardwarden.render.text import NOTHING, count, duration, integer, percent, printable, size

from .feed import Feed, Tail, level_text

Cells = tuple[str, ...]
_TREND_S = 60.0
_BAR = 10  # characters of a progress bar
_LOUD = {"WARN": "bold yellow", "CRITICAL": "bold red", "stopping": "yellow", "overdue": "red"}
MAX_LINES = 2000


class Panel(Vertical):
    """One of the numbered panels; `label` is its name, `short` that in the line of all names."""

    label = ""
    short = ""

    def __init__(self, number: int) -> None:
        super().__init__(id=self.label, classes="panel")
        self.number = number
        self._titled: str | None = None
        self.titled("")

    def titled(self, text: str) -> None:
        """Set the text beside the panel's name."""
        if text == self._titled:  # setting it again would draw it again
            return
        self._titled = text
        title = f"{self.number} {self.label}" + (f": {text}" if text else "")
        self.border_title = Text(printable(title))  # a task's name is no markup

    def show(self, feed: Feed) -> None:
        """Show the board's present state."""
        raise NotImplementedError


class TablePanel(Panel):
    """A panel with a table, whose cursor stays on its row while others come and go."""

    head: Cells = ()
    nothing = "none"

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._shown: list[Cells] = []
        self._table: DataTable[Text] = DataTable(
            cursor_type="row", zebra_stripes=False, cell_padding=1
        )

    def compose(self) -> ComposeResult:
        yield self._table

    def on_mount(self) -> None:
        for name in self.head:
            self._table.add_column(name, key=name)

    def rows(self, board: Board) -> Iterator[Cells]:
        """Yield the rows; their first cells are unique."""
        raise NotImplementedError

    def title(self, feed: Feed, board: Board) -> str:
        """Return the text beside the panel's name."""
        return "" if self._shown else self.nothing

    def show(self, feed: Feed) -> None:
        rows = [] if feed.board is None else list(self.rows(feed.board))
        if [row[0] for row in rows] != [row[0] for row in self._shown]:
            self._replace(rows)
        else:
            self._renew(rows)
        self._shown = rows
        self.titled("" if feed.board is None else self.title(feed, feed.board))

    @property
    def chosen(self) -> str | None:
        """The first cell of the cursor's row; None if there is none."""
        place = self._table.cursor_row
        return self._shown[place][0] if 0 <= place < len(self._shown) else None

    def _replace(self, rows: list[Cells]) -> None:
        chosen, place = self.chosen, self._table.cursor_row
        self._table.clear()
        for row in rows:
            self._table.add_row(*map(_cell, row))
        keys = [row[0] for row in rows]
        if chosen in keys:
            place = keys.index(chosen)
        if keys:
            self._table.move_cursor(row=min(max(0, place), len(keys) - 1))

    def _renew(self, rows: list[Cells]) -> None:
        for place, (row, before) in enumerate(zip(rows, self._shown, strict=True)):
            for column, (cell, old) in enumerate(zip(row, before, strict=True)):
                if cell != old:
                    self._table.update_cell_at(
                        Coordinate(place, column), _cell(cell), update_width=True
                    )


class Operations(TablePanel):
    """The operations that run or wait."""

    label = "operations"
    short = "ops"
    head = ("id", "name", "state", "priority", "done", "left", "memory", "what")

    def rows(self, board: Board) -> Iterator[Cells]:
        for each in board.operations:
            yield (
                *(str(each.id), each.name, enum_name(each.state), enum_name(each.priority)),
                *(_done(each), duration(each.remaining_s), size(each.memory_bytes)),
                each.why or each.text,
            )

    def title(self, feed: Feed, board: Board) -> str:
        """Return how many places are occupied."""
        most = board.limits.max_operations
        if most is None:
            return "none; the board has not been asked for any decision yet"
        waiting = sum(each.state == OperationState.WAITING for each in board.operations)
        occupied = len(board.operations) - waiting
        return f"{occupied} of {most} places" + (f", {waiting} waiting" if waiting else "")


class Leases(TablePanel):
    """What is granted, and to whom."""

    label = "leases"
    head = LEASES

    def rows(self, board: Board) -> Iterator[Cells]:
        yield from lease_rows(board.allocations)


class Tasks(TablePanel):
    """Who uses the core, and who blocks the loop."""

    label = "tasks"
    head = ("id", "name", "kind", "cpu", "longest", "steps", "priority", "lease")
    nothing = "nothing is metered, see warden.spawn() and warden.thread()"

    def rows(self, board: Board) -> Iterator[Cells]:
        for each in busiest(board.meters):
            yield (
                *(str(each.id), each.name, each.kind, percent(each.cpu), duration(each.worst_s)),
                integer(each.steps),
                enum_name(each.priority),
                integer(each.lease),
            )

    def title(self, feed: Feed, board: Board) -> str:
        """Return which task blocks the loop."""
        return feed.unmetered or blocker(board.meters) or super().title(feed, board)


class Thresholds(TablePanel):
    """What the board watches."""

    label = "thresholds"
    short = "levels"
    head = THRESHOLDS

    def rows(self, board: Board) -> Iterator[Cells]:
        for each, cells in zip(board.thresholds, threshold_rows(board.thresholds), strict=True):
            yield (cells[0], level_text(each.level), *cells[2:])


def _done(each: Operation) -> str:
    if each.progress is None:
        return NOTHING
    full = round(max(0.0, min(1.0, each.progress)) * _BAR)
    return f"{'█' * full}{'░' * (_BAR - full)} {percent(each.progress)}"


def _cell(text: str) -> Text:
    """Return a cell's text unchanged: the name of a task is not markup."""
    return Text(printable(text), style=_LOUD.get(text, ""))


class TailPanel(Panel):
    """A panel with the end of a text that grows; it follows the end unless scrolled away."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._log = Log(max_lines=MAX_LINES)
        self._tail: Tail | None = None
        self._place = 0

    def compose(self) -> ComposeResult:
        yield self._log

    def tail(self, feed: Feed) -> Tail:
        """Return what is shown."""
        raise NotImplementedError

    def show(self, feed: Feed) -> None:
        tail = self.tail(feed)
        if tail is not self._tail:
            self._log.clear()
            self._tail, self._place = tail, 0
        if self._place != tail.end:
            self._log.write(tail.since(self._place))
            self._place = tail.end


class Events(TailPanel):
    """What happened, as it comes."""

    label = "events"

    def tail(self, feed: Feed) -> Tail:
        return feed.events


class Console(TailPanel):
    """What the application prints."""

    label = "console"

    def tail(self, feed: Feed) -> Tail:
        return feed.console


class TextPanel(Panel):
    """A panel with a text that is written anew, and scrolls."""

    _text = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(markup=False)

    def text(self, feed: Feed, width: int) -> str:
        """Return what is shown."""
        raise NotImplementedError

    def show(self, feed: Feed) -> None:
        text = self.text(feed, max(20, self.content_size.width - 2))
        if text != self._text:
            grows = text.count("\n") != self._text.count("\n") or not self._text
            self._text = text
            self.query_one(Static).update(text, layout=grows)


class About(TextPanel):
    """All that is known of the board and its link, and why the rest is not known."""

    label = "board"

    def text(self, feed: Feed, width: int) -> str:
        return aligned(about(feed), width)


def about(feed: Feed) -> Iterator[Row]:
    """Yield all that is known of a board and its link, and why the rest is not known."""
    board = feed.board
    if board is None:
        yield "link", feed.problem or "connecting"
        return
    identity = board.status.board
    yield "version", f"agent {identity.agent or NOTHING}, protocol {identity.protocol or NOTHING}"
    yield from status_rows(board.status, board.capabilities)
    yield from _link_rows(feed, board)
    yield "boot", f"{integer(identity.boot_id)}, reset: {identity.reset_cause or NOTHING}"
    for label, text in trend_rows(board.trends(_TREND_S)):
        yield ("trends", text) if label == "period" else ("", f"{label}: {text}")
    if board.limits.max_operations is not None:
        yield "limits", ", ".join(f"{label} {text}" for label, text in limit_rows(board.limits))
    for label, rows in (
        ("session", session_rows(board.sessions)),
        ("memory of", memory_profile_rows(board.memory_profiles)),
    ):
        for cells in rows:
            yield label, "  ".join(cells)
    for name, capability in board.capabilities.items():
        if not capability.available:
            yield "unknown", f"{name}: {capability.reason or NOTHING}"


def _link_rows(feed: Feed, board: Board) -> Iterator[Row]:
    link = board.link
    yield "link", link_state(board)
    yield "", f"a request and its reply take {duration(feed.latency_s)}"
    received = f"{count(link.frames, 'frame')} understood, {link.bad_frames} damaged"
    received += f", {link.malformed_frames} malformed" if link.malformed_frames else ""
    yield "", f"{received}, {link.skipped_frames} unknown; something was missed {link.gaps} times"
    dropped = f"{integer(link.dropped_frames)} dropped by the board, because the link did not drain"
    yield "", f"{dropped}; opened again {link.reconnects} times"


class Crashes(TextPanel):
    """Why the board restarted and what failed on it, the newest first."""

    label = "crashes"

    def text(self, feed: Feed, width: int) -> str:
        board = feed.board
        if board is None:
            return ""
        resets, exceptions = board.resets, board.exceptions
        wrong = sum(each.count for each in resets if not each.expected)
        known = f"{count(wrong, 'unexpected reset')}, {count(len(exceptions), 'exception')}"
        self.titled(known if resets or exceptions else "none kept, see warden.run()")
        lines = (*exception_lines(exceptions), *reset_lines(resets))
        return "\n".join(textwrap.fill(line, width, subsequent_indent="    ") for line in lines)
