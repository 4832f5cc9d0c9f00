"""One board that is watched: its connection, and what came over it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from boardwarden.board import Board, connect
from boardwarden.errors import BoardError, KeyRefused, RequestRefused
from boardwarden.history import History, is_gap
from boardwarden.models import Status
from boardwarden.render.status import LinkChanges
from boardwarden.render.tables import event_line
from boardwarden.render.text import Printable
from boardwarden.transport.base import Transport

MAX_SAMPLES = 600

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
        for figures in self._figures.values():
            if figures and figures[-1] is not None:
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
