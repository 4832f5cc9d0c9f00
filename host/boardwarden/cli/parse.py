"""What people write on the command line: amounts, levels and words.

Raises ValueError, with a sentence that says what is meant.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TypeVar

from boardwarden import quantities
from boardwarden.kinds import Action, Priority, ResourceType, word
from boardwarden.units import METRICS

E = TypeVar("E", bound=IntEnum)


def words(kind: type[IntEnum]) -> list[str]:
    """Return what may be written for the members of an enum."""
    return [word(each).replace("_", "-") for each in kind]


def resource(text: str) -> ResourceType:
    """Return a resource by its name: memory, storage, cpu-time, network-bandwidth."""
    return _member(ResourceType, text, "resource")


def priority(text: str) -> Priority:
    """Return a priority by its name."""
    return _member(Priority, text, "priority")


def action(text: str) -> Action:
    """Return a threshold's action by its name."""
    return _member(Action, text, "action")


def amount(kind: ResourceType, text: str) -> float:
    """Return an amount: 8192, 8k or 1M bytes; of CPU time 0.25 or 25%."""
    if kind is ResourceType.CPU_TIME:
        return quantities.fraction("The amount", text)
    return quantities.size("The amount", text)


def level(metric: str, name: str, text: str) -> float | None:
    """Return a threshold's level in the metric's unit; None for "none"."""
    return quantities.level(metric, f"--{name}", text)


def metric(text: str) -> str:
    """Return a threshold's metric."""
    name = text.replace("-", "_")
    if name not in METRICS:
        raise ValueError(f"There is no metric {text!r}; there are {', '.join(METRICS)}.")
    return name


def _member(kind: type[E], text: str, what: str) -> E:
    try:
        return kind[text.upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(words(kind))
        raise ValueError(f"There is no {what} {text!r}; there are {names}.") from None
