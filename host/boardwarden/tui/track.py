"""A board's figures over time, for pictures: the last samples, and gaps where there were none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from boardwarden.models import Status

_MOST = 600  # samples

Figure = float | None
_READ: dict[str, Callable[[Status], Figure]] = {
    "used": lambda now: now.memory.used_bytes,
    "live": lambda now: now.memory.live_bytes,
    "largest": lambda now: now.memory.largest_free_block_bytes,
    "cpu": lambda now: now.cpu.usage,
    "lag": lambda now: now.cpu.loop_lag_worst_s,
    "uptime": lambda now: now.cpu.uptime_s,
}


class Track:
    """The last 600 samples' figures: used, live, largest (bytes), cpu, lag and uptime (seconds)."""

    def __init__(self) -> None:
        self._figures: dict[str, deque[Figure]] = {name: deque(maxlen=_MOST) for name in _READ}

    def add(self, status: Status) -> None:
        """Keep a sample's figures; the oldest go."""
        for name, read in _READ.items():
            self._figures[name].append(read(status))

    def gap(self) -> None:
        """Leave a place without figures: the board restarted, or the link was lost."""
        for figures in self._figures.values():
            if figures and figures[-1] is not None:
                figures.append(None)

    def last(self, name: str, count: int) -> list[Figure]:
        """Return a figure's last values, at most `count`, oldest first."""
        figures = self._figures[name]
        return [figures[place] for place in range(max(0, len(figures) - count), len(figures))]

    def span_s(self, count: int) -> float | None:
        """Return how many seconds the last `count` samples cover; None over a restart."""
        times = [time for time in self.last("uptime", count) if time is not None]
        if len(times) < 2 or times[-1] < times[0]:
            return None
        return times[-1] - times[0]
