"""Invariant 5: an acknowledged request happened exactly once, over a link that loses a third.

The host's real session asks the real board code on MicroPython; time is virtual on both sides. What
took effect is read from the board's own tables and ids, not from replies.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import campaign
import msgpack
import pytest
from model.board import VirtualBoard
from virtual_time import run

from boardwarden._mirror import Mirror
from boardwarden._protocol.link import Deframer
from boardwarden._protocol.session import Session
from boardwarden.testing import FakeTransport
from warden_schema import ids

_WORKERS = ids.MAX_PENDING
_ROUNDS = campaign.of(125, short=32)  # of four requests each; more than half are sent again
_RETRIED = 8 * _ROUNDS
_LOST = 1 / 3
_STEP_S = 0.05  # the board looks so often at what is due
_PATIENCE_S = 120.0  # virtual; how often a third is lost in a row has no bound
_MEMORY = 0


class Board:
    """The other end of a FakeTransport: a board in a process of its own, and what it granted.

    `owners` and `operations` are all leases and operations that were ever seen in its tables;
    `came` counts the copies of each request that arrived.
    """

    def __init__(self, process: VirtualBoard) -> None:
        self.send: Callable[[bytes], None] = lambda data: None
        self.owners: dict[int, str] = {}
        self.operations: set[int] = set()
        self.state: dict[str, Any] = {}
        self.came: Counter[int] = Counter()
        self._process = process
        self._now = 0.0
        process.run([["new", _WORKERS, 0]])

    def receive(self, data: bytes) -> None:
        """Take a frame: each is looked at by itself, so nothing comes and goes unseen."""
        count(data, self.came)
        self._do(["receive", data.hex()])

    def step(self, now: float) -> float:
        """Let the board's time pass up to now."""
        self._do(["time", round((now - self._now) * 1000)])
        self._now = now
        return _STEP_S

    def _do(self, command: list[Any]) -> None:
        _, (_, self.state), (_, told) = self._process.run([command, ["poll"], ["sent"]])
        self.owners.update({row[0]: row[3] for row in self.state["leases"]})
        self.operations.update(row[0] for row in self.state["operations"])
        if told:
            self.send(bytes.fromhex(told))


def count(data: bytes, requests: Counter[int]) -> None:
    """Count the requests in what a host sent, by their ids."""
    for payload in Deframer(ids.MAX_REQUEST).feed(data):
        message = msgpack.unpackb(payload)
        if message[0] == ids.REQUEST:
            requests[message[2]] += 1


class Lossy:
    """Damage: loses a share of the frames; `sent` counts the requests that came by."""

    def __init__(self, seed: int) -> None:
        self.sent: Counter[int] = Counter()
        self._random = random.Random(seed)

    def to_board(self, data: bytes) -> Iterable[bytes]:
        count(data, self.sent)
        return self.to_host(data)

    def to_host(self, data: bytes) -> Iterable[bytes]:
        """Pass on what is not lost, frame by frame: no delimiter is ever inside one."""
        for frame in data.split(b"\xc0"):
            if frame and self._random.random() >= _LOST:
                yield b"\xc0" + frame + b"\xc0"


async def _work(session: Session, worker: int) -> list[tuple[str, int, int]]:
    """Make four requests, again and again; return the owner, lease and operation of each round."""

    async def ask(operation: int, *arguments: Any) -> Any:
        return await session.request(operation, *arguments, timeout=_PATIENCE_S)

    granted = []
    for number in range(_ROUNDS):
        owner = f"{worker}-{number}"
        lease = await ask(ids.ALLOCATE, _MEMORY, 100, owner, None, None, None)
        op, _ = await ask(ids.BEGIN, "op", None, None, 100, None)
        await ask(ids.RELEASE, lease)
        await ask(ids.COMPLETE, op)
        granted.append((owner, lease, op))
    return granted


async def _ask_all(board: Board, lossy: Lossy) -> list[tuple[str, int, int]]:
    transport = FakeTransport(board)
    transport.to_host, transport.to_board = lossy.to_host, lossy.to_board
    session = Session(transport, Mirror(), lambda text: None)
    await session.start(_PATIENCE_S)
    try:
        rounds = await asyncio.gather(*[_work(session, worker) for worker in range(_WORKERS)])
    finally:
        await session.close()
    return [each for worker in rounds for each in worker]


@pytest.fixture
def process() -> Iterator[VirtualBoard]:
    process = VirtualBoard()
    yield process
    process.close()


@pytest.mark.timeout(120)
def test_a_retried_request_happens_exactly_once(process: VirtualBoard) -> None:
    board, lossy = Board(process), Lossy(seed=3)
    granted = run(_ask_all(board, lossy), at_most=3600.0)
    assert len(granted) == _WORKERS * _ROUNDS
    assert sum(copies > 1 for copies in lossy.sent.values()) >= _RETRIED
    assert sum(copies > 1 for copies in board.came.values()) > 0  # the board did hear repeats
    # An id for each, none given out for anything else, and what was answered is what there was.
    assert sorted(board.owners) == list(range(1, 2 * len(granted) + 1))
    assert Counter(board.owners.values()) == {
        "op": len(granted),
        **{owner: 1 for owner, _, _ in granted},
    }
    assert all(board.owners[lease] == owner for owner, lease, _ in granted)
    assert sorted(op for _, _, op in granted) == sorted(board.operations)
    assert sorted(board.operations) == list(range(1, len(granted) + 1))
    # Each was given back once: a second RELEASE or COMPLETE would have been answered NOT_FOUND.
    assert board.state["leases"] == board.state["operations"] == []
    assert board.state["outstanding"] == [0] * 4
