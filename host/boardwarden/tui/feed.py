"""One board that is watched: its connection, what came over it, and how it is in a few words."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence

from boardwarden.board import Board, connect
from boardwarden.errors import BoardError, KeyRefused, RequestRefused
from boardwarden.history import History, is_gap
from boardwarden.models import Level, Status, enum_name
from boardwarden.render.status import LinkChanges, board_name, link_state, over_budget
from boardwarden.render.tables import event_line
from boardwarden.render.text import NOTHING, Printable, columns, duration, integer, percent, size
from boardwarden.transport.address import short_names
from boardwarden.transport.base import Transport

MAX_SAMPLES = 600
_OVERVIEW = ("", "board", "link", "cpu", "used", "live", "lag max", "ops", "level")
_LATE = 3  # intervals without a sample, and
_LATE_S = 2.0  # so much more, make figures old

Figure = float | None
_READ: dict[str, Callable[[Status], Figure]] = {
    "used": lambda now: now.memory.used_bytes,
    "live": lambda now: now.memory.live_bytes,
    "largest": lambda now: now.memory.largest_free_block_bytes,
    "cpu": lambda now: now.cpu.usage,
    "lag": lambda now: now.cpu.loop_lag_worst_s,
    "uptime": lambda now: now.cpu.uptime_s,
}
# What a board's own history has of these; it has neither garbage nor the longest steps.
REMEMBERED = {"live": "memory", "cpu": "cpu"}
MAX_CHARACTERS = 64 * 1024
_AGAIN_S = 3.0  # until a board that could not be opened is tried again
_POLL_S = 1.0
_PING_S = 5.0  # between two measurements of the latency


class Track:
    """The last 600 samples' figures: used, live, largest (bytes), cpu, lag and uptime (seconds)."""

    def __init__(self) -> None:
        self._figures: dict[str, deque[Figure]] = {
            name: deque(maxlen=MAX_SAMPLES) for name in _READ
        }

    def add(self, status: Status) -> None:
        """Add a sample's figures; drop the oldest."""
        uptimes, now = self._figures["uptime"], status.cpu.uptime_s
        before = uptimes[-1] if uptimes else None
        interval_s = status.interval_s or 0.0
        if before is not None and now is not None and is_gap(now - before, interval_s):
            self.gap()
        for name, read in _READ.items():
            self._figures[name].append(read(status))

    def gap(self) -> None:
        """Add a gap, as the board restarted or the link was lost."""
        if any(figures and figures[-1] is not None for figures in self._figures.values()):
            for figures in self._figures.values():  # each: a column is one sample's
                figures.append(None)

    def recall(self, history: History, step_s: float) -> None:
        """Put the board's own history before the first sample, in steps of `step_s` seconds.

        There it is the mean of a second, a minute or an hour, whichever is the shortest known.
        """
        first = next((time for time in self._figures["uptime"] if time is not None), None)
        if first is None or step_s <= 0:
            return
        room = min(MAX_SAMPLES - len(self._figures["uptime"]), int(first / step_s))
        times = [first - step_s * back for back in range(1, room + 1)]  # newest first
        figures: dict[str, list[Figure]] = {name: [None] * room for name in _READ}
        for name, metric in REMEMBERED.items():
            figures[name] = [history.mean(metric, time) for time in times]
        known = [at for each in figures.values() for at in range(room) if each[at] is not None]
        figures["uptime"] = list(times)
        for name, values in self._figures.items():
            values.extendleft(figures[name][: max(known, default=-1) + 1])

    def last(self, name: str, count: int) -> list[Figure]:
        """Return a figure's last values, at most `count`, oldest first."""
        figures = self._figures[name]
        return [figures[place] for place in range(max(0, len(figures) - count), len(figures))]

    def span_s(self, count: int) -> float | None:
        """Return how many seconds the last `count` samples cover; None over a restart."""
        times = [time for time in self.last("uptime", count) if time is not None]
        if len(times) < 2 or times[-1] < times[0]:
            return None
        return times[-1] - times[0]


class Tail:
    """The last 64 Ki characters of a text; places count all pieces that were ever put."""

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._size = 0
        self.end = 0

    def put(self, text: str) -> None:
        """Add text; the oldest goes."""
        self._pieces.append(text)
        self.end += 1
        self._size += len(text)
        while self._size > MAX_CHARACTERS and len(self._pieces) > 1:
            self._size -= len(self._pieces.popleft())

    def since(self, place: int) -> str:
        """Return the text from a place on, as far as it is still there."""
        gone = self.end - len(self._pieces)
        return "".join(list(self._pieces)[max(0, place - gone) :])


