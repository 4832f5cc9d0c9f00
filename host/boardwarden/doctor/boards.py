"""The boards that can be found: at serial ports, on the network, at an MQTT broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from boardwarden._protocol import messages
from boardwarden._protocol.link import Deframer, frame
from boardwarden._protocol.shared_stream import FULL_STATE_S
from boardwarden._protocol.subscription import new_host_id
from boardwarden.board import connect
from boardwarden.errors import (
    AtPrompt,
    BoardError,
    NoAgent,
    PermissionDenied,
    PortBusy,
    PortMissing,
    VersionMismatch,
)
from boardwarden.models import Identity, Model
from boardwarden.render.text import NOTHING, duration
from boardwarden.transport import serial_port
from warden_schema import ids

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

_ANSWER_TIMEOUT_S = 2.0
QUIET = ("agent", "REPL", "nothing")  # which need no sentence that says why
_ANSWERS = (
    (PortBusy, "busy"),
    (PermissionDenied, "no permission"),
    (PortMissing, "no such port"),
    (VersionMismatch, "agent of another version"),
    (AtPrompt, "REPL"),
    (NoAgent, "nothing"),
)
SERVICE = "_boardwarden._tcp.local."
_LISTEN_S = 2.0  # RFC 6762 lets who answers wait for up to 120 ms, and messages get lost
_RESOLVE_MS = 1500
_LISTEN_TO_BOARDS_S = 6.0  # of which they are asked after two
_LATE_S = 2.0  # so much later than it is due a board may send its full state
_POLICY_WORDS = {
    "nothing": "none",
    "in_force": "stored",
    "broken": "broken",
    "set_aside": "set aside",
}


@dataclass(frozen=True)
class Port(Model):
    """A serial port: `answers` is agent, agent of another version, REPL, nothing, busy, …

    `description` is what the system knows of the device, `lasting_name` the path that leads to it
    wherever it is plugged in; `problem` the sentence that says why.
    """

    address: str = ""
    description: str | None = None
    usb_id: str | None = None
    answers: str = "nothing"
    board: Identity | None = None
    problem: str | None = None
    lasting_name: str | None = None


def serial_ports() -> list[Port]:
    """Return the ports that the system lists, not examined yet."""
    ports = []
    for port in serial_port.listed():
        usb = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None else None
        text = port.description if port.description not in (None, "n/a") else None
        address = str(port.device)
        ports.append(Port(address, text, usb, lasting_name=serial_port.lasting_name(address)))
    return ports


async def examined(ports: Iterable[Port]) -> list[Port]:
    """Return ports with what answers there, all examined at once."""
    return list(await asyncio.gather(*(_examine(port) for port in ports)))


async def _examine(port: Port) -> Port:
    try:
        async with connect(port.address, timeout=_ANSWER_TIMEOUT_S) as board:
            return replace(port, answers="agent", board=board.status.board)
    except BoardError as error:
        answer = next((answer for kind, answer in _ANSWERS if isinstance(error, kind)), "error")
        return replace(port, answers=answer, problem=str(error))


@dataclass(frozen=True)
class NetworkBoard(Model):
    """A board that announced itself; `address` is None where it did not say where it is."""

    board: str = ""
    address: str | None = None
    host: str | None = None


async def network_boards() -> list[NetworkBoard]:
    """Return the boards that answer within two seconds, by name; raise OSError. Needs zeroconf."""
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

    found: dict[str, None] = {}

    def on_change(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed:
            found.pop(name, None)
        else:
            found[name] = None

    async with AsyncZeroconf() as network:
        browser = AsyncServiceBrowser(network.zeroconf, SERVICE, handlers=[on_change])
        try:
            await asyncio.sleep(_LISTEN_S)
        finally:
            await browser.async_cancel()
        boards = await asyncio.gather(*(_resolved(network, name) for name in sorted(found)))
    return [*boards]


async def _resolved(network: AsyncZeroconf, name: str) -> NetworkBoard:
    from zeroconf import BadTypeInNameException
    from zeroconf.asyncio import AsyncServiceInfo

    board = name.removesuffix(f".{SERVICE}")
    try:
        info = AsyncServiceInfo(SERVICE, name)
    except BadTypeInNameException:  # with control characters, say
        return NetworkBoard(board)
    if not await info.async_request(network.zeroconf, _RESOLVE_MS):
        return NetworkBoard(board)
    ips = info.parsed_scoped_addresses()
    host = info.server.rstrip(".") if info.server else None
    if not ips or not info.port:
        return NetworkBoard(board, None, host)
    ip = f"[{ips[0]}]" if ":" in ips[0] else ips[0]
    return NetworkBoard(board, f"tcp://{ip}:{info.port}", host)


@dataclass(frozen=True)
class BrokerBoard(Model):
    """A board that was at a broker; `online` is None where that is not known.

    `silent_s`: how many seconds it was listened to in vain, though what it left at the broker says
    that it is online; None: a frame came, it is offline, or what it left makes no sense, and then
    `online` is None, too. `policy`: a state as `status` has it, or the hash of the
    file; None: the board has not said, or it is offline. `uptime_s`: as its last sample has it;
    None: none came, or nobody listened. A broker does not say since when a state is as it is.
    """

    board: str = ""
    address: str = ""
    online: bool | None = None
    agent: str | None = None
    machine: str | None = None
    firmware: str | None = None
    boot_id: int | None = None
    policy: str | None = None
    silent_s: float | None = None
    uptime_s: float | None = None

    @property
    def state(self) -> str:
        """The words for `online` and `silent_s`."""
        if self.silent_s is not None:
            return f"silent for {duration(self.silent_s)}"
        return {True: "online", False: "offline", None: "malformed"}[self.online]

    @property
    def stored(self) -> str:
        """The words for `policy`."""
        return NOTHING if self.policy is None else _POLICY_WORDS.get(self.policy, self.policy)


async def broker_boards(
    address: str, uptime: bool = False, pattern: str = "*"
) -> list[BrokerBoard]:
    """Return the boards that a broker knows and a pattern names, by name; raise a ConnectError.

    What a board left at its broker may be old. So those that say that they are online are listened
    to until a frame of each has come, and asked for one after two seconds, for six at most. uptime:
    until a sample of each has come, for half a minute at most; they are not asked. address: as a
    board's, without its name.
    """
    from boardwarden.transport.address import parse_broker
    from boardwarden.transport.mqtt import BoardState, listen, retained_states

    place = parse_broker(address)
    within_s = FULL_STATE_S + _LATE_S if uptime else _LISTEN_TO_BOARDS_S

    def made(name: str, state: BoardState) -> BrokerBoard:
        identity, policy = state.identity, state.policy
        stored = ids.KEPT[policy] if isinstance(policy, int) and policy in range(4) else policy
        return BrokerBoard(
            board=name,
            address=f"{place}/{name}",
            online=None if name in silent else state.online,
            agent=_text(identity.get("agent")),
            machine=_text(identity.get("machine")),
            firmware=_text(identity.get("firmware")),
            boot_id=state.boot_id,
            policy=None if stored is None else str(stored),
            silent_s=within_s if name in silent else None,
            uptime_s=uptimes.get(name),
        )

    found = await retained_states(place)
    names = [name for name in sorted(found) if fnmatchcase(name, pattern)]
    silent = {name for name in names if found[name].online}
    uptimes: dict[str, float] = {}

    def is_enough(name: str, payload: bytes) -> bool:
        silent.discard(name)
        up_s = _uptime_in(payload) if uptime else None
        if up_s is not None:
            uptimes[name] = up_s
        return not uptime or up_s is not None

    if silent:
        nudge = None if uptime else frame(messages.subscribe(new_host_id()))
        await listen(place, {*silent}, within_s, is_enough, nudge)
    return [made(name, found[name]) for name in names]


def _uptime_in(frames: bytes) -> float | None:
    """Return the uptime of a board from a message on `up`; None without a sample in it."""
    for payload in Deframer().feed(frames):
        message = messages.decode(payload) if isinstance(payload, bytes) else None
        if message is not None and message[0] == ids.SAMPLE:
            values: list[int | None] = message[2]
            up_s, _, interval_ms, *_ = (*values, None, None, None)
            if up_s is not None and up_s >= 0 and interval_ms:  # else it is of any time
                return float(up_s)
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
