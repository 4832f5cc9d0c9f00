"""The forms of a board address, and the error for anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from boardwarden.errors import AddressError

FORMS = (
    "sim, sim:app.py, qemu:firmware.elf, /dev/ttyACM0, COM3, tcp://host:port, tls://host:port or "
    "mqtt://broker/name"
)

SERIAL_FORMS = "/dev/ttyACM0 or COM3"

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


def without_folders(address: str) -> str:
    """Return an address without the folders of its application's path, if it has one."""
    kind, colon, rest = address.partition(":")
    return f"{kind}:{PurePath(rest).name}" if colon and not rest.startswith("//") else address


def short_names(
    addresses: Sequence[str], short_name: Callable[[str], str] = without_folders
) -> list[str]:
    """Return the short names of boards; whole addresses for those that would have the same one."""
    short = [short_name(address) for address in addresses]
    return [
        address if short.count(name) > 1 else name
        for address, name in zip(addresses, short, strict=True)
    ]


def wrong_address(address: str, problem: str) -> AddressError:
    """Return the error for a wrong address: the problem, and every form that is accepted."""
    return AddressError(f"{problem}; a board address is {FORMS}.", address)
