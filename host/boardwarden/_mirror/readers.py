"""What a board prints and its events, for any number of readers.

The console gives late readers recent text first; of events a slow reader learns how many it missed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

from boardwarden._clock import SmallEvent
from boardwarden.grants import Event
from warden_schema import ids

from .tables import Row, from_thousandths, in_metric_unit, metric_name

MAX_CHARACTERS = 256 * 1024  # for late listeners and for slow ones
MAX_EVENTS = 256
_OF_A_METRIC = ("threshold", "collect", "trim", "reset")  # whose subject is a metric
_FIGURES = ("threshold", "reset")  # whose value is a figure of it


class _Buffer:
    """Text that waits to be read; drops the oldest when there is too much."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self._size = sum(map(len, pieces))

    def put(self, text: str) -> None:
        self.pieces.append(text)
        self._size += len(text)
        if self._size > MAX_CHARACTERS:
            newest = "".join(self.pieces)[-MAX_CHARACTERS // 2 :]
            self.pieces, self._size = [newest], len(newest)

    def pop_all(self) -> str:
        text = "".join(self.pieces)
        self.pieces, self._size = [], 0
        return text


class Console:
    """What the board printed; at most the last 256 Ki characters wait for a listener."""

    def __init__(self) -> None:
        self._recent = _Buffer([])
        self._listeners: set[_Buffer] = set()
        self._changed = SmallEvent()
        self._closed = False

    def put(self, text: str) -> None:
        """Give text to all listeners."""
        self._recent.put(text)
        for listener in self._listeners:
            listener.put(text)
        self._changed.notify_all()

    def close(self) -> None:
        """End the text: listeners end when they have read all of it."""
        self._closed = True
        self._changed.notify_all()

    async def listen(self) -> AsyncGenerator[str, None]:
        """Yield the text printed recently, then each piece as it comes, until close()."""
        buffer = _Buffer(self._recent.pieces.copy())
        self._listeners.add(buffer)
        try:
            while True:
                if text := buffer.pop_all():
                    yield text
                elif self._closed:
                    return
                else:
                    await self._changed.wait()
        finally:
            self._listeners.discard(buffer)


class EventLog:
    """Holds the last 256 events; their places keep counting across restarts of the board."""

    def __init__(self) -> None:
        self._events: tuple[int, tuple[Event, ...]] = (0, ())  # their end, and they
        self.first = 0  # the place of the first of this boot, which may have been dropped

    def add(self, event: Event) -> None:
        """Add an event; drop the oldest."""
        end, events = self._events
        self._events = (end + 1, (*events, event)[-MAX_EVENTS:])

    def start_boot(self) -> None:
        """Begin another boot: only readers that began before still get the earlier events."""
        self.first = self.end

    @property
    def end(self) -> int:
        """The place of the next event."""
        return self._events[0]

    @property
    def recent(self) -> tuple[Event, ...]:
        """The events of this boot that were not dropped, oldest first."""
        end, events = self._events
        return events[max(0, self.first - (end - len(events))) :]

    def since(self, place: int) -> tuple[Event, ...]:
        """Return the events from a place on; `missed` of the first counts those already dropped."""
        end, events = self._events
        gone = end - len(events) - place
        if gone <= 0:
            return events[-gone:]
        return replace(events[0], missed=events[0].missed + gone), *events[1:]


def event_from_row(row: Row, missed: int, boot_id: int | None = None) -> Event:
    """Return the Event of an EVENT; its value is in the host's unit if the kind defines one."""
    number, kind, seconds, milliseconds, subject, detail, value = row
    about: int | str | None = metric_name(subject) if kind in _OF_A_METRIC else subject
    if kind == "hang" and subject in range(len(ids.HANG_STEPS)):
        about = ids.HANG_STEPS[subject]
    elif kind == "exception" and subject in range(len(ids.EXCEPTION_KINDS)):
        about = ids.EXCEPTION_KINDS[subject]
    if kind in _FIGURES:
        value = in_metric_unit(metric_name(subject), value)
    elif kind in ("overrun", "hang") or (kind, detail) == ("denied", "cpu_time"):
        value = from_thousandths(value)
    at = seconds + milliseconds / 1000
    return Event(number, kind, at, about, detail, value, missed, boot_id)
