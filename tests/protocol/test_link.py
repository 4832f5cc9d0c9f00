"""What a link writes, when and in which order, where its transport can write at once, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from virtual_time import run

from boardwarden._protocol.link import Deframer, Link
from boardwarden.testing import FakeBoard, FakeTransport


class Listener:
    """Stands in for a session."""

    def on_open(self) -> None: ...

    def on_received(self, items: list[bytes | str]) -> None: ...

    def on_lost(self) -> None: ...


class AtOnce(FakeTransport):
    """A transport that can write without waiting; write() waits while it `takes` nothing."""

    def __init__(self, peer: FakeBoard) -> None:
        super().__init__(peer)
        self.takes = asyncio.Event()
        self.takes.set()
        self.offered = 0

    async def receive(self, received: Callable[[bytes], None]) -> None:
        while data := await self.read():
            received(data)

    def offer(self, data: bytes) -> bool:
        self.offered += 1
        if not self.takes.is_set():
            return False
        for piece in self.to_board(data):
            self.peer.receive(piece)
        return True

    async def write(self, data: bytes) -> None:
        await self.takes.wait()
        await super().write(data)


async def opened(
    kind: type[FakeTransport], sign: Callable[[bytes], bytes | None] = lambda payload: payload
) -> tuple[Link, Any, list[bytes]]:
    """Return a link, its transport, and what the board gets."""
    peer: Any = FakeBoard()
    came: list[bytes] = []
    peer.receive = came.append
    transport = kind(peer)
    link = Link(transport, Listener(), sign)
    await link.open()
    return link, transport, came


def payloads(came: list[bytes]) -> list[bytes | str]:
    return [item for data in came for item in Deframer().feed(data)]


def soon() -> float:
    return asyncio.get_running_loop().time() + 5.0


def test_what_could_be_written_at_once_does_not_overtake_what_waits() -> None:
    async def main() -> None:
        link, transport, came = await opened(AtOnce)
        transport.takes.clear()
        first = asyncio.create_task(link.send(b"\x91a", soon()))
        await asyncio.sleep(0.1)
        transport.takes.set()  # before the one that waits goes on
        await link.send(b"\x91b", soon())
        await first
        await link.send(b"\x91c", soon())
        assert payloads(came) == [b"\x91a", b"\x91b", b"\x91c"]
        assert transport.offered == 2  # the first, and the last
        await link.close()

    run(main())


@pytest.mark.parametrize("kind", [FakeTransport, AtOnce])
def test_what_cannot_be_signed_any_more_is_not_written(kind: type[FakeTransport]) -> None:
    async def main() -> None:
        link, _, came = await opened(kind, lambda payload: None)
        await link.send(b"\x91a", soon())
        await link.send(b"\x91b")
        assert came == []
        await link.close()

    run(main())


@pytest.mark.parametrize("kind", [FakeTransport, AtOnce])
def test_what_is_sent_over_a_link_that_is_lost_is_dropped(kind: type[FakeTransport]) -> None:
    """Though its transport is open already, as while it opens again."""

    async def main() -> None:
        link, transport, came = await opened(kind)
        await link.close()
        await transport.open()
        await link.send(b"\x91a", soon())
        await link.send(b"\x91b")
        assert came == []
        await transport.close()

    run(main())
