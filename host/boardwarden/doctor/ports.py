"""The serial ports of this machine, and what answers at each; no program there is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace

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
from boardwarden.transport import serial_port

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


def listed() -> list[Port]:
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
