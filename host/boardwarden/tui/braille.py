"""Figures drawn in characters: in dots, 2 by 4 to a character, and as a row of bars."""

from __future__ import annotations

from collections.abc import Sequence

Figures = Sequence[float | None]

_BLANK = 0x2800
_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))  # by column, from the bottom up
_BARS = "▁▂▃▄▅▆▇█"


class Canvas:
    """`width` by `height` characters; figures end at its right edge, newest last.

    A layer that is drawn later takes the characters it touches: see rows().
    """

    def __init__(self, width: int, height: int) -> None:
        self.columns = width * 2  # of dots
        self._levels = height * 4
        self._bits = [[0] * width for _ in range(height)]
        self._layers: list[list[str]] = [[""] * width for _ in range(height)]

    def fill(self, figures: Figures, top: float, layer: str) -> None:
        """Draw the area under the figures; `top` is at the upper edge."""
        for column, level in self._placed(figures, top):
            for dot in range(level + 1):
                self._set(column, dot, layer)

    def line(self, figures: Figures, top: float, layer: str, every: int = 1) -> None:
        """Draw a line along the figures; with `every` 3, a dotted one."""
        before: int | None = None
        for column, level in self._placed(figures, top):
            if column % every == 0:
                steps = range(min(before, level), max(before, level) + 1) if before else (level,)
                for dot in steps if every == 1 else (level,):
                    self._set(column, dot, layer)
            before = level

    def rows(self) -> list[list[tuple[str, str]]]:
        """Return (character, layer) of each place, from the top."""
        return [
            [
                (chr(_BLANK + bits) if bits else " ", layer)
                for bits, layer in zip(row, layers, strict=True)
            ]
            for row, layers in zip(self._bits, self._layers, strict=True)
        ]

    def _placed(self, figures: Figures, top: float) -> list[tuple[int, int]]:
        newest = figures[-self.columns :] if self.columns else ()
        first = self.columns - len(newest)
        return [
            (first + place, self._level(figure, top))
            for place, figure in enumerate(newest)
            if figure is not None
        ]

    def _level(self, figure: float, top: float) -> int:
        share = figure / top if top > 0 else 0.0
        return max(0, min(self._levels - 1, round(share * (self._levels - 1))))

    def _set(self, column: int, level: int, layer: str) -> None:
        row, place = len(self._bits) - 1 - level // 4, column // 2
        self._bits[row][place] |= _DOTS[column % 2][level % 4]
        self._layers[row][place] = layer


def bars(figures: Figures, width: int, top: float) -> str:
    """Return the last `width` figures as bars in one row; a space where there is none."""
    newest = figures[-width:] if width > 0 else ()
    return "".join(_bar(figure, top) for figure in newest).rjust(max(0, width))


def progress(fraction: float | None, width: int) -> str:
    """Return a bar that is filled as far as a fraction of one says; empty for None."""
    full = round(max(0.0, min(1.0, fraction or 0.0)) * width)
    return "█" * full + "░" * (width - full)


def _bar(figure: float | None, top: float) -> str:
    if figure is None:
        return " "
    share = figure / top if top > 0 else 0.0
    return _BARS[max(0, min(len(_BARS) - 1, round(share * (len(_BARS) - 1))))]
