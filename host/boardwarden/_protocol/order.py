"""What came complete and in order, though frames get lost: a full state, a boot's events."""

from __future__ import annotations

from typing import Any

MAX_EARLY_EVENTS = 64  # far more than a board remembers


class Snapshot:
    """Tracks whether everything that a HELLO announces has come when SYNCED does.

    The rows are counted as well as the gaps: a HELLO that is sent again in the middle, because a
    capability changed, must not hide that a row before it was lost.
    """

    def __init__(self) -> None:
        self.unbroken = False  # a HELLO came, and nothing was lost since
        self.counts_rows = True  # false for a board whose rows are malformed
        self._count: int | None = None
        self._rows = 0  # those that came, a bit for each

    def begin(self) -> None:
        """A HELLO came."""
        self.unbroken = True
        self._count = None
        self._rows = 0

    def miss(self) -> None:
        """Something was lost."""
        self.unbroken = False

    def add_row(self, index: int, count: int) -> None:
        """Row `index` of a table of `count` came."""
        if count != self._count:
            self._count = count
            self._rows = 0
        if index < count:
            self._rows |= 1 << index

    def is_complete(self) -> bool:
        """Return whether everything came, once SYNCED has."""
        return self.unbroken and (self._count == self._rows.bit_count() or not self.counts_rows)


class EventOrder:
    """Returns each event of a boot once and in order, with the number lost before it.

    They come at least once: what was lost comes again after a SUBSCRIBE for `wanted`. An event
    that is ahead of that is only let through once nothing before it can come any more.
    """

    def __init__(self) -> None:
        self.wanted: int | None = None  # None: whatever the board remembers
        self._early: dict[int, Any] = {}

    def restart(self) -> None:
        """Another boot: its events count from 0."""
        self.wanted = 0
        self._early.clear()

    def miss(self) -> None:
        """Something was lost: what came early comes again."""
        self._early.clear()

    def admit(self, number: int, event: Any, complete: bool) -> list[tuple[Any, int]]:
        """Return the events that are next in order, each with how many were missed before it.

        complete: nothing was lost since the last SYNCED, so the board forgot what is left out.
        """
        if self.wanted is not None and number < self.wanted:
            return []  # a repeat
        if number == self.wanted or complete:
            return [self._next(number, event)]
        if len(self._early) < MAX_EARLY_EVENTS:
            self._early[number] = event
        return []

    def on_synced(self) -> list[tuple[Any, int]]:
        """Return those that came early, now that the full state has come."""
        early, self._early = sorted(self._early.items()), {}
        in_order = [entry for entry in early if entry[0] >= (self.wanted or 0)]
        return [self._next(number, event) for number, event in in_order]

    def _next(self, number: int, event: Any) -> tuple[Any, int]:
        missed = 0 if self.wanted is None else number - self.wanted
        self.wanted = number + 1
        return event, missed
