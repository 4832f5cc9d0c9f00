"""`mqtt://[user@]broker[:port]/ID`: a board behind an MQTT broker; `mqtts://` by TLS.

Topics and payloads: docs/wire.md, "Over MQTT".
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack

from boardwarden.errors import BoardOffline, ConnectError, LinkLost, PermissionDenied
from warden_schema import ids

from .address import Place, parse_mqtt, wrong_address
from .mqtt_broker import Broker, shared

TOPICS = "boardwarden"
_ALL_STATES = f"{TOPICS}/+/state"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_STATE = 512  # bytes; a longer one is a stranger's
_QUIET_S = 0.5  # without another retained state, all of them have come
_ALL_S = 5.0
_NUDGE_S = 2.0  # of silence, before a board is asked: most send a sample each second
_FULL_PAUSE_S = 0.01  # where the connection takes nothing just now


class BoardState(NamedTuple):
    """What a board says of itself in its retained state.

    online: None where that makes no sense. policy: the number of a state in `ids.KEPT` or the
    hash of a file; None: not known.
    """

    online: bool | None
    identity: Mapping[str, Any] = MappingProxyType({})
    boot_id: int | None = None
    policy: int | str | None = None


def decode_state(payload: bytes) -> BoardState | None:
    """Return the state in a retained message; None: there is no such board (any more)."""
    if not payload:
        return None
    malformed = BoardState(None)
    try:
        fields = msgpack.unpackb(payload[:_MAX_STATE])
    except ValueError:
        return malformed
    if type(fields) is not list or not fields:
        return malformed
    if type(fields[0]) is not int or fields[0] not in (0, 1):
        return malformed
    if not fields[0]:
        return BoardState(False)
    _, identity, boot_id, policy, *_ = (*fields, None, None, None)
    if (
        type(identity) is not list
        or not {*map(type, identity)} <= {str, bytes, int, type(None)}
        or type(boot_id) not in (int, type(None))
        or type(policy) not in (int, str, bytes, type(None))
    ):
        return malformed
    known = dict(zip(ids.IDENTITY, identity, strict=False))
    policy = policy.hex() if isinstance(policy, bytes) else policy
    return BoardState(True, known, boot_id, policy)


def board_of(topic: str) -> str | None:
    """Return the id of a topic's board; None where it is none."""
    name = topic.split("/")[1]
    return name if _ID.fullmatch(name) else None


class Mqtt:
    """A board's stream, through a connection that this process has once for each broker.

    One frame is one message. What cannot go at once is dropped: hosts repeat what is not answered.
    """

    def __init__(self, address: str) -> None:
        self._place, self._id = parse_mqtt(address)
        if not _ID.fullmatch(self._id):
            raise wrong_address(
                address,
                f"{address!r} does not name a board with 1 to 64 of A-Z a-z 0-9 . _ -",
            )
        self.address = address
        self.online: bool | None = None
        self._broker: Broker | None = None
        self._received: Callable[[bytes], None] = lambda data: None
        self._on_presence: Callable[[], None] = lambda: None

    def watch(self, on_presence: Callable[[], None]) -> None:
        self._on_presence = on_presence

    def absence(self) -> ConnectError | None:
        """Return the error of a board that its state says is offline, or that has no state."""
        if self.online is None:
            return BoardOffline(
                f"No board {self._id!r} has been at the broker {self._place}: `boardwarden boards "
                f"--broker {self._place}` lists those that have, as far as this user may read.",
                self.address,
            )
        if not self.online:
            return BoardOffline(
                f"The board {self._id!r} is not connected to the broker {self._place} now.",
                self.address,
            )
        return None

    async def open(self) -> None:
        """Connect to the broker, unless this process is; raise a ConnectError."""
        self.online = None
        broker = shared(self._place)
        await broker.enter()
        self._broker = broker
        try:
            granted = await broker.subscribe(self._topics("state", "up"), self._on_message)
        except BaseException as error:
            await self.close()
            if isinstance(error, LinkLost):
                raise ConnectError(str(error), self.address) from error
            raise
        if not granted:
            await self.close()
            raise PermissionDenied(
                f"The broker {self._place} does not let this user read the board {self._id!r}.",
                self.address,
            )

    def _topics(self, *names: str) -> list[str]:
        return [f"{TOPICS}/{self._id}/{name}" for name in names]

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        if topic.endswith("/state"):
            state = decode_state(payload)
            self.online = None if state is None else state.online
            self._on_presence()
        elif not retained:  # else it is of any time
            self._received(payload)

    async def receive(self, received: Callable[[bytes], None]) -> None:
        if self._broker is not None:
            self._received = received
            await self._broker.ended()

    async def read(self) -> bytes:
        """Wait for frames; b"" when the connection is gone."""
        if self._broker is None:
            return b""
        frames: asyncio.Queue[bytes] = asyncio.Queue()
        ended = asyncio.create_task(self.receive(frames.put_nowait))
        ended.add_done_callback(lambda _: frames.put_nowait(b""))
        try:
            return await frames.get()
        finally:
            ended.cancel()

    def offer(self, data: bytes) -> bool:
        """Send a frame, or drop it where the connection takes nothing; False without one."""
        if self._broker is None or self._broker.is_lost:
            return False
        self._broker.publish(self._topics("down")[0], data)
        return True

    async def write(self, data: bytes) -> None:
        """Send a frame, or drop it where the connection takes nothing; raise LinkLost."""
        if not self.offer(data):
            raise LinkLost(f"The connection to {self._place} is lost.")

    async def close(self) -> None:
        """Give the connection back; the last board of this process closes it."""
        broker, self._broker = self._broker, None
        self._received = lambda data: None
        if broker is not None:
            broker.unsubscribe(self._topics("state", "up"), self._on_message)
            await broker.leave()


