"""Where an MQTT broker is, as whom it is used, and with which password."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from boardwarden._paths import is_shared, reason
from boardwarden.errors import AddressError, ConnectError

from .address import wrong_address

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


def parse(
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
    place, board = parse(address, wrong_broker)
    if board:
        raise AddressError(f"{address!r} names a board; its broker is {place}.", address)
    return place


def _fits(text: str) -> bool:
    """Return whether MQTT can carry a name or password: UTF-8, of up to 65 535 bytes."""
    try:
        return len(text.encode()) <= _MAX_TEXT
    except UnicodeEncodeError:  # bytes that are no UTF-8 came by the command line, or a variable
        return False


def password() -> str | None:
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
