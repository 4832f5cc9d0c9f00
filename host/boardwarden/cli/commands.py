"""What the commands do, each over one connection."""

from __future__ import annotations

from boardwarden._program import print_json, print_rows
from boardwarden.render.status import status_rows, trend_rows

from .follow import settled
from .terminal import connect, waiting


async def status(address: str, as_json: bool) -> None:
    """Print the board's state once."""
    async with connect(address) as board:
        async with waiting("waiting for the load of a whole interval"):
            now = await settled(board)
        if as_json:
            print_json(now.to_dict())
        else:
            print_rows(status_rows(now, board.capabilities))


async def trends(address: str, period: float, as_json: bool) -> None:
    """Print where the figures went, from the board's own history."""
    async with connect(address) as board:
        async with waiting("reading the board's history"):
            await board.fetch_history()
        found = board.trends(period)
        if as_json:
            print_json(found.to_dict())
        else:
            print_rows(trend_rows(found))


async def capabilities(address: str, as_json: bool) -> None:
    """Print what the board can tell, and why not where it cannot."""
    async with connect(address) as board:
        known = board.capabilities
        if as_json:
            print_json({name: capability.to_dict() for name, capability in known.items()})
        else:
            print_rows(
                (name, "yes" if capability.available else f"no: {capability.reason}")
                for name, capability in known.items()
            )


async def console(address: str, as_json: bool) -> None:
    """Print what the application prints, until interrupted."""
    async with connect(address) as board:
        async for text in board.console():
            if as_json:
                print_json({"text": text})
            else:
                print(text, end="", flush=True)
