"""A board that is followed for as long as this program runs, whether it is there or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from boardwarden import AddressError, Board, BoardError, SimulatorMissing, connect

from .snapshot import Snapshot, snapshot

_PAUSE_S = (1.0, 15.0)  # before connecting is tried again: at first, at most
_log = logging.getLogger(__name__)


class Watched:
    """follow() in a task; snapshot() from any thread, without I/O."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._board: Board | None = None
        # Replaced, never changed: another thread may be reading. The boot, its events, those lost.
        self._counted: tuple[int | None, Mapping[str, int], int] = (None, {}, 0)

    def snapshot(self) -> Snapshot:
        """Return what the board's mirror holds now."""
        board = self._board
        boot, events, missed = self._counted
        if board is None or board.status.board.boot_id != boot:
            events, missed = {}, 0
        return snapshot(self.address, board, events, missed)

    async def follow(self) -> None:
        """Connect, again and again until that works, and stay connected until cancelled.

        Raises AddressError or SimulatorMissing where trying again makes no sense.
        """
        pause, said = _PAUSE_S[0], ""
        while True:
            try:
                async with connect(self.address) as board:
                    self._board = board
                    await self._count(board)
            except (AddressError, SimulatorMissing):
                raise
            except BoardError as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("%s It is tried again.", said)
            finally:
                self._board = None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_S[1])

    async def _count(self, board: Board) -> None:
        """Count the events of the boot that it is in; from the link's loss on, Board reconnects."""
        async for event in board.events():
            boot, counts, missed = self._counted
            now = board.status.board.boot_id
            if now != boot:
                counts, missed = {}, 0
            counts = {**counts, event.kind: counts.get(event.kind, 0) + 1}
            self._counted = (now, counts, missed + event.missed)
