"""`boardwarden serve`: follows boards, and hands out what their mirrors hold, until cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from .prometheus import scraped
from .watched import Watched


async def serve(
    addresses: Sequence[str],
    listen: tuple[str, int],
    collector: str | None,
    serving: Callable[[str], None],
) -> None:
    """Serve until cancelled; call serving(url) once it does. `collector` is where OTLP goes.

    Raises OSError where it cannot listen, AddressError or SimulatorMissing for a board that can
    never be there; one that is only away is told as down.
    """
    boards = [Watched(address) for address in addresses]
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(scraped(*listen, boards))
        async with _followed(boards) as following:
            # Left before the boards are: the last that is pushed is how they were, not that they
            # are gone.
            with contextlib.ExitStack() as inner:
                if collector is not None:
                    from .otlp import pushed

                    inner.enter_context(pushed(collector, boards))
                serving(url)
                done, _ = await asyncio.wait(following, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()


@contextlib.asynccontextmanager
async def _followed(boards: Sequence[Watched]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Follow the boards while the block runs."""
    tasks = [asyncio.create_task(board.follow()) for board in boards]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
