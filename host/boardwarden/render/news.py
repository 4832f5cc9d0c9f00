"""What is told of a board's link while it is followed: each loss, return and restart, once."""

from __future__ import annotations

from collections.abc import Iterator

from boardwarden.board import Board

from .status import link_state
from .text import printable


class News:
    """Notes what was told already of a board; what came before it was made is not told.

    connected: whether the link was told to be there.
    """

    def __init__(self, board: Board, connected: bool = True) -> None:
        self._board = board
        self._connected = connected
        self._restarts = board.restart_count

    def lines(self) -> Iterator[str]:
        """Yield a line for a link that was lost or is back, and for each restart."""
        connected = self._board.connected
        if connected != self._connected:
            self._connected = connected
            yield link_state(self._board)
        yield from self.restarts()

    def restarts(self) -> Iterator[str]:
        """Yield a line for each restart, once its cause is here."""
        new, self._restarts = self._board.restart_count - self._restarts, self._board.restart_count
        for restart in self._board.restarts[-new:] if new else ():
            yield printable(str(restart))
