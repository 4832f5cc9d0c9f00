"""Parses quantities of command lines and policy files: 8k, 75 %, 30 s.

Raises ValueError, with a sentence that says what is accepted.
"""

from __future__ import annotations

import math
import re

from warden_schema import ids

THRESHOLD_METRICS = tuple(ids.THRESHOLD_METRICS)  # a threshold's, by their numbers
_THOUSANDTHS = ("permille", "ms")
_SIZE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([kmg]?)(?:i?b)?", re.IGNORECASE)
_FACTORS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_TIME = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|min|m|h|d|)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "": 1, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_DBM = re.compile(r"(.*?)\s*dbm", re.IGNORECASE | re.DOTALL)
NONE = "none"


def metric_unit(metric: str) -> str:
    """Return the board's unit of a threshold's metric; "count" of one that is not known."""
    return ids.THRESHOLD_METRICS.get(metric, "count")


def in_thousandths(metric: str | None) -> bool:
    """Return whether the board counts a metric in permille or milliseconds."""
    return metric_unit(metric or "") in _THOUSANDTHS


def size(name: str, text: str) -> int:
    """Return a number of bytes: 8192, 8k, 1.5M; k is 1024."""
    match = _SIZE.fullmatch(text.strip())
    found = math.inf if match is None else float(match[1]) * _FACTORS[match[2].lower()]
    if math.isinf(found):  # so do too many digits end
        raise ValueError(f"{name} must be a number of bytes, such as 8192, 8k or 1M, not {text!r}.")
    return round(found)


def fraction(name: str, text: str) -> float:
    """Return a fraction: 0.25, 25% or 25 %."""
    number = text.strip()
    try:
        return float(number[:-1]) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise ValueError(f"{name} must be a fraction, such as 0.25 or 25%, not {text!r}.") from None


def seconds(name: str, text: str) -> float:
    """Return a duration in seconds: 500ms, 2s, 1m, 5 min, 2h, 1d, or plain seconds."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{name} must be a duration, such as 500ms, 2s, 1m or plain seconds, not {text!r}."
        )
    return float(match[1]) * _SECONDS[match[2].lower()]


def level(metric: str, name: str, text: str) -> float | None:
    """Return a threshold's level in the metric's unit; None for "none"."""
    if text.lower() == NONE:
        return None
    unit = metric_unit(metric)
    if unit == "permille":
        return fraction(name, text)
    if unit in ("bytes", "bytes_per_s"):
        return size(name, text.removesuffix("/s"))
    if unit in ("ms", "s"):
        return seconds(name, text)
    match = _DBM.fullmatch(text.strip()) if unit == "dbm" else None
    try:
        return float(match[1] if match else text)
    except ValueError:
        raise ValueError(f"{name} must be a number or {NONE}, not {text!r}.") from None
