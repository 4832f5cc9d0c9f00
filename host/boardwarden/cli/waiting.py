"""Progress: what a command is waiting for, once that takes more than a second."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable

from boardwarden import board as boards
from boardwarden.board import Board

_PATIENCE_S = 1.0


@contextlib.asynccontextmanager
async def connect(address: str) -> AsyncIterator[Board]:
    """Connect to a board as boardwarden.connect() does, and tell that it takes long."""
    async with contextlib.AsyncExitStack() as stack:
        async with waiting(f"connecting to {address}"):
            board = await stack.enter_async_context(boards.connect(address))
        yield board


@contextlib.asynccontextmanager
async def waiting(what: str) -> AsyncIterator[Callable[[], object]]:
    """Tell on standard error, if it is a terminal, what is waited for.

    It is gone with the block, or soon after what is yielded is called.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    telling = asyncio.create_task(_tell(what))
    try:
        yield telling.cancel
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


def answer() -> contextlib.AbstractAsyncContextManager[Callable[[], object]]:
    """Return waiting() for what a board is asked."""
    return waiting("waiting for the board's answer")


async def _tell(what: str) -> None:
    await asyncio.sleep(_PATIENCE_S)
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(f"{escape(what)} …"):
        await asyncio.Event().wait()
