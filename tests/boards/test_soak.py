"""Many boards behind one recorder, in trouble at random.

Each is killed, frozen, flooded with noise and with valid frames, and has its disk full; the host's
clock is set, and the recording locked. At the end each mirror equals its board, the recording has
each sample that came, memory is flat and no process is left. Its long form, 60 boards for 20
minutes, is run by `make soak`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import resource
import signal
import socket
import sqlite3
import time
from array import array
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import campaign
import pytest
from free_ports import free_port
from places import APPS
from virtual_time import until

import boardwarden
from boardwarden import Board, BoardError, Denied, Priority, ResourceType
from boardwarden._protocol import messages
from boardwarden._protocol.link import frame
from boardwarden.recording.reading import Recording
from boardwarden.recording.recorder import Recorder
from boardwarden.recording.store import Rotation, Store
from boardwarden.transport.sim import board_path, find_micropython

BOARDS = campaign.of(60, 6)
SECONDS = campaign.of(20 * 60, 25)
_LIMIT_S = 30.0  # until all is in order again
_SEED = 20
_GROWTH_BYTES = 12_000_000  # of the host, from the half of the time to its end


class SoakBoard:
    """The unix port with the application `lends`, in a folder and at a TCP port of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = port
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.process: asyncio.subprocess.Process | None = None

    async def on(self) -> None:
        """Switch it on; wait until it listens."""
        self.process = await asyncio.create_subprocess_exec(
            find_micropython(),
            *(str(APPS / "lends.py"),),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "MICROPYPATH": board_path(), "PORT": str(self.port)},
            restore_signals=False,  # SIGXFSZ stays ignored: see full()
        )
        assert self.process.stdout is not None
        assert await asyncio.wait_for(self.process.stdout.readline(), _LIMIT_S) == b"listening\n"

    async def off(self) -> None:
        """Take its power away."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            await process.wait()

    def is_left(self) -> bool:
        """Return whether a process still listens where it did."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def held(self) -> tuple[int, int]:
        """How many leases and operations the board itself says that it has."""
        leases, operations = (self.folder / "held").read_text().split()
        return int(leases), int(operations)

    # --- what happens to it ---------------------------------------------------------------------

    async def kill(self, chance: random.Random, board: Board) -> None:
        """It loses its power."""
        await self.off()
        await asyncio.sleep(chance.uniform(0, 2))
        await self.on()

    async def freeze(self, chance: random.Random, board: Board) -> None:
        """It hangs for some seconds."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(chance.uniform(0.1, 6))
        self.process.send_signal(signal.SIGCONT)

    async def noise(self, chance: random.Random, board: Board) -> None:
        """A stranger sends what it likes."""
        async with _stranger(self.port) as (_, writer):
            for _ in range(chance.randrange(20)):
                writer.write(chance.choice([b"\xc0", b"", b"GET"]) + chance.randbytes(200))
                await asyncio.wait_for(writer.drain(), 1)
            await asyncio.sleep(chance.uniform(0, 3))

    async def flood(self, chance: random.Random, board: Board) -> None:
        """A stranger sends valid frames, as many as the line takes."""
        host_id = chance.randrange(1, 1 << 16)
        frames = frame(messages.subscribe(host_id)), frame(messages.keepalive(host_id, 0))
        end = time.monotonic() + chance.uniform(0, 2)
        async with _stranger(self.port) as (reader, writer):
            while time.monotonic() < end:
                writer.write(chance.choice(frames) * 20)
                await asyncio.wait_for(writer.drain(), 1)
                await asyncio.wait_for(reader.read(1 << 16), 1)

    async def full(self, chance: random.Random, board: Board) -> None:
        """Its disk takes nothing more for a while, in which it is to store its policy."""
        assert self.process is not None
        limit = resource.RLIMIT_FSIZE
        resource.prlimit(self.process.pid, limit, (0, resource.RLIM_INFINITY))
        with contextlib.suppress(BoardError):
            await board.save_policy()
        await asyncio.sleep(chance.uniform(0, 2))
        resource.prlimit(self.process.pid, limit, (resource.RLIM_INFINITY,) * 2)

    async def lend(self, chance: random.Random, board: Board) -> None:
        """The host has it grant and take back."""
        with contextlib.suppress(BoardError):
            lease = await board.allocate(
                ResourceType.MEMORY, 64, ttl=chance.uniform(0.2, 5), priority=Priority.LOW
            )
            if chance.random() < 0.5:
                await board.release(lease.id)

    async def work(self, chance: random.Random, board: Board) -> None:
        """The host begins an operation."""
        with contextlib.suppress(BoardError, Denied):
            await board.begin("soak", timeout=chance.uniform(0.2, 5))


@contextlib.asynccontextmanager
async def _stranger(
    port: int,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Something else connects to a board for a while; that the board ends it is no error."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), _LIMIT_S)
    try:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            yield reader, writer
    finally:
        writer.transport.abort()


async def _trouble(one: SoakBoard, board: Board, seed: int, end: float) -> None:
    """Do one thing after the other to a board until the end."""
    chance = random.Random(seed)
    kinds = (one.kill, one.freeze, one.noise, one.flood, one.full, one.lend, one.lend, one.work)
    while time.monotonic() < end:
        await chance.choice(kinds)(chance, board)
        await asyncio.sleep(chance.uniform(0, 1))


async def _lock(path: Path, seed: int, end: float) -> None:
    """Another program has the recording locked, now and then for longer than is waited for."""
    chance = random.Random(seed)
    while time.monotonic() < end:
        await asyncio.sleep(chance.uniform(1, 5))
        other = sqlite3.connect(path, isolation_level=None)
        with contextlib.suppress(sqlite3.OperationalError):
            other.execute("BEGIN IMMEDIATE")
            await asyncio.sleep(chance.uniform(0, 1.5))
            other.execute("ROLLBACK")
        other.close()


async def _set_clock(monkeypatch: pytest.MonkeyPatch, end: float) -> None:
    """Somebody sets the host's clock, forward and back by up to a day."""
    chance = random.Random(_SEED)
    real = time.time
    offset_s = 0.0
    monkeypatch.setattr(time, "time", lambda: real() + offset_s)
    while time.monotonic() < end:
        await asyncio.sleep(chance.uniform(1, 5))
        offset_s = chance.uniform(-86_400, 86_400)