@contextlib.asynccontextmanager
async def states(
    place: Place, on_state: Callable[[str, BoardState | None], None]
) -> AsyncIterator[Broker]:
    """Pass what all boards of a broker say of themselves to on_state(name, state) in the block.

    First what is retained. Raises a ConnectError, or LinkLost.
    """

    def received(topic: str, payload: bytes, retained: bool) -> None:
        name = board_of(topic)
        if name is not None:
            on_state(name, decode_state(payload))

    broker = shared(place)
    await broker.enter()
    try:
        if not await broker.subscribe([_ALL_STATES], received):
            raise PermissionDenied(
                f"The broker {place} does not let this user read who is there.", str(place)
            )
        yield broker
    finally:
        broker.unsubscribe([_ALL_STATES], received)
        await broker.leave()


async def retained_states(place: Place) -> dict[str, BoardState]:
    """Return the states of all boards that a broker knows, by their ids; raise a ConnectError."""
    found: dict[str, BoardState] = {}
    came = asyncio.Event()

    def on_state(name: str, state: BoardState | None) -> None:
        found.pop(name, None)
        if state is not None:
            found[name] = state
        came.set()

    try:
        async with states(place, on_state) as broker:
            deadline = asyncio.get_running_loop().time() + _ALL_S
            while asyncio.get_running_loop().time() < deadline:
                came.clear()
                try:
                    await asyncio.wait_for(came.wait(), _QUIET_S)
                except asyncio.TimeoutError:
                    break
            if broker.is_lost:  # so there may be more
                raise LinkLost(f"The connection to {place} is lost.")
    except LinkLost as error:
        raise ConnectError(str(error), str(place)) from error
    return found


async def listen(
    place: Place,
    names: Iterable[str],
    within_s: float,
    is_enough: Callable[[str, bytes], bool],
    nudge: bytes | None = None,
) -> None:
    """Pass to is_enough(name, payload) what these boards send, until that is true of each.

    For so many seconds at most; nothing comes of those that the broker does not let this user read.
    nudge: what boards get on `down` that have not sent enough after two seconds; None: nothing is
    sent. Raises a ConnectError.
    """
    topics = {f"{TOPICS}/{name}/up" for name in names}
    all_done = asyncio.Event()

    def on_frame(topic: str, payload: bytes, retained: bool) -> None:
        name = board_of(topic)
        if name is None or topic not in topics or retained:  # else it is of any time
            return
        if is_enough(name, payload):
            topics.discard(topic)
            broker.unsubscribe([topic], on_frame)
            if not topics:
                all_done.set()

    async def nudge_the_rest(payload: bytes) -> None:
        await asyncio.sleep(_NUDGE_S)
        waiting = sorted(topics)
        while waiting:
            if broker.publish(f"{waiting[-1].removesuffix('/up')}/down", payload):
                waiting.pop()
            else:
                await asyncio.sleep(_FULL_PAUSE_S)

    broker = shared(place)
    await broker.enter()
    try:
        await broker.subscribe([*topics], on_frame)  # where it refuses some, the others still come
        waits = [asyncio.create_task(wait()) for wait in (all_done.wait, broker.ended)]
        nudging = [] if nudge is None else [asyncio.create_task(nudge_the_rest(nudge))]
        try:
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*waits, *nudging):
                task.cancel()
            await asyncio.gather(*nudging, return_exceptions=True)
        if broker.is_lost:
            raise LinkLost(f"The connection to {place} is lost.")
    except LinkLost as error:
        raise ConnectError(str(error), str(place)) from error
    finally:
        broker.unsubscribe([*topics], on_frame)
        await broker.leave()
