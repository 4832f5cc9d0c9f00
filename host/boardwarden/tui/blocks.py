"""Figures drawn in block characters, which nearly every font has: plots, bars and progress.

Figures end at the right edge, newest last, one to a column; None is a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Figures = Sequence[float | None]
Styled = tuple[str, str]  # a character, and Rich's style of it

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_SHADE = "░"


class Plot:
    """`width` by `height` characters for figures from 0 to `top`, which is at the upper edge."""

    def __init__(self, width: int, height: int, top: float) -> None:
        self._width = width
        self._height = height
        self._top = top

    def area(self, figures: Figures, style: str) -> Iterator[list[Styled]]:
        """Give the rows, from the top, of an area under the figures."""
        levels = self._levels(figures)
        for floor in self._floors():
            yield [(_eighth(level - floor), style) for level in levels]

    def memory(
        self, live: Figures, used: Figures, styles: tuple[str, str]
    ) -> Iterator[list[Styled]]:
        """Give the rows: live is solid, what else is used is shaded, in no colour, too."""
        columns = list(zip(self._levels(live), self._levels(used), strict=True))
        for floor in self._floors():
            yield [_memory_cell(low - floor, high - floor, styles) for low, high in columns]

    def _floors(self) -> Iterator[int]:
        """Give how many eighths are below each row, from the top row down."""
        return iter(range((self._height - 1) * 8, -1, -8))

    def _levels(self, figures: Figures) -> list[int]:
        """Return each column's height in eighths of a character; below the plot where none is."""
        newest = figures[-self._width :] if self._width > 0 else ()
        none = [_NOTHING] * (max(0, self._width) - len(newest))
        return none + [self._level(figure) for figure in newest]

    def _level(self, figure: float | None) -> int:
        if figure is None:
            return _NOTHING
        share = figure / self._top if self._top > 0 else 0.0
        return max(1, round(min(1.0, share) * self._height * 8))


_NOTHING = -1
_DARK = "#4d3a10"  # behind what is shaded


def _memory_cell(live: int, used: int, styles: tuple[str, str]) -> Styled:
    solid, shaded = styles
    if live >= 8:
        return _eighth(live), solid
    if live > 0:
        return _eighth(live), f"{solid} on {_DARK}" if used >= 8 else solid
    if used >= 8:
        return _SHADE, f"{shaded} on {_DARK}"
    return _eighth(used), shaded


def _eighth(level: int) -> str:
    return _EIGHTHS[max(0, min(8, level))]


def progress(fraction: float | None, width: int) -> str:
    """Return a bar that is filled as far as a fraction of one says; empty for None."""
    full = round(max(0.0, min(1.0, fraction or 0.0)) * width)
    return "█" * full + _SHADE * (width - full)
