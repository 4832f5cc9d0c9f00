"""A board's figures of the last minutes, in little memory: there may be thousands of boards."""

from __future__ import annotations

from array import array

from boardwarden.models import Status

FIGURES = ("live", "used", "largest", "cpu", "lag", "fragmentation")  # bytes, fractions, seconds
SHARES = ("memory", "cpu")  # of a row's small graphs, in percent
_POINTS = 600
_ROW = 1 + len(FIGURES)
_EVERY_S = 1.0  # at most one point in so many seconds
_SHARES = 60  # points of a small graph
_NONE = float("nan")
_NO_SHARE = -1

Point = tuple[float | None, ...]


def figures(status: Status) -> Point:
    """Return the figures of a status, in the order of FIGURES."""
    memory, cpu = status.memory, status.cpu
    return (
        memory.live_bytes,
        memory.used_bytes,
        memory.largest_free_block_bytes,
        cpu.usage,
        cpu.loop_lag_worst_s,
        memory.fragmentation,
    )


class Past:
    """The last points of a board; times are seconds since `begin`, which is of the epoch."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._points = array("f")
        self._shares = {name: array("b") for name in SHARES}
        self._last = -_EVERY_S

    def add(self, at: float, status: Status) -> None:
        """Add a sample's figures, at most one a second; drop the oldest."""
        time = at - self._begin
        if time - self._last < _EVERY_S * 0.9:
            return
        self._last = time
        self._points.extend((time, *(_NONE if each is None else each for each in figures(status))))
        if len(self._points) > (_POINTS + 60) * _ROW:
            del self._points[: 60 * _ROW]

    def add_shares(self, memory: int | None, cpu: int | None) -> None:
        """Add a point to the small graphs; None is a gap."""
        for name, share in zip(SHARES, (memory, cpu), strict=True):
            points = self._shares[name]
            points.append(_NO_SHARE if share is None else max(0, min(100, share)))
            if len(points) > _SHARES:
                del points[: len(points) - _SHARES]

    def shares(self, name: str) -> list[int | None]:
        """Return the points of a small graph, oldest first."""
        return [None if each == _NO_SHARE else each for each in self._shares[name]]

    def series(self, name: str) -> list[tuple[float, float]]:
        """Return (seconds since the epoch, figure) of one of FIGURES, oldest first."""
        place = 1 + FIGURES.index(name)
        points = self._points
        return [
            (self._begin + points[at], points[at + place])
            for at in range(0, len(points), _ROW)
            if points[at + place] == points[at + place]
        ]
