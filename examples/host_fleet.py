"""Watches several boards at once: a line for each every second, an alarm when one is in trouble.

All of it comes from the mirrors, so a board is asked nothing: reading `status` does no I/O.

    python examples/host_fleet.py --live 0.5 sim sim:examples/cache.py tcp://192.0.2.7:8765
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import boardwarden
from boardwarden import Board

TELLING = ("threshold", "reset", "callback_failed")  # the events that somebody should see


def alarm(address: str, text: str) -> None:
    """Tell somebody: here you would send a message."""
    print(f"ALARM {address}: {text}", flush=True)


async def watch(address: str, limit: float, seen: dict[str, Board]) -> None:
    """Follow a board for ever; try again every three seconds while it is not there."""
    said = ""
    while True:
        try:
            async with boardwarden.connect(address) as board:
                seen[address] = board
                await asyncio.gather(
                    watch_memory(address, board, limit),
                    watch_link(address, board),
                    watch_events(address, board),
                )
        except boardwarden.AddressError:
            raise  # trying again makes no sense
        except boardwarden.ConnectError as error:
            if str(error) != said:
                said = str(error)
                alarm(address, said)
        await asyncio.sleep(3.0)


async def watch_memory(address: str, board: Board, limit: float) -> None:
    """Alarm once when more than `limit` of the heap is live; again only after it was well below."""
    high = False
    async for status in board.updates():
        live, total = status.memory.live_bytes, status.memory.total_bytes
        if live is None or not total:
            continue
        if live > limit * total and not high:
            alarm(address, f"{live / total:.0%} of its memory is live")
        high = live > (0.9 * limit if high else limit) * total


async def watch_link(address: str, board: Board) -> None:
    """Alarm when the board is lost; the library reconnects by itself."""
    connected = True
    async for _ in board.changes():
        if board.connected != connected:
            connected = board.connected
            alarm(address, "back" if connected else "lost")


async def watch_events(address: str, board: Board) -> None:
    """Pass on the events that deserve an alarm."""
    async for event in board.events():
        if event.kind in TELLING:
            alarm(address, f"{event.kind} {event.subject} {event.detail}")


async def tell(addresses: list[str], seen: dict[str, Board]) -> None:
    """Print a line for each board every second."""
    width = max(len(address) for address in addresses)
    while True:
        for address in addresses:
            print(f"{address:{width}}  {line(seen.get(address))}", flush=True)
        await asyncio.sleep(1.0)


def line(board: Board | None) -> str:
    """Return the figures of a board in a few words."""
    if board is None or not board.connected:
        return "not there"
    memory, cpu = board.status.memory, board.status.cpu
    live = "-" if memory.live_bytes is None else f"{memory.live_bytes / 1024:.0f} KB"
    load = "-" if cpu.usage is None else f"{cpu.usage:.0%}"
    return f"live {live:>8}  cpu {load:>4}  up {cpu.uptime_s or 0:.0f} s"


async def main() -> None:
    """Watch until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Watch boards, and alarm when one is in trouble.")
    parser.add_argument("addresses", nargs="+", help="such as sim, /dev/ttyACM0, tcp://host:port")
    parser.add_argument("--live", type=float, default=0.8, help="share of the heap, 0 to 1")
    given = parser.parse_args()
    seen: dict[str, Board] = {}
    watches = [watch(address, given.live, seen) for address in given.addresses]
    await asyncio.gather(tell(given.addresses, seen), *watches)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except boardwarden.AddressError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
