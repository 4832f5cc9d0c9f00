"""`boardwarden serve`: follows boards, and exports what their mirrors hold, until cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from boardwarden.transport import transport_for

from .followers import Follower
from .prometheus import scraped
from .watched import Watched

if TYPE_CHECKING:
    from .fleet import Fleet


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:9477", "[::1]:9477" or ":9477", which is every interface.

    Raises ValueError.
    """
    host, colon, digits = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # IPv6 needs brackets: else it is unclear where the port begins
    if not (colon and digits.isascii() and digits.isdigit() and int(digits) <= 65_535):
        raise ValueError(f"{text!r} is not an address to listen on, such as 127.0.0.1:9477.")
    return host or "0.0.0.0", int(digits)


def check_boards(addresses: Sequence[str]) -> None:
    """Check the addresses; each labels the series of its board, so it is there once.

    Raises AddressError for one that means nothing, ValueError for one that is there twice.
    """
    for address in addresses:
        transport_for(address)
    twice = next((each for each in addresses if addresses.count(each) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is named twice; name each board once.")


async def serve(
    addresses: Sequence[str],
    listen: tuple[str, int],
    collector: str | None,
    serving: Callable[[str], None],
    followers: Sequence[Follower] = (),
) -> None:
    """Serve until cancelled; call serving(url) once it does. `collector` is where OTLP goes.

    Raises OSError where it cannot listen, AddressError or SimulatorMissing for a board that can
    never be there; one that is only away is exported as down.
    """
    boards = [Watched(address, followers, collector is not None) for address in addresses]
    follow = [board.follow for board in boards]
    await _serve(boards, follow, listen, collector, serving, followers)


async def serve_fleet(
    fleet: Fleet,
    listen: tuple[str, int],
    collector: str | None,
    serving: Callable[[str], None],
    followers: Sequence[Follower] = (),
) -> None:
    """Serve the boards of a broker, as serve() does; none of them need be there."""
    fleet.pushes = collector is not None
    fleet.followers = followers
    await _serve(fleet, [fleet.follow], listen, collector, serving, followers)


async def _serve(
    boards: Iterable[Watched],
    follow: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    listen: tuple[str, int],
    collector: str | None,
    serving: Callable[[str], None],
    followers: Sequence[Follower],
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        url = stack.enter_context(scraped(*listen, boards))
        for follower in followers:
            await stack.enter_async_context(follower)
        async with _followed(follow) as following:
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
async def _followed(
    follow: Sequence[Callable[[], Coroutine[Any, Any, None]]],
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Follow boards while the block runs."""
    tasks = [asyncio.create_task(each()) for each in follow]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
