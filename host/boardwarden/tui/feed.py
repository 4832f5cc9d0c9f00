"""One board that is watched: its connection, and what came over it."""

from __future__ import annotations

import asyncio
import contextlib

from boardwarden.board import Board, connect
from boardwarden.errors import BoardError, KeyRefused, RequestRefused
from boardwarden.render.news import News
from boardwarden.render.tables import event_line
from boardwarden.render.text import Printable
from boardwarden.transport.base import Transport

from .track import REMEMBERED, Tail, Track

_AGAIN_S = 3.0  # until a board that could not be opened is tried again
_POLL_S = 1.0


class Feed:
    """A followed board: open() or follow(), then close(). `board` is None until it is open.

    problem: why it could not be opened, a sentence; latency_s: of the last request, None if
    unknown; unmetered: why the board sends no meters. `ping_s`: between two measurements of the
    latency, 0 for none.
    """

    def __init__(self, address: str | Transport, name: str = "", ping_s: float = 5.0) -> None:
        self._address = address
        self.name = name or (address if isinstance(address, str) else address.address)
        self.board: Board | None = None
        self.problem = ""
        self.unmetered = ""
        self.latency_s: float | None = None
        self.track = Track()
        self.events = Tail()
        self.console = Tail()
        self._ping_s = ping_s
        self._opened = contextlib.AsyncExitStack()

    @property
    def connected(self) -> bool:
        """Whether the board is there."""
        return self.board is not None and self.board.connected

    async def open(self) -> None:
        """Connect; raise a ConnectError if that fails."""
        self.board = await self._opened.enter_async_context(connect(self._address))
        self.problem = ""

    async def follow(self) -> None:
        """Follow the board until cancelled; one that cannot be opened is tried again."""
        while self.board is None:
            try:
                await self.open()
            except BoardError as error:
                self.problem = str(error)
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
        news = News(board)
        async with contextlib.aclosing(board.changes()) as changes:
            async for _ in changes:
                for line in news.restarts():
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
        while self._ping_s:
            try:
                self.latency_s = await board.ping() if board.connected else None
            except BoardError:
                self.latency_s = None
            await asyncio.sleep(self._ping_s)
