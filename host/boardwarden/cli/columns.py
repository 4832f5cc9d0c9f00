"""Rows of a table as lines of text that fit the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_GAP = "  "
_CUT = "\N{HORIZONTAL ELLIPSIS}"
_STRANGE = "\N{REPLACEMENT CHARACTER}"


def columns(
    head: Sequence[str], rows: Iterable[Sequence[str]], width: int, whole: Sequence[str] = ()
) -> list[str]:
    """Return lines of at most `width` columns; the widest cells are cut where it is too narrow.

    Those under the heads in `whole` are not: half a time is none. They go over the edge before.
    """
    cells = [list(head), *([_printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cut = [place for place, name in enumerate(head) if name not in whole]
    while sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = max(cut, key=widths.__getitem__)
        if widths[widest] <= 1:
            break
        widths[widest] -= 1
    return [_line(row, widths) for row in cells]


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    fitted = [_fit(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)]
    return _GAP.join(fitted).rstrip()


def _fit(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: width - 1] + _CUT


def _printable(text: str) -> str:
    """Return text that no terminal acts on: names come from the board."""
    return "".join(char if char.isprintable() else _STRANGE for char in text)