def _resident_bytes() -> int:
    gc.collect()
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _differing(fleet: list[SoakBoard], boards: list[Board]) -> list[str]:
    """Return in what mirrors differ from their boards."""
    found = []
    for one, board in zip(fleet, boards, strict=True):
        mirrored = (len(board.allocations), len(board.operations))
        if not board.connected or mirrored != one.held:
            found.append(f"{one.folder.name}: {board.connected=} {mirrored=} {one.held=}")
    return found


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.timeout(SECONDS + 240)
async def test_after_any_trouble_each_mirror_equals_its_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = [
        SoakBoard(tmp_path / f"board{port}", port) for port in (free_port() for _ in range(BOARDS))
    ]
    store = Store(tmp_path / "a.db", Rotation())
    stop = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        for one in fleet:
            stack.push_async_callback(one.off)
        await asyncio.gather(*(one.on() for one in fleet))
        opening = (boardwarden.connect(one.address, timeout=_LIMIT_S) for one in fleet)
        boards = list(await asyncio.gather(*map(stack.enter_async_context, opening)))
        store.open()
        stack.callback(store.close)
        recorder = Recorder(
            store, {one.address: each for one, each in zip(fleet, boards, strict=True)}
        )
        recording = asyncio.create_task(recorder.run(stop))
        # What comes before they follow is not theirs to record.
        await until(lambda: all(each.samples for each in recorder.followers), _LIMIT_S)
        came = {one.address: array("q") for one in fleet}
        noting = [
            asyncio.create_task(_note(each, came[one.address]))
            for one, each in zip(fleet, boards, strict=True)
        ]
        end = time.monotonic() + SECONDS
        trouble = [
            asyncio.create_task(_trouble(one, each, _SEED + number, end))
            for number, (one, each) in enumerate(zip(fleet, boards, strict=True))
        ]
        trouble.append(asyncio.create_task(_lock(store.path, _SEED, end)))
        trouble.append(asyncio.create_task(_set_clock(monkeypatch, end)))
        await asyncio.sleep(SECONDS / 2)
        resident = _resident_bytes()
        await asyncio.gather(*trouble)
        settled = time.monotonic() + _LIMIT_S
        while differ := _differing(fleet, boards):
            assert time.monotonic() < settled, differ
            await asyncio.sleep(0.1)
        assert not recording.done()
        for task in noting:
            task.cancel()
        stop.set()
        await recording
        grown = _resident_bytes() - resident
        assert grown < _GROWTH_BYTES, grown
    assert not any(one.is_left() for one in fleet)
    with Recording(store.path) as found:
        spans = found.spans()
        assert {span.address for span in spans} == {one.address for one in fleet}
        assert len(spans) > BOARDS  # some restarted
        recorded: defaultdict[str, set[int]] = defaultdict(set)
        for span in spans:
            recorded[span.address].update(
                round(sample.uptime_s * 1000) for sample in found.samples(span, ())
            )
    assert sum(map(len, came.values())) > BOARDS * SECONDS
    lost = {address: set(uptimes) - recorded[address] for address, uptimes in came.items()}
    assert not any(lost.values()), lost


async def _note(board: Board, came: array[int]) -> None:
    """Note the uptime of each sample that comes, in little memory."""
    async for status in board.updates(every=True):
        if status.cpu.uptime_s is not None:
            came.append(round(status.cpu.uptime_s * 1000))
