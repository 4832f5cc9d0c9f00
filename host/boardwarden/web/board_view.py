"""One board as the page shows it: sections of texts, tables and points, sent as they change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from boardwarden.board import Board
from boardwarden.errors import BoardError
from boardwarden.history import History
from boardwarden.render.text import Printable

from . import recorded
from .board_sections import Section, sections
from .fleet_view import FleetView, sse
from .past import FIGURES, figures
from .row import uptime_zero

_TICK_S = 0.25
_HEARTBEAT_S = 5.0
_MAX_CONSOLE = 32 * 1024  # characters that wait for a viewer
# A graph's figure in the board's own history, which has neither garbage nor the longest steps.
_STORED = {"live": "memory", "cpu": "cpu", "fragmentation": "fragmentation"}
_FETCHED = ("memory", "cpu")  # the board stores no fragmentation: its points are of samples
Points = list[tuple[float, float]]


class BoardView:
    """What one viewer is sent of the board at an address: messages() until it goes."""

    def __init__(self, fleet: FleetView, address: str, recording: Path | None) -> None:
        self._fleet = fleet
        self._address = address
        self._board: Board | None = None
        self._sent: dict[str, object] = {}
        self._point: object = None
        self._console = Printable()
        self._printed = ""
        self._history_came = False
        self._recording = recording
        self._recorded: recorded.Series = {}

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the sections that differ from what was sent, as Server-Sent Events."""
        last = 0.0
        async with contextlib.AsyncExitStack() as following:
            while not self._fleet.ended:
                watched = self._fleet.find(self._address)  # those of a broker come and go
                board = None if watched is None else watched.board
                if board is not self._board:
                    await following.aclose()
                    self._board = board
                    if board is not None:
                        await following.enter_async_context(self._followed(board))
                        yield sse("begin", {})
                        yield sse("history", self._history(board))
                changed = self._changed(board)
                if changed:
                    last = time.monotonic()
                    yield sse("board", changed)
                elif time.monotonic() - last > _HEARTBEAT_S:
                    last = time.monotonic()
                    yield sse("alive", {})
                if self._printed:
                    text, self._printed = self._printed, ""
                    yield sse("console", {"text": text})
                if self._history_came:
                    self._history_came = False
                    if board is not None:
                        yield sse("history", self._history(board))
                await asyncio.sleep(_TICK_S)

    @contextlib.asynccontextmanager
    async def _followed(self, board: Board) -> AsyncIterator[None]:
        """Follow what a board prints and its meters, and read its history, during the block."""
        self._console, self._printed = Printable(), ""
        work = (self._follow_console(board), self._meter(board), self._read_history(board))
        tasks = [asyncio.create_task(each) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_console(self, board: Board) -> None:
        async with contextlib.aclosing(board.console()) as pieces:
            async for text in pieces:
                # The end only: a viewer who does not read must not fill the memory.
                self._printed = (self._printed + self._console.feed(text))[-_MAX_CONSOLE:]

    async def _meter(self, board: Board) -> None:
        """Have a board send its meters while it is looked at, once it decides anyway."""
        while True:
            if board.connected and board.limits.max_operations is not None:
                with contextlib.suppress(BoardError):
                    async with board.metering():
                        await asyncio.Event().wait()
            await asyncio.sleep(1.0)

    async def _read_history(self, board: Board) -> None:
        if self._recording is not None:
            self._recorded = await asyncio.to_thread(
                recorded.read, self._recording, self._address, time.time()
            )
        with contextlib.suppress(BoardError):  # an agent without a history will do
            await board.fetch_history(_FETCHED, ("mean",))
        self._history_came = True

    def _history(self, board: Board) -> Section:
        """Return the points of each graph, as far back as they are known."""
        past = self._fleet.past(self._address)
        zero = uptime_zero(board.status)
        series: dict[str, Points] = {}
        for name in FIGURES:
            recent = past.series(name)
            begin = recent[0][0] if recent else float("inf")
            stored = _joined(self._recorded.get(name, []), _stored(board.history, name, zero))
            series[name] = [
                (round(at, 1), _rounded(value))
                for at, value in [*(each for each in stored if each[0] < begin), *recent]
            ]
        return {"series": series}

    def _changed(self, board: Board | None) -> Section:
        found = self._sections(board)
        changed = {
            name: value for name, value in found.items() if self._sent.get(name, ...) != value
        }
        self._sent.update(changed)
        status = None if board is None else board.status
        if board is not None and board.connected and status is not self._point:
            self._point = status
            assert status is not None
            if status.last_updated is not None:
                at = round(status.last_updated.timestamp(), 1)
                changed["point"] = [
                    at,
                    *(None if each is None else _rounded(each) for each in figures(status)),
                ]
        return changed

    def _sections(self, board: Board | None) -> Section:
        found = self._fleet.row(self._address)
        row = None if found is None else {**asdict(found[0]), "since": round(found[1], 1)}
        return {"row": row, **({} if board is None else sections(board))}


def _stored(history: History, name: str, zero: float | None) -> Points:
    metric = _STORED.get(name)
    if metric is None or zero is None:
        return []
    return [(zero + at, value) for at, value in history.points(metric)]


def _joined(record: Points, stored: Points) -> Points:
    """Return what was recorded, and before and after it what the board stored."""
    if not record:
        return stored
    begin, end = record[0][0], record[-1][0]
    return [
        *(each for each in stored if each[0] < begin),
        *record,
        *(each for each in stored if each[0] > end),
    ]


def _rounded(value: float) -> float:
    return round(value) if abs(value) >= 1000 else round(value, 4)
