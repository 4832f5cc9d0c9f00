"""Fakes for tests: a board that speaks the protocol, one at its prompt, and a transport.

    board = FakeBoard()
    async with boardwarden.connect(FakeTransport(board)) as mirrored: ...

Nothing here talks to hardware. Simulating a real agent is the address "sim".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgpack

from warden_schema import ids
from warden_schema.frame import Deframer

from ._fake_policy import FakePolicy
from ._protocol.link import frame
from .errors import LinkLost

__all__ = ["FakeBoard", "FakePolicy", "FakePrompt", "FakeTransport", "Peer"]
SAMPLE = {
    "uptime_s": 10,
    "uptime_ms": 0,
    "interval_ms": 1000,
    "total_bytes": 240_000,
    "free_bytes": 180_000,
    "live_bytes": 50_000,
    "cpu_permille": 125,
    "loop_lag_ms": 2,
    "loop_lag_worst_ms": 9,
    "tasks": 3,
    "overhead_permille": 4,
    "link_bytes_per_s": 60,
    "dropped_frames": 0,
    "skipped_frames": 0,
    "bad_frames": 0,
    "wanted_interval_ms": 1000,
    "budget_permille": 10,
}
IDENTITY = ["fakeboard", "1.28.0", "fake", b"\x01\x02\x03\x04", "power_on", "0.1.0"]
ROW = ["/", 4096, 512, 400, 390]
_STEP_S = 0.1  # at most between two calls of step()

Arguments = list[Any]
Rows = list[list[Any]]


class FakeBoard:
    """Speaks docs/wire.md as the agent does, from figures that a test sets.

    `done` lists the requests it executed; `version` is the protocol's. `answer` maps an operation
    to what gives (code, value) for its arguments. `policy` is what it grants.
    """

    def __init__(self) -> None:
        self.send: Callable[[bytes], None] = lambda data: None
        self.version = (ids.PROTOCOL_MAJOR, ids.PROTOCOL_MINOR)
        self.places: list[list[Any]] | None = None  # of other hosts, where they have all there are
        self.boot_id = 1
        self.identity: list[Any] = list(IDENTITY)
        self.capabilities = bytes(len(ids.CAPABILITIES))
        self.values: dict[str, int | None] = dict(SAMPLE)
        self.rows: Rows = [list(ROW)]
        self.system_heap: list[int | None] | None = None  # an ESP32's: free, largest block, least
        self.interval_s = 0.0  # of samples by itself; 0: only those that sample() sends
        self.mute = False  # receives, but sends and does nothing
        self.done: list[tuple[int, Arguments]] = []
        self.policy = FakePolicy(self._send, self._uptime)
        self.answer: dict[int, Callable[[Arguments], tuple[int, Any]]] = {
            ids.PING: lambda arguments: (ids.OK, None),
            ids.START_MONITORING: self._start_monitoring,
            ids.COLLECT: self._collect,
            ids.STOP_MONITORING: self._stop_monitoring,
            ids.HISTORY_READ: lambda arguments: (ids.OK, [10, 1, 1, b"\x01\x00\xff\xff\x03\x00"]),
            **self.policy.answers,
        }
        self.power_up()

    def power_up(self) -> None:
        """Begin as after a reset, which no host sees; see restart()."""
        self.host_id: int | None = None
        self.events_from: int | None = None
        self.policy.reset()
        self.seq = 0
        self._replies: dict[int, tuple[int, Any]] = {}  # those of the host in _replies_to
        self._replies_to: int | None = None
        self._postponed: list[tuple[Any, ...]] | None = None
        self._deframer = Deframer(ids.MAX_REQUEST)
        self._now = self._received_at = self._sampled_at = 0.0
        self._sent = False

    def restart(self) -> None:
        """Reset: a new boot id, uptime from zero, and silence until a host subscribes."""
        self.power_up()
        self.boot_id += 1
        self.values["uptime_s"] = 0

    # --- what a test makes it do ----------------------------------------------------------------

    def sample(self, **values: int | None) -> None:
        """Take another sample, one second later, with these values changed."""
        self.values["uptime_s"] = (self.values["uptime_s"] or 0) + 1
        self.values.update(values)
        self.policy.sampled()
        self._send(ids.SAMPLE, self._figures())

    def store(self, index: int, row: list[Any]) -> None:
        """Change one row of storage."""
        self.rows[index] = row
        self._send_row(index)

    def measure_system_heap(self, free: int | None, largest: int | None, least: int | None) -> None:
        """Change the figures of the system heap."""
        self.system_heap = [free, largest, least]
        self._send(ids.SYSTEM_HEAP, *self.system_heap)

    def print(self, text: str) -> None:
        """Print, as an application does."""
        self.send(text.encode())

    def step(self, now: float) -> float:
        """Sample if it is time, and fall silent if the host did."""
        self._now = now
        if now - self._received_at > ids.SILENCE_MS / 1000:
            self.host_id = None
        if now - self._received_at > ids.HOST_SESSION_MS / 1000:
            self.policy.end_session()
        if self.interval_s and now - self._sampled_at >= self.interval_s:
            self._sampled_at = now
            self.sample()
        return min(self.interval_s or _STEP_S, _STEP_S)

    # --- what it receives -------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Process what the host sent; drop what is damaged."""
        at = 0
        while at < len(data):
            at = self._deframer.feed(data, at, len(data))
            length = self._deframer.length
            if length and not self.mute:
                with contextlib.suppress(ValueError):  # one damaged frame in 65 536 looks whole
                    self._message(msgpack.unpackb(bytes(self._deframer.payload[:length])))

    def _message(self, message: list[Any]) -> None:
        kind = message[0]
        if kind == ids.SUBSCRIBE:
            self.events_from = message[4] if len(message) > 4 else None
            self._subscribe(message[1], message[3])
        elif self.host_id is not None and message[1] == self.host_id:
            self._received_at = self._now
            if kind == ids.UNSUBSCRIBE:
                self.host_id = None
                self.policy.end_session()
            elif kind == ids.REQUEST:
                self._request(*message[2:5])
            elif kind == ids.KEEPALIVE and not self._sent:
                self._send(ids.ALIVE)
            self._sent = self._sent and kind != ids.KEEPALIVE

    def _subscribe(self, major: int, host_id: int) -> None:
        if major != self.version[0]:
            self._put(ids.REFUSED, self.seq, *self.version, host_id)
            return
        if self.places is not None:
            self._put(ids.REFUSED, self.seq, *self.version, host_id, self.places)
            return
        self._received_at = self._now
        if host_id != self._replies_to:  # not host_id: that is None again after a silence
            self._replies.clear()
        self.host_id = self._replies_to = host_id
        limits = [ids.MAX_PAYLOAD, ids.MAX_REQUEST, ids.MAX_PENDING, ids.MAX_MOUNTS]
        identity = (self.boot_id, self.identity, limits, self.capabilities)
        self._send(ids.HELLO, *self.version, host_id, *identity)
        for index in range(max(1, len(self.rows))):
            self._send_row(index)
        if self.system_heap is not None:
            self._send(ids.SYSTEM_HEAP, *self.system_heap)
        self.policy.send_all(self.events_from)
        self._send(ids.SAMPLE, self._figures())
        self._send(ids.SYNCED, host_id)

    def _request(self, request_id: int, operation: int, arguments: Arguments) -> None:
        """Execute a request once: a repeat gets the first answer again."""
        self._postponed = []  # what it changes is sent after the reply
        if request_id not in self._replies:
            newest = max(self._replies, default=request_id)
            if newest - request_id >= ids.MAX_PENDING:
                self._postponed = None
                return
            self.done.append((operation, arguments))
            answer = self.answer.get(operation)
            self._replies[request_id] = answer(arguments) if answer else (ids.UNKNOWN_REQUEST, None)
            for old in [i for i in self._replies if request_id - i >= ids.MAX_PENDING]:
                del self._replies[old]
        changed, self._postponed = self._postponed, None
        self._send(ids.REPLY, request_id, *self._replies[request_id])
        for message in changed:
            self._send(*message)

    def _start_monitoring(self, arguments: Arguments) -> tuple[int, Any]:
        interval_ms = arguments[0]
        if not ids.MIN_INTERVAL_MS <= interval_ms <= ids.MAX_INTERVAL_MS:
            return ids.BAD_ARGUMENTS, None
        self.values["interval_ms"] = self.values["wanted_interval_ms"] = interval_ms
        self.interval_s = interval_ms / 1000
        return ids.OK, interval_ms

    def _collect(self, arguments: Arguments) -> tuple[int, Any]:
        total, free = self.values["total_bytes"] or 0, self.values["free_bytes"] or 0
        live = self.values["live_bytes"] or 0
        self.values["free_bytes"] = total - live
        return ids.OK, total - live - free

    def _stop_monitoring(self, arguments: Arguments) -> tuple[int, Any]:
        self.values["interval_ms"] = 0
        self.interval_s = 0.0
        return ids.OK, None

    # --- what it sends ---------------------------------------------------------------------------

    def _uptime(self) -> tuple[int, int]:
        return self.values["uptime_s"] or 0, self.values["uptime_ms"] or 0

    def _figures(self) -> list[int | None]:
        return [self.values.get(name) for name in ids.SAMPLE_VALUES]

    def sleep(self) -> None:
        """Say that it sleeps, and say and do nothing more until `mute` is False again."""
        self._send(ids.ASLEEP)
        self.mute = True

    def _send_row(self, index: int) -> None:
        row = self.rows[index] if self.rows else [None] * len(ROW)
        self._send(ids.STORAGE, index, len(self.rows), *row)

    def _send(self, kind: int, *fields: Any) -> None:
        """Send a frame with the next number, if a host listens."""
        if self._postponed is not None:
            self._postponed.append((kind, *fields))
        elif self.host_id is not None and not self.mute:
            self.seq = (self.seq + 1) & 0xFFFF
            self._sent = True
            self._put(kind, self.seq, *fields)

    def _put(self, *message: Any) -> None:
        self.send(frame(msgpack.packb(message)))


class FakePrompt:
    """A board at MicroPython's friendly REPL: echoes printable ASCII, and knows no agent."""

    def __init__(self) -> None:
        self.send: Callable[[bytes], None] = lambda data: None

    def receive(self, data: bytes) -> None:
        """Echo."""
        self.send(bytes(byte for byte in data if 32 <= byte <= 126))

    def step(self, now: float) -> float:
        """Nothing is ever due."""
        return _STEP_S


class Peer(Protocol):
    """What sits at the other end of a FakeTransport."""

    send: Callable[[bytes], None]

    def receive(self, data: bytes) -> None:
        """Process what the host sent."""

    def step(self, now: float) -> float:
        """Do what is due at `now` (the loop's clock); return the seconds until the next step."""


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
