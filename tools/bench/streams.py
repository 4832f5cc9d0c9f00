"""What a steady board sends, made by the agent's own code on CPython, and boards that mirror it."""

from __future__ import annotations

import asyncio
from array import array
from typing import Any

from boardwarden.board import Board
from boardwarden.replaying import agent
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

_STEADY = {"threads": 1, "largest_free_block_bytes": 40_000, "connected": 1, "rssi_dbm": -61}


class _Wire:
    """A link that keeps what is written."""

    window = 0

    def __init__(self) -> None:
        self.data = b""

    def write(self, buf: bytearray, start: int, end: int) -> int:
        self.data += buf[start:end]
        return end - start


class Steady:
    """A board whose uptime, free memory, load and lag change with each sample, by little."""

    def __init__(self, seq: int) -> None:
        self._wire = _Wire()
        self._uplink = agent.load("uplink").Uplink(self._wire)
        self._uplink.seq = seq & 0xFFFF
        self._sample = agent.load("setup").make_sample()
        self._sample.last = array("i", self._sample.figures)
        figures: dict[str, Any] = {**FakeBoard().values, **_STEADY}
        for name in ids.SAMPLE_VALUES:
            agent.put_figure(self._sample, name, figures.get(name))
        self._count = 0

    def frame(self) -> bytes:
        """The next sample's frame."""
        self._count += 1
        turn = self._count % 7
        for name, value in (
            ("uptime_s", 10 + self._count),
            ("uptime_ms", turn),
            ("free_bytes", 180_000 - 96 * turn),
            ("cpu_permille", 120 + turn),
            ("loop_lag_ms", turn // 3),
        ):
            agent.put_figure(self._sample, name, value)
        self._sample.encode(0, self._uplink)
        if not self._uplink.send():
            raise RuntimeError("the link in memory did not take a frame")
        self._sample.on_sent(0)
        data, self._wire.data = self._wire.data, b""
        return data


class Mirrored:
    """A Board over a link in memory, all of whose state has come; the other end then is silent."""

    def __init__(self) -> None:
        self._peer = FakeBoard()
        self.board = Board(FakeTransport(self._peer))

    async def connect(self) -> Steady:
        """Return what the board sends from now on; hand it to `receive`."""
        await self.board._session.start(10.0)
        stream = Steady(self._peer.seq + 1)
        self._peer.mute = True
        return stream

    def receive(self, data: bytes) -> None:
        self.board._session.link.on_data(data)

    def forget_peer(self) -> None:
        """Keep nothing of the board's side, so that memory is the host's."""
        del self._peer


async def connected(count: int) -> tuple[list[Mirrored], list[Steady]]:
    boards = [Mirrored() for _ in range(count)]
    streams = [await mirrored.connect() for mirrored in boards]
    return boards, streams


async def close(boards: list[Mirrored]) -> None:
    await asyncio.gather(*(mirrored.board.close() for mirrored in boards))
