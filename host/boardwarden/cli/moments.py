"""Times as people write them. Raises ValueError, with a sentence that says what is meant."""

from __future__ import annotations

import re
from datetime import datetime

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(s|min|m|h|d|w)?", re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def seconds(name: str, text: str) -> float:
    """Return a duration in seconds, more than none: 90, 90s, 10m, 2h, 1d, 1w."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not float(match[1]) > 0:
        raise ValueError(f"{name} must be a time, as 90s, 10m, 2h or 1d, not {text!r}.")
    return float(match[1]) * _SECONDS[(match[2] or "").lower()]


def moment(name: str, text: str) -> float:
    """Return a moment in seconds since the epoch: 2024-05-31, "2024-05-31 12:00" or 12:00.

    Local time, unless it says which; a time alone is today's.
    """
    words = text.strip()
    if _TIME.fullmatch(words):
        words = f"{datetime.now():%Y-%m-%d} {words if words[1] != ':' else '0' + words}"
    try:
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", words)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f'{name} must be a moment, as 2024-05-31, "2024-05-31 12:00" or 12:00, not {text!r}.'
        ) from None