class Feed:
    """A followed board: open() or follow(), then close(). `board` is None until it is open.

    problem: why it could not be opened, a sentence; latency_s: of the last request, None if
    unknown; unmetered: why the board sends no meters.
    """

    def __init__(self, address: str | Transport, name: str) -> None:
        self._address = address
        self.name = name
        self.board: Board | None = None
        self.problem = ""
        self.unmetered = ""
        self.latency_s: float | None = None
        self.track = Track()
        self.events = Tail()
        self.console = Tail()
        self._opened = contextlib.AsyncExitStack()

    async def open(self) -> None:
        """Connect; where that fails, `problem` says why."""
        try:
            self.board = await self._opened.enter_async_context(connect(self._address))
            self.problem = ""
        except BoardError as error:
            self.problem = str(error)

    async def follow(self) -> None:
        """Follow the board until cancelled; one that cannot be opened is tried again."""
        while self.board is None:
            await self.open()
            if self.problem:
                await asyncio.sleep(_AGAIN_S)
        await asyncio.gather(
            self._follow_samples(self.board),
            self._recall(self.board),
            self._follow_events(self.board),
            self._follow_restarts(self.board),
            self._follow_console(self.board),
            self._follow_meters(self.board),
            self._measure(self.board),
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._opened.aclose()

    async def _follow_samples(self, board: Board) -> None:
        boot = board.status.board.boot_id
        self.track.add(board.status)
        async with contextlib.aclosing(board.updates()) as updates:
            async for status in updates:
                if status.board.boot_id != boot:
                    boot = status.board.boot_id
                    self.track.gap()
                self.track.add(status)

    async def _recall(self, board: Board) -> None:
        """Begin the track with the board's own history of the time before."""
        boot = board.status.board.boot_id
        with contextlib.suppress(BoardError):  # an agent without a history will do
            history = await board.fetch_history(tuple(REMEMBERED.values()), ("mean",))
            if board.status.board.boot_id == boot:
                self.track.recall(history, board.status.interval_s or 1.0)

    async def _follow_events(self, board: Board) -> None:
        async with contextlib.aclosing(board.events()) as events:
            async for event in events:
                self.events.put(event_line(event) + "\n")

    async def _follow_restarts(self, board: Board) -> None:
        link_changes = LinkChanges(board)
        async with contextlib.aclosing(board.changes()) as changes:
            async for _ in changes:
                for line in link_changes.restarts():
                    self.events.put(Printable().feed(line) + "\n")

    async def _follow_console(self, board: Board) -> None:
        printable = Printable()
        async with contextlib.aclosing(board.console()) as console:
            async for text in console:
                self.console.put(printable.feed(text))

    async def _follow_meters(self, board: Board) -> None:
        """Request the meters once the board decides: the request would make it begin to."""
        while not self.unmetered:
            if board.connected and board.limits.max_operations is not None:
                with contextlib.suppress(BoardError):
                    await self._meter(board)
            await asyncio.sleep(_POLL_S)

    async def _meter(self, board: Board) -> None:
        try:
            async with board.metering():
                await asyncio.Event().wait()
        except (RequestRefused, KeyRefused) as error:
            self.unmetered = str(error)

    async def _measure(self, board: Board) -> None:
        while True:
            try:
                self.latency_s = await board.ping() if board.connected else None
            except BoardError:
                self.latency_s = None
            await asyncio.sleep(_PING_S)


# --- how it is in a few words ---------------------------------------------------------------------


def head(feed: Feed) -> tuple[str, str]:
    """Return what is to the left and to the right in the first line."""
    board = feed.board
    if board is None:
        return feed.name, "not connected" if feed.problem else "connecting"
    if not board.connected:
        return feed.name, "ASLEEP" if board.asleep else "LINK LOST"
    if old := old_figures(board):
        return feed.name, f"{every(board)} · {old}"
    up = duration(board.status.cpu.uptime_s)
    return feed.name, f"{every(board)} · up {up} · connected"


def old_figures(board: Board) -> str:
    """Return how old the figures are, where samples are late or have stopped; else ""."""
    status = board.status
    if status.age_s is None or status.age_s < _LATE * (status.interval_s or 0.0) + _LATE_S:
        return ""
    return f"figures {duration(status.age_s)} old"


def every(board: Board) -> str:
    """Return how often the board samples, and why not as often as requested."""
    now = board.status
    if not now.interval_s:
        return "no samples: stopped"
    text = f"a sample every {duration(now.interval_s)}"
    return f"{text}, {asked} is over budget" if (asked := over_budget(now)) else text


def trouble(feed: Feed) -> str:
    """Return what is wrong with the link, and since when; empty if nothing is."""
    if feed.board is None:
        return f"NOT CONNECTED, trying again: {feed.problem}" if feed.problem else ""
    if feed.board.connected:
        return ""
    state, _, rest = link_state(feed.board).partition(";")
    return f"{state.upper()};{rest}; figures are of then"


def link_text(feed: Feed) -> str:
    """Return the link's latency and losses, in a few words."""
    if feed.board is None:
        return NOTHING
    link = feed.board.link
    lost = link.bad_frames + link.gaps
    parts = (duration(feed.latency_s), f"{lost} lost", f"{integer(link.dropped_frames)} dropped")
    return ", ".join(parts)


def overview(feeds: Sequence[Feed], shown: Feed, width: int) -> list[str]:
    """Return a line for each board under a head, the one that is shown marked."""
    names = short_names([feed.name for feed in feeds], board_name)
    rows = [
        ("▶" if feed is shown else "", name, *_overview(feed))
        for feed, name in zip(feeds, names, strict=True)
    ]
    return columns(_OVERVIEW, rows, width)


def _overview(feed: Feed) -> tuple[str, ...]:
    board = feed.board
    if board is None:
        return ("none" if feed.problem else "\N{HORIZONTAL ELLIPSIS}", *[NOTHING] * 6)
    memory, cpu = board.status.memory, board.status.cpu
    levels = [each.level for each in board.thresholds]
    return (
        _link_state(board),
        percent(cpu.usage),
        size(memory.used_bytes),
        size(memory.live_bytes),
        duration(cpu.loop_lag_worst_s),
        str(len(board.operations)),
        level_text(max(levels, default=Level.CLEAR)),
    )


def _link_state(board: Board) -> str:
    if board.connected:
        return old_figures(board) or "ok"
    age_s = board.status.age_s
    state = "ASLEEP" if board.asleep else "SILENT" if board.link.open else "LOST"
    return state if age_s is None else f"{state} {duration(age_s)} ago"


def level_text(level: Level | int) -> str:
    """Return a threshold's level, in capitals unless it is clear."""
    text = enum_name(level)
    return text if level == Level.CLEAR else text.upper()
