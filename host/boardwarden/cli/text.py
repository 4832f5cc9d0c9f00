"""Figures as people read them. None, a figure that cannot be had, is a dash."""

from __future__ import annotations

NONE = "\N{EN DASH}"
_UNITS = ("KB", "MB", "GB", "TB")
_TIMES = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def size(value: float | None) -> str:
    """Write a number of bytes, in units of 1024: `240 KB`, `1.9 MB`."""
    if value is None:
        return NONE
    if abs(value) < 1024:
        return f"{value:.0f} B"
    for unit in _UNITS:
        value /= 1024
        if abs(value) < 1000 or unit == _UNITS[-1]:
            break
    return f"{value:.1f} {unit}" if abs(value) < 10 else f"{value:.0f} {unit}"


def percent(fraction: float | None) -> str:
    """Write a fraction of one: `31 %`; below ten with a decimal, `0.4 %`."""
    if fraction is None:
        return NONE
    value = fraction * 100
    return f"{value:.0f} %" if value == 0 or abs(value) >= 9.95 else f"{value:.1f} %"


def duration(seconds: float | None) -> str:
    """Write a time in seconds with its two largest units: `4 ms`, `12 s`, `2 h 3 min`, `5 d`."""
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    rest = round(seconds)
    parts = []
    for unit, length in _TIMES:
        amount, rest = divmod(rest, length)
        parts.append(f"{amount} {unit}" if amount else "")
    first = next(place for place, part in enumerate(parts) if part)
    return " ".join(filter(None, parts[first : first + 2]))


def count(value: int | None, noun: str) -> str:
    """Write a number with its noun: `1 task`, `3 tasks`."""
    return f"{NONE if value is None else value} {noun if value == 1 else noun + 's'}"
