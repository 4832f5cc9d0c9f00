"""What a steady board sends, made by the agent's own code on CPython, and boards that mirror it."""

from __future__ import annotations

import asyncio
import sys
from array import array
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from boardwarden.board import Board
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

REPO = Path(__file__).resolve().parents[2]
_STEADY = {"threads": 1, "largest_free_block_bytes": 40_000, "connected": 1, "rssi_dbm": -61}

_RESERVE = 48  # bytes, as the agent sends what is no ALIVE


def _word(figure: int | None) -> int:
    """A figure as the board's sample has it: see warden_schema.plain."""
    return -0x40000000 if figure is None else figure


def _agent_modules() -> tuple[Any, Any]:
    """The agent's table of the sample and its uplink, which need no board."""
    if "micropython" not in sys.modules:
        stand_in = ModuleType("micropython")
        stand_in.const = lambda value: value  # type: ignore[attr-defined]
        sys.modules["micropython"] = stand_in
    if str(REPO / "device") not in sys.path:
        sys.path.insert(0, str(REPO / "device"))
    return import_module("warden.sample_table"), import_module("warden.uplink")


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
        table, uplink = _agent_modules()
        self._wire = _Wire()
        self._uplink = uplink.Uplink(self._wire)
        self._uplink.seq = seq & 0xFFFF
        figures: dict[str, Any] = {**FakeBoard().values, **_STEADY}
        self._values = array("i", [_word(figures.get(name)) for name in ids.SAMPLE_VALUES])
        self._place = {name: place for place, name in enumerate(ids.SAMPLE_VALUES)}
        self._sample = table.Sample(self._values)
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
            self._values[self._place[name]] = value
        self._sample.renew(True)
        length = self._sample.encode(0, self._uplink)
        if not self._uplink.send(length, _RESERVE):
            raise RuntimeError("the link in memory did not take a frame")
        self._sample.sent()
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
        self.board._session.received(data)

    def forget_peer(self) -> None:
        """Keep nothing of the board's side, so that memory is the host's."""
        del self._peer


async def connected(count: int) -> tuple[list[Mirrored], list[Steady]]:
    boards = [Mirrored() for _ in range(count)]
    streams = [await mirrored.connect() for mirrored in boards]
    return boards, streams


async def close(boards: list[Mirrored]) -> None:
    await asyncio.gather(*(mirrored.board.close() for mirrored in boards))
