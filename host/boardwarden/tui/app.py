"""The live view of one or several boards, used with the keyboard."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.driver import Driver
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Footer, Static

from boardwarden._program import INTERRUPTED
from boardwarden.board import Board
from boardwarden.errors import BoardError
from boardwarden.render.text import columns, duration, harmless, size

from .ending import Screen
from .feed import Feed, head, overview, trouble
from .figures import Figures, Load, MemoryPlot
from .keyboard import tolerant
from .panels import (
    About,
    Console,
    Crashes,
    Events,
    Leases,
    Operations,
    Panel,
    TablePanel,
    Tasks,
    Thresholds,
)

_REFRESH_S = 0.5  # drawing costs the host: a tenth of a core where all panels are busy
_WIDE = (110, 34)  # columns and lines from which all panels are shown at once
_INTERVALS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_PANELS: tuple[type[Panel], ...] = (
    *(Operations, Leases, Tasks, Thresholds, Events, Console, About, Crashes),
)
_LEAST = (80, 20)  # columns and lines that it needs
_KEYS = (
    ("1 … 8", "show a panel, by its number"),
    ("Tab, Shift+Tab", "show the next panel, the one before"),
    ("↑ ↓ PgUp PgDn", "choose a row, scroll"),
    ("n", "show the next board, where there are several"),
    ("+ -", "sample more or less often, also after you leave"),
    ("c", "collect the board's garbage"),
    ("x, Del", "end the chosen lease or cancel the operation; asks first"),
    ("?", "show these keys"),
    ("q, Ctrl-C", "leave, with exit status 0 or 130"),
)
T = TypeVar("T")


class Question(ModalScreen[bool]):
    """A yes-or-no question; the default is no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
        Binding("left,right", "app.focus_next", show=False),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question = harmless(question)
        self._yes = yes

    def compose(self) -> ComposeResult:
        """Ask; the cursor is on No."""
        with Vertical(id="question"):
            yield Static(self._question, markup=False)
            with Horizontal():
                yield Button("No (n)", id="no")
                yield Button(f"{self._yes} (y)", id="yes", variant="error")
        yield Footer(show_command_palette=False)  # over the other one, whose keys rest

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Close the question with the answer."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """Close the question with the answer."""
        self.dismiss(answer)


class Keys(ModalScreen[None]):
    """A screen that explains the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter", "dismiss", "Close", key_display="esc")
    ]

    def compose(self) -> ComposeResult:
        """List the keys."""
        with VerticalScroll(id="keys") as keys:
            keys.border_title = "keys"
            yield Static("\n".join(columns(("key", "what it does"), _KEYS, 72)), markup=False)
        yield Footer(show_command_palette=False)  # over the other one, whose keys rest


