"""The forms of a board address, and the error for anything else."""

from __future__ import annotations

import re
from collections.abc import Sequence

from boardwarden.errors import AddressError

FORMS = (
    "sim, sim:app.py, qemu:firmware.elf, /dev/ttyACM0, COM3, tcp://host:port, tls://host:port or "
    "mqtt://broker/name"
)

_WINDOWS_PORT = re.compile(r"(\\\\\.\\)?COM\d+", re.IGNORECASE)


def is_serial(address: str) -> bool:
    """Return whether an address is one of a serial port."""
    return address.startswith("/") or _WINDOWS_PORT.fullmatch(address) is not None


def is_network(address: str) -> bool:
    """Return whether an address is one that others on the network may reach, too."""
    return address.startswith(("tcp://", "tls://"))


def is_simulated(address: str) -> bool:
    """Return whether an address is one of a board that is a program on this machine."""
    return address == "sim" or address.startswith(("sim:", "qemu:"))


def is_mqtt(address: str) -> bool:
    """Return whether an address is one of a board behind a broker, or of a broker."""
    return address.startswith(("mqtt:", "mqtts:"))


def short_names(addresses: Sequence[str]) -> list[str]:
    """Return addresses without the folders of an application's path, where they differ so, too."""
    short = [_short(address) for address in addresses]
    return [
        address if short.count(name) > 1 else name
        for address, name in zip(addresses, short, strict=True)
    ]


def _short(address: str) -> str:
    kind, colon, rest = address.partition(":")
    return f"{kind}:{rest.rsplit('/', 1)[-1]}" if colon and not rest.startswith("//") else address


def wrong_address(address: str, problem: str) -> AddressError:
    """Return the error for a wrong address: the problem, and every form that is accepted."""
    return AddressError(f"{problem}; a board address is {FORMS}.", address)
