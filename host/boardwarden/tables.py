"""One of the board's tables on the host: rows as they came, and models when somebody looks.

Written by one thread and read by any: the rows are one dict that is replaced, never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from .models import Model
from .rows import Clock, Row

M = TypeVar("M", bound=Model)
_Rows = dict[int, tuple[float, Row]]


class Table(Generic[M]):
    """`make` turns a row, the moment it came and the clock into a model; row[0] is its order."""

    def __init__(self, make: Callable[[Row, float, Clock], M], clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._rows: _Rows = {}
        self._cached: tuple[_Rows, tuple[M, ...]] = (self._rows, ())

    def told(self, place: int, row: Row) -> None:
        """Keep a row as the board has it now."""
        self._rows = {**self._rows, place: (self._clock(), row)}

    def keep(self, mask: int | None) -> None:
        """Forget the rows that the board says are free; `mask` has a bit for each taken one."""
        taken = mask or 0
        kept = {place: row for place, row in self._rows.items() if taken >> place & 1}
        if len(kept) < len(self._rows):
            self._rows = kept

    def forget(self) -> None:
        """Forget all rows."""
        self._rows = {}

    @property
    def models(self) -> tuple[M, ...]:
        """The rows, oldest first; made once for each state."""
        rows = self._rows
        made_from, made = self._cached
        if made_from is not rows:
            ordered = sorted(rows.values(), key=lambda kept: kept[1][0])
            made = tuple(self._make(row, told_at, self._clock) for told_at, row in ordered)
            self._cached = (rows, made)
        return made
