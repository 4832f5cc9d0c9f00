"""A transport in memory, which tests can damage and cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from boardwarden.errors import LinkLost


class Peer(Protocol):
    """What sits at the other end of a FakeTransport."""

    send: Callable[[bytes], None]

    def receive(self, data: bytes) -> None:
        """Process what the host sent."""
        ...

    def step(self, now: float) -> float:
        """Do what is due at `now` (the loop's clock); return the seconds until the next step."""
        ...


class FakeTransport:
    """A transport to a Peer in memory; `to_host` and `to_board` may damage what passes.

    cut() breaks the link; `refuse` is raised by the next open() if it is set. `opened` counts.
    """

    def __init__(self, peer: Peer, address: str = "fake") -> None:
        self.address = address
        self.peer = peer
        self.opened = 0
        self.refuse: Exception | None = None
        self.to_host: Callable[[bytes], Iterable[bytes]] = lambda data: (data,)
        self.to_board: Callable[[bytes], Iterable[bytes]] = lambda data: (data,)
        self._incoming = bytearray()
        self._data_event = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and let the peer live until close()."""
        if self.refuse is not None:
            raise self.refuse
        self.opened += 1
        self._incoming.clear()
        self._data_event.clear()
        self.peer.send = self._from_peer
        self._life = asyncio.create_task(self._live())

    async def read(self) -> bytes:
        """Wait for what the peer sends; b"" when the link is cut."""
        await self._data_event.wait()
        if self._life is not None:
            self._data_event.clear()
        data = bytes(self._incoming)
        self._incoming.clear()
        return data

    async def write(self, data: bytes) -> None:
        """Hand data to the peer, damaged as to_board has it."""
        if self._life is None:
            raise LinkLost("The fake link is cut.")
        for piece in self.to_board(data):
            self.peer.receive(piece)

    async def close(self) -> None:
        """Cut the link."""
        self.cut()

    def cut(self) -> None:
        """Break the link, as when a cable is pulled."""
        if self._life is not None:
            self._life.cancel()
            self._life = None
        self.peer.send = lambda data: None
        self._data_event.set()

    def _from_peer(self, data: bytes) -> None:
        for piece in self.to_host(data):
            self._incoming += piece
        if self._incoming:  # b"" would be a link that is cut
            self._data_event.set()

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            pause_s = self.peer.step(loop.time())
            await asyncio.sleep(pause_s)
