"""Waiting for an agent that has just been started."""

from __future__ import annotations

import asyncio
import time

from boardwarden.board import connect
from boardwarden.errors import AtPrompt, ConnectError, VersionMismatch
from boardwarden.models import Identity

_TRY_S = 3.0
_PAUSE_S = 0.2  # a port may go and come back while a board starts


async def hello(address: str, timeout: float) -> Identity:
    """Return who answers at an address; raise the last ConnectError when nobody does in time."""
    end = time.monotonic() + timeout
    while True:
        try:
            async with connect(address, timeout=_TRY_S) as board:
                return board.status.board
        except VersionMismatch:
            raise
        except ConnectError as error:
            # A board at its prompt starts nothing any more; but it may have been seen before that.
            late = time.monotonic() >= (end - timeout / 2 if isinstance(error, AtPrompt) else end)
            if late:
                raise
        await asyncio.sleep(_PAUSE_S)
