"""The boards of a roll-out: which they are, and what became of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from boardwarden.doctor.boards import BrokerBoard, broker_boards
from boardwarden.errors import AddressError
from boardwarden.models import Model
from boardwarden.policy.model import Difference
from boardwarden.transport.mqtt_address import Place, parse, wrong_broker

_PATTERN = re.compile(r"(mqtts?://[^/]+)/(.+)")


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
        parse(text, wrong_broker)  # says so where it has a password
        raise AddressError(
            f"{text!r} names no boards of a broker: mqtt://broker/green-* are those whose names "
            "begin so, and mqtt://broker/* all; * stands for any text, ? for a character, "
            "[ab] for a or b.",
        )
    place, _ = parse(found[1], wrong_broker)
    return Pattern(place, found[2])


async def find(pattern: Pattern) -> list[BrokerBoard]:
    """Return the boards that a broker knows and a pattern names, by name; raise a ConnectError."""
    return await broker_boards(str(pattern.place), pattern=pattern.names)


class State(Enum):
    """What became of a board."""

    APPLIED = "applied"  # it follows and stores the policy
    HAD_IT = "had_it"
    WOULD_CHANGE = "would_change"  # --dry-run
    RESTORED = "restored"  # by an undo
    WORSE = "worse"  # it follows the policy, and got worse
    CHANGED = "changed"  # it got the policy, and then another one from somebody else
    UNKNOWN = "unknown"  # lost, or interrupted, in the middle of it
    REFUSED = "refused"  # nothing was changed
    OFFLINE = "offline"
    UNREACHABLE = "unreachable"  # it said at some time that it is online, and does not answer
    NOT_REACHED = "not_reached"  # the roll-out ended before

    @property
    def words(self) -> str:
        """The words for it."""
        return str(self.value).replace("_", " ")


DONE = (State.APPLIED, State.HAD_IT, State.WOULD_CHANGE, State.RESTORED)
STOPPING = (State.WORSE, State.CHANGED, State.UNKNOWN)


@dataclass(frozen=True)
class BoardResult(Model):
    """What became of a board; `reason` is None where there is nothing to say.

    `protocol` is its agent's, None if it did not answer; the later result of a board counts.
    """

    board: str = ""
    address: str = ""
    state: State = State.NOT_REACHED
    reason: str | None = None
    differences: tuple[Difference, ...] = ()
    protocol: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        differences = [each.to_dict() for each in self.differences]
        return {**super().to_dict(), "state": self.state.value, "differences": differences}


@dataclass(frozen=True)
class Summary(Model):
    """The end of a roll-out: `ended` is "done", "stopped" (by `reason`) or "interrupted".

    `boards` counts them by their State's value; `undo` is the command that undoes it, if any.
    """

    ended: str = "done"
    reason: str | None = None
    boards: dict[str, int] = field(default_factory=dict)
    undo: str | None = None


def counted(results: Iterable[BoardResult]) -> dict[str, int]:
    """Return how many boards are in each state, in the order of State."""
    found = Counter(each.state for each in results)
    return {state.value: found[state] for state in State if found[state]}
