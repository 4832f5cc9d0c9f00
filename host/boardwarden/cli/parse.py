"""What people write on the command line: amounts, levels and words.

Raises ValueError, with a sentence that says what is meant.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TypeVar

from boardwarden.kinds import Action, Priority, ResourceType, word
from boardwarden.units import METRICS, metric_unit

E = TypeVar("E", bound=IntEnum)

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(%|[kmg]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
NONE = "none"


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
        return fraction("The amount", text)
    return size("The amount", text)


def size(name: str, text: str) -> int:
    """Return a number of bytes: 8192, 8k, 1.5M; k is 1024."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or match[2] == "%":
        raise ValueError(f"{name} must be a number of bytes, as 8192, 8k or 1M, not {text!r}.")
    return round(float(match[1]) * _FACTORS[match[2].lower()])


def fraction(name: str, text: str) -> float:
    """Return a fraction: 0.25 or 25%."""
    number = text.strip()
    try:
        return float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise ValueError(f"{name} must be a fraction, as 0.25 or 25%, not {text!r}.") from None


def level(metric: str, name: str, text: str) -> float | None:
    """Return a threshold's level in the metric's unit; None for "none"."""
    if text.lower() == NONE:
        return None
    unit = metric_unit(metric)
    if unit == "permille":
        return fraction(f"--{name}", text)
    if unit in ("bytes", "bytes_per_s"):
        return size(f"--{name}", text)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--{name} must be a number or {NONE}, not {text!r}.") from None


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
        names = ", ".join(word(each).replace("_", "-") for each in kind)
        raise ValueError(f"There is no {what} {text!r}; there are {names}.") from None
