"""The forms of a board address, and the error for anything else.

Of a broker it says where that is and as whom it is used; the password is never in an address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import NamedTuple
from urllib.parse import urlsplit

from boardwarden._paths import is_shared, reason
from boardwarden.errors import AddressError, ConnectError

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


# --- boards behind a broker, and brokers ----------------------------------------------------------


PASSWORD = "BOARDWARDEN_MQTT_PASSWORD"
PASSWORD_FILE = "BOARDWARDEN_MQTT_PASSWORD_FILE"
_SCHEMES = {"mqtt": 1883, "mqtts": 8883}
_SCHEME = re.compile(r"^mqtts?:/*")
_MAX_TEXT = 65_535  # bytes, as MQTT counts them


class Place(NamedTuple):
    """Where a broker is, and as whom it is used."""

    scheme: str
    user: str | None
    host: str
    port: int

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _SCHEMES[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{user}{host}{port}"


def wrong_broker(address: str, problem: str) -> AddressError:
    """Return the error for a wrong address of a broker: the problem, and what is accepted."""
    return AddressError(
        f"{problem}; a broker is mqtt://broker or mqtts://user@broker:8883.", address
    )


def parse_mqtt(
    address: str, wrong: Callable[[str, str], AddressError] = wrong_address
) -> tuple[Place, str]:
    """Return the broker of an address, and what is behind it without the slash.

    wrong: makes the error of an address that is none, a board's unless it says otherwise. Raises
    AddressError; its text and address have no password in them.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:  # a bad port number or bracket
        parts, host, port = urlsplit(""), None, None
    if ":" in _SCHEME.sub("", address).rpartition("@")[0]:
        raise AddressError(
            "An address has no password in it, for others may see it: set "
            f"{PASSWORD}, or {PASSWORD_FILE} to the name of a file."
        )
    if not host or parts.scheme not in _SCHEMES or parts.query or parts.fragment or port == 0:
        raise wrong(address, f"{address!r} does not name a broker")
    if parts.username and not _fits(parts.username):
        raise wrong(address, "the user's name is none that MQTT can carry")
    place = Place(parts.scheme, parts.username or None, host, port or _SCHEMES[parts.scheme])
    return place, parts.path.removeprefix("/")


def parse_broker(address: str) -> Place:
    """Return the broker that an address names; raise AddressError for a board's address."""
    place, board = parse_mqtt(address, wrong_broker)
    if board:
        raise AddressError(f"{address!r} names a board; its broker is {place}.", address)
    return place


def _fits(text: str) -> bool:
    """Return whether MQTT can carry a name or password: UTF-8, of up to 65 535 bytes."""
    try:
        return len(text.encode()) <= _MAX_TEXT
    except UnicodeEncodeError:  # bytes that are no UTF-8 came by the command line, or a variable
        return False


def broker_password() -> str | None:
    """Return the password that the environment, or a file that it names, holds; None: neither."""
    place = os.environ.get(PASSWORD_FILE)
    if not place:
        password = os.environ.get(PASSWORD)
        if password is not None and not _fits(password):
            raise ConnectError(f"{PASSWORD} is no text in UTF-8 of up to {_MAX_TEXT} bytes.")
        return password
    try:
        with open(place, encoding="utf-8") as file:
            if is_shared(file):
                raise ConnectError(
                    f"Others may read {place}: chmod 600 it, or change the password."
                )
            password = file.readline(_MAX_TEXT + 2).rstrip("\r\n")
        if not _fits(password):
            raise ConnectError(f"The password in {place} has more than {_MAX_TEXT} bytes.")
        return password
    except UnicodeDecodeError:
        raise ConnectError(f"{PASSWORD_FILE} names a file that is no text: {place}.") from None
    except (OSError, ValueError) as error:  # ValueError: NUL in the name
        why = reason(error) if isinstance(error, OSError) else "no such name"
        raise ConnectError(f"The password file {place} cannot be read: {why}.") from None
