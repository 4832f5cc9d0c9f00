"""Parses what people write on the command line: amounts, levels, words, times.

Raises ValueError, with a sentence that says what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from enum import IntEnum
from typing import TypeVar

from boardwarden import _quantities
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.models import ResourceType, enum_name
from boardwarden.render.text import duration as written
from boardwarden.render.text import size as written_size

E = TypeVar("E", bound=IntEnum)
T = TypeVar("T")
_ARGUMENTS = (
    *("max_operations", "operation_timeout", "memory_reserve", "overrun", "mount", "owner"),
    *("warn", "critical", "clear", "hold"),
)
_LONGEST_S = 3650 * 86_400.0  # ten years: that a board counts less is no matter of recordings
_LEAST_FILE_BYTES = 64 * 1024  # of a recording: one with a single sample has 40 KB
_CLOCK_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def words(kind: type[IntEnum]) -> list[str]:
    """Return the names of an enum's members as they are typed."""
    return [enum_name(each).replace("_", "-") for each in kind]


def member(kind: type[E], what: str, text: str) -> E:
    """Return an enum's member by its name, as words() has it; `what` it is, for the error."""
    try:
        return kind[text.upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(words(kind))
        raise ValueError(f"There is no {what} {text!r}; there are {names}.") from None


def amount(kind: ResourceType, text: str) -> float:
    """Return an amount: 8192, 8k or 1M bytes; of CPU time 0.25 or 25%."""
    if kind is ResourceType.CPU_TIME:
        return _quantities.fraction("The amount", text)
    return _quantities.size("The amount", text)


def metric(text: str) -> str:
    """Return a threshold's metric."""
    name = text.replace("-", "_")
    if name not in THRESHOLD_METRICS:
        raise ValueError(f"There is no metric {text!r}; there are {', '.join(THRESHOLD_METRICS)}.")
    return name


def options(check: Callable[..., T], *given: object) -> T:
    """Return the result of a check; its ValueError names the option instead of the argument."""
    try:
        return check(*given)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        if name not in _ARGUMENTS:
            raise
        raise ValueError(f"--{name.replace('_', '-')} {rest}") from None


def duration(name: str, text: str, least: float = 0.001, most: float = _LONGEST_S) -> float:
    """Return a duration in seconds that lies in a range: 500ms, 2s, 1m, 2h, 1d, 90."""
    length = _quantities.seconds(name, text)
    if not least <= length <= most:
        allowed = f"from {written(least)} to {written(most)}"
        raise ValueError(f"{name} must be {allowed}, not {text!r}.")
    return length


def file_size(name: str, text: str) -> int:
    """Return a size in bytes at which a recording is put aside."""
    size = _quantities.size(name, text)
    if size < _LEAST_FILE_BYTES:
        least = written_size(_LEAST_FILE_BYTES)
        raise ValueError(f"{name} must be at least {least}, such as 100M, not {text!r}.")
    return size


def moment(name: str, text: str) -> float:
    """Return a moment in seconds since the epoch: 2024-05-31, "2024-05-31 12:00" or 12:00.

    Local time, unless it says which; a time alone is today's.
    """
    words = text.strip()
    if _CLOCK_TIME.fullmatch(words):
        words = f"{datetime.now():%Y-%m-%d} {words if words[1] != ':' else '0' + words}"
    try:
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", words)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f'{name} must be a moment, as 2024-05-31, "2024-05-31 12:00" or 12:00, not {text!r}.'
        ) from None
