"""One stream of a fake board that many hosts read, as over MQTT."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from boardwarden.errors import BoardOffline, ConnectError
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

FULL_STATE_S = 30.0  # between two full states by itself
_KEEPALIVE_S = 10.0
_MAX_REMEMBERED = 8  # hosts whose replies are remembered
_STEP_S = 0.1


class FakeStreamBoard(FakeBoard):
    """A FakeBoard that sends to all, as docs/wire.md has it for MQTT.

    `frames_per_step` is how many frames of a full state it sends in each 0.1 s; None: all at once.
    `deaf`: nothing of hosts reaches it. `subscribes` counts.
    """

    def __init__(self) -> None:
        self.frames_per_step: int | None = None
        self.deaf = False
        self.subscribes = 0
        super().__init__()

    def power_up(self) -> None:
        """Begin as after a reset."""
        super().power_up()
        self.host_id = 0  # all
        self._last_frame_at: dict[int, float] = {}
        self._answered: dict[int, dict[int, tuple[int, Any]]] = {}
        self._rest: list[tuple[Any, ...]] = []  # of a full state that is under way
        self._waiting: list[int] = []  # who gets a SYNCED at its end
        self._full_state_at = -FULL_STATE_S
        self._keepalive_at = 0.0
        self._answering = 0  # whose request it is

    def begin_full_state(self, host_id: int = 0) -> None:
        """Begin to send the full state, or answer a host while one is under way."""
        hello, *rest = self._collect_full_state(host_id)
        self._send(*hello)
        self._waiting.append(host_id)
        if not self._rest:
            self._full_state_at = self._now
            self._rest = rest
        if self.frames_per_step is None:
            self._send_rest(len(self._rest))

    def _collect_full_state(self, host_id: int) -> list[tuple[Any, ...]]:
        self._postponed = []
        self._replies = {}
        self._subscribe(self.version[0], host_id)
        *full_state, _ = self._postponed  # SYNCED comes at the end
        self._postponed = None
        self.host_id = 0
        return full_state

    def _send_rest(self, count: int) -> None:
        for kind, *fields in self._rest[:count]:
            self._send_now(kind, *fields)
        del self._rest[:count]
        if not self._rest:
            waiting, self._waiting = self._waiting, []
            for host_id in waiting:
                self._send(ids.SYNCED, host_id)

    def _send_now(self, kind: int, *fields: Any) -> None:
        """Send a frame of a full state, with what holds by now."""
        if kind == ids.SAMPLE:
            self._send(kind, self._figures())
        elif kind == ids.ROWS:
            self.policy.send_rows()
        elif kind == ids.STORAGE and fields[0] < len(self.rows):
            self._send_row(fields[0])
        elif kind not in self.policy.tables:
            self._send(kind, *fields)
        elif (row := self.policy.tables[kind].get(fields[0])) is not None:
            self._send(kind, fields[0], *row)

    def step(self, now: float) -> float:
        """Send what is due."""
        self._now = now
        if self._rest:
            self._send_rest(self.frames_per_step or len(self._rest))
        elif now - self._full_state_at >= FULL_STATE_S:
            self.begin_full_state()
        for host_id, last_frame_at in list(self._last_frame_at.items()):
            if now - last_frame_at > ids.HOST_SESSION_MS / 1000:
                del self._last_frame_at[host_id]
                self.policy.end_session(host_id)
        if self.interval_s and now - self._sampled_at >= self.interval_s:
            self._sampled_at = now
            self.sample()
        if self._sent:
            self._sent = False
            self._keepalive_at = now
        elif now - self._keepalive_at >= _KEEPALIVE_S:
            self._send(ids.ALIVE)
        return _STEP_S

    def _message(self, message: list[Any]) -> None:
        kind = message[0]
        if self.deaf:
            return
        if kind == ids.SUBSCRIBE:
            self.subscribes += 1
            self._last_frame_at[message[3]] = self._now
            self.begin_full_state(message[3])
            return
        host_id = message[1]
        self._last_frame_at[host_id] = self._now
        if kind == ids.UNSUBSCRIBE:
            del self._last_frame_at[host_id]
            self.policy.end_session(host_id)
        elif kind == ids.REQUEST:
            self.policy.host = host_id
            self._replies = self._answered.pop(host_id, {})
            self._answered[host_id] = self._replies
            if len(self._answered) > _MAX_REMEMBERED:
                del self._answered[next(iter(self._answered))]
            self._answering = host_id
            self._request(*message[2:5])

    def _send(self, kind: int, *fields: Any) -> None:
        if kind == ids.REPLY:
            fields = (*fields, self._answering)
        super()._send(kind, *fields)


class FakeStream:
    """Stands between a FakeStreamBoard and its hosts, as a broker does.

    `loss` is the share of messages that each host loses, by itself.
    """

    def __init__(self, board: FakeStreamBoard, seed: int = 0) -> None:
        self.board = board
        self.online: bool | None = True
        self.loss = 0.0
        self._random = random.Random(seed)
        self._transports: list[FakeShared] = []
        self._now = -1.0
        board.send = self._deliver

    def transport(self) -> FakeShared:
        """Return the transport of another host."""
        made = FakeShared(self)
        self._transports.append(made)
        return made

    def set_online(self, online: bool | None) -> None:
        """Say whether the board is connected, as its retained state does; None: it has none."""
        self.online = online
        for transport in self._transports:
            transport.read_presence()

    def loses(self) -> bool:
        """Decide about one message."""
        return self._random.random() < self.loss

    def step(self, now: float) -> float:
        """Let the board do what is due, once at a time."""
        if now > self._now and self.online is not False:
            self._now = now
            self.board.step(now)
        return _STEP_S

    def _deliver(self, data: bytes) -> None:
        if self.online is not False:
            for transport in self._transports:
                transport.port.send(data)


class _Port:
    """One host's side of a FakeStream."""

    def __init__(self, stream: FakeStream) -> None:
        self.send: Callable[[bytes], None] = lambda data: None
        self._stream = stream

    def receive(self, data: bytes) -> None:
        if self._stream.online is not False:
            self._stream.board.receive(data)

    def step(self, now: float) -> float:
        return self._stream.step(now)


class FakeShared(FakeTransport):
    """One host's transport of a FakeStream; `online` is what the retained state says."""

    def __init__(self, stream: FakeStream) -> None:
        self.port = _Port(stream)
        super().__init__(self.port, "mqtt://fake/board")
        self.online: bool | None = None
        self._stream = stream
        self._on_presence: Callable[[], None] = lambda: None
        self.to_host = lambda data: () if stream.loses() else (data,)
        self.to_board = lambda data: () if stream.loses() else (data,)

    def watch(self, on_presence: Callable[[], None]) -> None:
        """Call on_presence() whenever the stream says whether the board is there."""
        self._on_presence = on_presence

    def absence(self) -> ConnectError | None:
        """Return why the board does not answer."""
        return None if self.online else BoardOffline("The fake board is offline.", self.address)

    async def open(self) -> None:
        """Connect to the stream; the retained state comes at once."""
        await super().open()
        self.read_presence()

    def read_presence(self) -> None:
        """Pass on what the stream says of the board."""
        self.online = self._stream.online
        self._on_presence()
