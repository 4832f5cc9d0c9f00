"""Formats values for people, and tables as lines that fit a terminal.

None, a figure that cannot be had, is a dash. What a board says is data: `printable`, `harmless` and
`Printable` leave nothing in it that a terminal acts on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

NOTHING = "\N{EN DASH}"
_SIZE_UNITS = ("KB", "MB", "GB", "TB")
_TIME_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
_GAP = "  "
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_STRANGE = "\N{REPLACEMENT CHARACTER}"
_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
_UNFINISHED = re.compile(
    r"(?:\r|\x1b(?:\[[0-?]{0,99}[ -/]{0,99}|\][^\x07\x1b]{0,200})?|\x9b[0-?]{0,99}[ -/]{0,99})\Z"
)


def size(value: float | None) -> str:
    """Write a number of bytes, in units of 1024: `240 KB`, `1.9 MB`."""
    if value is None:
        return NOTHING
    if abs(value) < 1024:
        return f"{value:.0f} B"
    for unit in _SIZE_UNITS:
        value /= 1024
        if abs(value) < 1000 or unit == _SIZE_UNITS[-1]:
            break
    return f"{value:.1f} {unit}" if abs(value) < 10 else f"{value:.0f} {unit}"


def percent(fraction: float | None) -> str:
    """Write a fraction of one: `31 %`; below ten with a decimal, `0.4 %`."""
    if fraction is None:
        return NOTHING
    value = fraction * 100
    return f"{value:.0f} %" if value == 0 or abs(value) >= 9.95 else f"{value:.1f} %"


def duration(seconds: float | None) -> str:
    """Write a time in seconds with its two largest units: `4 ms`, `1.1 s`, `2 h 3 min`, `5 d`."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    rest = round(seconds)
    parts = []
    for unit, length in _TIME_UNITS:
        amount, rest = divmod(rest, length)
        parts.append(f"{amount} {unit}" if amount else "")
    first = next(place for place, part in enumerate(parts) if part)
    return " ".join(filter(None, parts[first : first + 2]))


def utc(moment: float) -> str:
    """Write seconds since the epoch for programs: `2024-05-31T12:00:00+00:00`."""
    return datetime.fromtimestamp(moment, timezone.utc).isoformat()


def integer(value: int | None) -> str:
    """Write a whole number: `3`."""
    return NOTHING if value is None else str(value)


def count(value: int | None, noun: str) -> str:
    """Write a number with its noun: `1 task`, `3 tasks`."""
    return f"{integer(value)} {noun if value == 1 else noun + 's'}"


def columns(
    head: Sequence[str], rows: Iterable[Sequence[str]], width: int, uncut: Sequence[str] = ()
) -> list[str]:
    """Return lines of at most `width` columns; the widest cells are cut where it is too narrow.

    Those under the heads in `uncut` are not: half a time is none. They go over the edge before.
    """
    cells = [list(head), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cut = [place for place, name in enumerate(head) if name not in uncut]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = max(cut, key=widths.__getitem__)
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
    return [_joined(row, widths) for row in cells]


def _joined(row: Sequence[str], widths: Sequence[int]) -> str:
    fitted = [_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)]
    return _GAP.join(fitted).rstrip()


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + _ELLIPSIS


def printable(text: str) -> str:
    """Return text as one line, without escape sequences, control and invisible characters."""
    return _cleaned(text, "")


def harmless(text: str) -> str:
    """Return text without escape sequences, control and invisible characters; lines stay."""
    return _cleaned(text, "\n\t")


def _cleaned(text: str, allowed: str) -> str:
    text = _ESCAPE.sub("", text)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in allowed else _STRANGE for char in text)


class Printable:
    """Makes text that comes in pieces harmless to a terminal."""

    def __init__(self) -> None:
        self._unfinished = ""  # may be the begin of something

    def feed(self, text: str) -> str:
        """Return the text that can be shown; the beginning of a sequence waits for its end."""
        text = self._unfinished + text
        unfinished = _UNFINISHED.search(text)
        at = unfinished.start() if unfinished else len(text)
        self._unfinished = text[at:]
        return harmless(text[:at].replace("\r\n", "\n").replace("\r", "\n"))
