"""What the live view remembers of a board: its figures over time, and the end of its texts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from boardwarden.history import History
from boardwarden.models import Status

MAX_SAMPLES = 600
_LATE = 3  # intervals without a sample, and
_LATE_S = 1.0  # so much more, are a gap

Figure = float | None
_READ: dict[str, Callable[[Status], Figure]] = {
    "used": lambda now: now.memory.used_bytes,
    "live": lambda now: now.memory.live_bytes,
    "largest": lambda now: now.memory.largest_free_block_bytes,
    "cpu": lambda now: now.cpu.usage,
    "lag": lambda now: now.cpu.loop_lag_worst_s,
    "uptime": lambda now: now.cpu.uptime_s,
}
# What a board's own history has of these; it has neither garbage nor the longest steps.
REMEMBERED = {"live": "memory", "cpu": "cpu"}
MAX_CHARACTERS = 64 * 1024


class Track:
    """The last 600 samples' figures: used, live, largest (bytes), cpu, lag and uptime (seconds)."""

    def __init__(self) -> None:
        self._figures: dict[str, deque[Figure]] = {
            name: deque(maxlen=MAX_SAMPLES) for name in _READ
        }

    def add(self, status: Status) -> None:
        """Add a sample's figures; drop the oldest."""
        before, now = self._last_uptime_s(), status.cpu.uptime_s
        late_s = _LATE * (status.interval_s or 0.0) + _LATE_S
        if before is not None and now is not None and now - before > late_s:
            self.gap()
        for name, read in _READ.items():
            self._figures[name].append(read(status))

    def gap(self) -> None:
        """Add a gap, as the board restarted or the link was lost."""
        for figures in self._figures.values():
            if figures and figures[-1] is not None:
                figures.append(None)

    def recall(self, history: History, step_s: float) -> None:
        """Put the board's own history before the first sample, in steps of `step_s` seconds.

        There it is the mean of a second, a minute or an hour, whichever is the shortest known.
        """
        first = next((time for time in self._figures["uptime"] if time is not None), None)
        if first is None or step_s <= 0:
            return
        room = min(MAX_SAMPLES - len(self._figures["uptime"]), int(first / step_s))
        times = [first - step_s * back for back in range(1, room + 1)]  # newest first
        figures: dict[str, list[Figure]] = {name: [None] * room for name in _READ}
        for name, metric in REMEMBERED.items():
            figures[name] = [history.mean(metric, time) for time in times]
        known = [at for each in figures.values() for at in range(room) if each[at] is not None]
        figures["uptime"] = list(times)
        for name, values in self._figures.items():
            values.extendleft(figures[name][: max(known, default=-1) + 1])

    def _last_uptime_s(self) -> Figure:
        uptimes = self._figures["uptime"]
        return uptimes[-1] if uptimes else None

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


class Tail:
    """The last 64 Ki characters of a text; places count all pieces that were ever put."""

    def __init__(self) -> None:
        self._pieces: deque[str] = deque()
        self._size = 0
        self.end = 0

    def put(self, text: str) -> None:
        """Add text; the oldest goes."""
        self._pieces.append(text)
        self.end += 1
        self._size += len(text)
        while self._size > MAX_CHARACTERS and len(self._pieces) > 1:
            self._size -= len(self._pieces.popleft())

    def since(self, place: int) -> str:
        """Return the text from a place on, as far as it is still there."""
        gone = self.end - len(self._pieces)
        return "".join(list(self._pieces)[max(0, place - gone) :])