class WatchApp(App[int]):
    """The application that shows the feeds' boards; its result is 0, or 130 after Ctrl-C."""

    CSS_PATH = "watch.tcss"
    TITLE = "boardwarden watch"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit_with(0)", "Quit"),
        Binding("ctrl+c", f"quit_with({INTERRUPTED})", show=False, priority=True),
        Binding("ctrl+q", "quit_with(0)", show=False, priority=True),
        Binding("tab", "next_panel(1)", "Panel", priority=True),
        Binding("shift+tab", "next_panel(-1)", show=False, priority=True),
        Binding("n", "next_board", "Next board"),
        Binding("plus,equals_sign", "interval(-1)", "Faster", key_display="+"),
        Binding("minus,underscore", "interval(1)", "Slower", key_display="-"),
        Binding("c", "collect", "Collect"),
        Binding("x,delete", "end", "End"),
        Binding("question_mark", "keys", "Keys", key_display="?"),
        *(
            Binding(str(number), f"panel({number})", show=False)
            for number in range(1, len(_PANELS) + 1)
        ),
    ]

    def __init__(self, feeds: Sequence[Feed]) -> None:
        super().__init__()
        self._feeds = list(feeds)
        self._feed = self._feeds[0]
        self._panels = [kind(number) for number, kind in enumerate(_PANELS, 1)]
        self._panel = self._panels[0]
        self._texts: dict[str, str | Text] = {}
        self._small = False
        self.screen_file: Screen | None = None

    def get_driver_class(self) -> type[Driver]:
        """Return the driver that reads the keyboard and draws; Textual calls this."""
        return tolerant(super().get_driver_class())

    def compose(self) -> ComposeResult:
        """Make the widgets; the style sheet places them."""
        yield Static(id="small", markup=False)
        with Horizontal(id="head"):
            yield Static(id="name", markup=False)
            yield Static(id="state", markup=False)
        yield Static(id="trouble", markup=False)
        yield Static(id="overview", markup=False)
        with Vertical(id="body"):
            with Horizontal(id="figures"):
                yield MemoryPlot(id="memory")
                yield Load(id="load")
            yield Static(id="names", markup=False)
            with Container(id="panels"):
                yield from self._panels
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Follow the boards."""
        self.query_one("#load").border_title = "load"
        self.query_one("#overview").display = len(self._feeds) > 1
        for feed in self._feeds:
            self.run_worker(feed.follow(), group="feeds")
        self.set_interval(_REFRESH_S, self._show_again)
        self._choose(self._panel)

    def on_resize(self, event: events.Resize) -> None:
        """Show all panels where there is room for them, else one."""
        wide = event.size.width >= _WIDE[0] and event.size.height >= _WIDE[1]
        self._small = event.size.width < _LEAST[0] or event.size.height < _LEAST[1]
        self.set_class(self._small, "small")
        self.set_class(wide, "wide")
        self.set_class(not wide, "narrow")
        self.call_after_refresh(self.show)

    def _show_again(self) -> None:
        """Show the boards' present state, unless a slow terminal has not yet taken the last one."""
        if self.screen_file is None or not self.screen_file.busy:
            self.show()

    def show(self) -> None:
        """Show the boards' present state."""
        if not self.screen_stack or not self.screen_stack[0].query("#trouble"):
            return  # nothing is laid out yet, or no longer
        feed, wrong = self._feed, trouble(self._feed)
        name, state = head(feed)
        self._set_text("#small", _too_small(self.size, _LEAST))
        self._set_text("#name", name)
        self._set_text("#state", state)
        self._set_text("#trouble", wrong)
        self._part("#trouble").display = bool(wrong)
        self._part("#body").set_class(bool(wrong), "lost")
        if len(self._feeds) > 1:
            self._show_overview()
        for figures in self.screen_stack[0].query(Figures):
            figures.show(feed)
        for panel in self._panels:
            if panel.display:
                panel.show(feed)
        self._set_text("#names", self._names())

    def _part(self, selector: str) -> Widget:
        return self.screen_stack[0].query_one(selector)

    def _set_text(self, selector: str, text: str | Text) -> None:
        """Set a part's text; lay the screen out anew only if the text's size changes."""
        if isinstance(text, str):
            text = harmless(text)
        before = self._texts.get(selector)
        if before != text:
            self._texts[selector] = text
            grows = before is None or _room(before) != _room(text)
            self.screen_stack[0].query_one(selector, Static).update(text, layout=grows)

    def _show_overview(self) -> None:
        width = self._part("#overview").content_size.width or self.size.width
        lines = overview(self._feeds, self._feed, width)
        text = Text("\n", no_wrap=True).join(
            Text(line.ljust(width), "bold" if line.startswith("▶") else "") for line in lines
        )
        self._set_text("#overview", text)

    def _names(self) -> Text:
        """Return a line with the panels' names, that of the shown one in brackets."""
        parts = []
        for panel in self._panels:
            name = f"{panel.number} {panel.short or panel.label}"
            chosen = panel is self._panel
            parts.append(Text(f"[{name}]", "bold reverse") if chosen else Text(f" {name} "))
        return Text("").join(parts)

    # --- what is shown --------------------------------------------------------------------------

    def _choose(self, panel: Panel) -> None:
        self._panel = panel
        for each in self._panels:
            each.set_class(each is panel, "chosen")
        for widget in panel.query("DataTable, Log, VerticalScroll"):
            widget.focus()
        self.call_after_refresh(self.show)

    def action_panel(self, number: int) -> None:
        """Show a panel."""
        self._choose(self._panels[number - 1])

    def action_next_panel(self, step: int) -> None:
        """Show the next panel, or the one before."""
        place = self._panels.index(self._panel) + step
        self._choose(self._panels[place % len(self._panels)])

    def action_next_board(self) -> None:
        """Show the next board."""
        place = self._feeds.index(self._feed) + 1
        self._feed = self._feeds[place % len(self._feeds)]
        self.show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether an action makes sense now."""
        if self._small and action != "quit_with" and len(self.screen_stack) == 1:
            return False  # what it does could not be seen
        if action == "next_board":
            return len(self._feeds) > 1
        if action == "next_panel":
            return len(self.screen_stack) == 1  # else Tab goes from answer to answer
        return True

    def action_keys(self) -> None:
        """Explain the keys."""
        self.push_screen(Keys())

    def action_quit_with(self, result: int) -> None:
        """End."""
        self.exit(result)

    # --- requests to the board --------------------------------------------------------------------

    def action_interval(self, step: int) -> None:
        """Have the board sample more or less often."""
        board = self._feed.board
        if board is None:
            return
        now = board.status.wanted_interval_s or board.status.interval_s or 1.0
        faster = [each for each in _INTERVALS_S if each < now * 0.99]
        slower = [each for each in _INTERVALS_S if each > now * 1.01]
        wanted = faster[-1:] if step < 0 else slower[:1]
        if wanted:
            self._request(
                lambda board: board.start_monitoring(wanted[0]),
                lambda _: f"A sample every {duration(wanted[0])}.",
            )

    def action_collect(self) -> None:
        """Have the board collect garbage."""
        self._request(lambda board: board.collect(), lambda freed: f"Collected {size(freed)}.")

    def action_end(self) -> None:
        """End the chosen lease, or cancel the chosen operation, after asking."""
        panel, board = self._panel, self._feed.board
        chosen = panel.chosen if isinstance(panel, TablePanel) else None
        if not isinstance(panel, (Leases, Operations)) or chosen is None or board is None:
            self.notify("Choose an operation (1) or a lease (2) first.", severity="warning")
            return
        number = int(chosen)
        if isinstance(panel, Leases):
            self._end_lease(board, number)
        else:
            self._cancel(board, number)

    def _end_lease(self, board: Board, number: int) -> None:
        lease = next((each for each in board.allocations if each.id == number), None)
        if lease is None:  # since it was drawn
            self.notify(f"Lease {number} has ended already.", severity="warning")
            return
        of = f" of {lease.owner}" if lease.owner else ""
        self._when_sure(
            f"End lease {number}{of}? Its holder loses it.",
            "End it",
            lambda board: board.release(number),
            f"Lease {number} has ended.",
        )

    def _cancel(self, board: Board, number: int) -> None:
        operation = next((each for each in board.operations if each.id == number), None)
        if operation is None:
            self.notify(f"Operation {number} has ended already.", severity="warning")
            return
        self._when_sure(
            f"Cancel operation {number}, {operation.name}? It is told to stop, as by a preemption.",
            "Cancel it",
            lambda board: board.cancel(number),
            f"Operation {number} was told to stop.",
        )

    def _when_sure(
        self, question: str, yes: str, request: Callable[[Board], Awaitable[object]], done: str
    ) -> None:
        def on_answer(sure: bool | None) -> None:
            if sure:
                self._request(request, lambda _: done)

        self.push_screen(Question(question, yes), on_answer)

    def _request(
        self, request: Callable[[Board], Awaitable[T]], describe: Callable[[T], str]
    ) -> None:
        """Send the shown board a request in the background, and show its outcome."""
        board = self._feed.board
        if board is None or not board.connected:
            self.notify("The link is lost: the board cannot be asked.", severity="error")
        else:
            self.run_worker(self._send(board, request, describe), group="requests")

    async def _send(
        self,
        board: Board,
        request: Callable[[Board], Awaitable[T]],
        describe: Callable[[T], str],
    ) -> None:
        try:
            answer = await request(board)
        except BoardError as error:
            self.notify(harmless(str(error)), severity="error", markup=False)
        else:
            self.notify(harmless(describe(answer)), markup=False)


def _room(text: str | Text) -> tuple[int, ...]:
    """Return how long each line is."""
    return tuple(len(line) for line in str(text).split("\n"))


def _too_small(has: tuple[int, int], least: tuple[int, int]) -> str:
    """Return the text for a terminal that is too small."""
    return (
        f"This terminal has {has[0]} columns and {has[1]} lines.\n"
        f"The live view needs {least[0]} and {least[1]}: enlarge it.\n"
        "q quits."
    )
