"""Waiting for an agent that has just been started."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from boardwarden.board import connect
from boardwarden.errors import AtPrompt, ConnectError, VersionMismatch
from boardwarden.models import Identity

_TRY_S = 3.0
_PROMPT_S = 6.0  # after that a board at its prompt has ended its start
_PAUSE_S = 0.2  # a port may go and come back while a board starts


async def hello(
    address: str, timeout: float, waited: Callable[[float], None] = lambda elapsed: None
) -> Identity:
    """Return who answers at an address; raise the last ConnectError when nobody does in time."""
    begin = time.monotonic()
    while True:
        waited(time.monotonic() - begin)
        try:
            async with connect(address, timeout=_TRY_S) as board:
                return board.status.board
        except VersionMismatch:
            raise
        except ConnectError as error:
            limit = min(_PROMPT_S, timeout) if isinstance(error, AtPrompt) else timeout
            if time.monotonic() - begin >= limit:
                raise
        await asyncio.sleep(_PAUSE_S)
