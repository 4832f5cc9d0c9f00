"""Records boards: followers add rows, which are committed twice a second."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping

from boardwarden.board import Board
from boardwarden.errors import RecordingError
from boardwarden.history import Gap

from .follower import Follower
from .schema import Locked, Row
from .store import Store

COMMIT_S = 0.5  # between two commits; with the commit itself, less than a second may be lost
MAX_PENDING = 200_000  # rows that wait while another program has the file locked


class Recorder:
    """Writes what these boards (by address) send into an open store.

    `each_commit` is called after each commit, and each half second without one; `on_news`
    when a board's link is lost, or there, and when a board has restarted; `on_gap` when it was
    read what a board's own history has of a time without samples. `locked` is why nothing
    is written at present, else "".
    """

    def __init__(
        self,
        store: Store,
        boards: Mapping[str, Board],
        interval: float | None = None,
        each_commit: Callable[[Recorder], None] = lambda recorder: None,
        on_news: Callable[[Follower], None] = lambda follower: None,
        on_gap: Callable[[Follower, Gap], None] = lambda follower, gap: None,
    ) -> None:
        self.store = store
        self.began_at = time.monotonic()
        self._each_commit = each_commit
        self._interval = interval
        self._on_news = on_news
        self._on_gap = on_gap
        self._pending: list[Row] = []
        self._rotations = 0
        self.locked = ""
        self._following: list[asyncio.Task[None]] = []  # as many of the followers as were begun
        self.followers: list[Follower] = []
        for address, board in boards.items():
            self.add(address, board)

    def add(self, address: str, board: Board) -> None:
        """Record another board, too."""
        callbacks = (self._on_news, self._on_gap, self.store.recorded)
        self.followers.append(
            Follower(address, board, self._pending_row, self._interval, *callbacks)
        )

    async def run(self, stop: asyncio.Event, seconds: float | None = None) -> None:
        """Record until `stop` is set or the seconds are over; RecordingError if it cannot write."""
        ending = asyncio.create_task(_wait(stop, seconds))
        try:
            while not ending.done():
                for follower in self.followers[len(self._following) :]:
                    self._following.append(asyncio.create_task(follower.run()))
                await asyncio.wait({ending, *self._following}, timeout=COMMIT_S)
                for task in self._following:
                    if task.done():
                        task.result()
                        raise RuntimeError("a board was closed while it was recorded")
                await self._commit()
            for follower in self.followers:
                follower.stop()
            await self._commit()
            if self.locked:  # to end in time matters more than what a lock keeps out
                raise RecordingError(f"{self.locked} {len(self._pending)} rows are not in it.")
        finally:
            tasks = (ending, *self._following)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _pending_row(self, row: Row) -> None:
        self._pending.append(row)

    async def _commit(self) -> None:
        """Write what is pending; where another program has locked the file, it stays so."""
        if self._pending:
            rows, self._pending = self._pending, []
            try:
                await _in_thread(self.store, rows)
                self.locked = ""
            except Locked as error:
                self._pending[:0] = rows  # more came meanwhile
                self.locked = str(error)
                if len(self._pending) > MAX_PENDING:
                    raise
            if self.store.rotations != self._rotations:
                self._rotations = self.store.rotations
                for follower in self.followers:
                    follower.again()
        self._each_commit(self)


async def _in_thread(store: Store, rows: list[Row]) -> None:
    """Write; also when this is cancelled, wait until the thread has done with the store."""
    writing = asyncio.ensure_future(asyncio.to_thread(store.write, rows))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def _wait(stop: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
