"""The boards of a broker that a pattern names."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import NamedTuple

from boardwarden.errors import AddressError
from boardwarden.transport.mqtt import BoardState, retained_states
from boardwarden.transport.mqtt_broker import Place, parse

_PATTERN = re.compile(r"(mqtts?://[^/]+)/(.+)")


class Target(NamedTuple):
    """A board of a fleet; `online` is None where what it left at the broker makes no sense."""

    name: str
    address: str
    online: bool | None


class Pattern(NamedTuple):
    """A broker, and which of its boards are meant."""

    place: Place
    names: str

    def __str__(self) -> str:
        return f"{self.place}/{self.names}"


def parse_pattern(text: str) -> Pattern:
    """Return broker and pattern of "mqtt://broker/green-*"; raise AddressError."""
    found = _PATTERN.fullmatch(text)
    if found is None:
        parse(text)  # says so where it has a password
        raise AddressError(
            f"{text!r} names no boards of a broker: mqtt://broker/green-* are those whose names "
            "begin so, and mqtt://broker/* all; * stands for any text, ? for a character, "
            "[ab] for a or b.",
        )
    place, _ = parse(found[1])
    return Pattern(place, found[2])


async def find(pattern: Pattern) -> list[Target]:
    """Return the boards that a broker knows and a pattern names, by name; raise a ConnectError."""
    states = await retained_states(pattern.place)
    return [
        _target(pattern.place, name, states[name])
        for name in sorted(states)
        if fnmatchcase(name, pattern.names)
    ]


def _target(place: Place, name: str, state: BoardState) -> Target:
    return Target(name, f"{place}/{name}", state.online)
