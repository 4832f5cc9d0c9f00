"""What else is done with each board that `serve` follows: notices, Home Assistant."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from boardwarden import Board


class Follower(AbstractAsyncContextManager[Any], Protocol):
    """Is entered before the boards are followed, and left after that has ended."""

    async def follow(self, address: str, board: Board) -> None:
        """Follow a board until cancelled; called each time that it was connected to anew."""
        ...

    def forget(self, address: str) -> None:
        """Its broker does not know the board any more."""
        ...
