"""Times as people write them. Raises ValueError, with a sentence that says what is meant."""

from __future__ import annotations

import re
from datetime import datetime

from boardwarden import quantities

_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


def seconds(name: str, text: str) -> float:
    """Return a duration in seconds, more than none: 90, 90s, 10m, 10min, 2h, 1d."""
    words = re.sub(r"(?<=[\d\s.])m$", "min", text.strip(), flags=re.IGNORECASE)  # no metres here
    length = quantities.seconds(name, words)
    if not length > 0:
        raise ValueError(f"{name} must be a time, as 30 s, 200 ms or 5 min, not {text!r}.")
    return length


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
