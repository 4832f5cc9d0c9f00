"""The board's state on the host: fed by frames, read without I/O.

A frame costs storing a tuple. Models are made when somebody reads them, once for each state.
Written by one thread and read by any: the state is one tuple that is replaced, never changed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from operator import itemgetter
from types import MappingProxyType, NoneType
from typing import Any, Generic, TypeVar

from warden_schema import ids

from . import _clock, _conversion
from ._clock import SmallEvent, steady_time
from ._conversion import Row
from ._protocol.messages import Message
from ._quantities import THRESHOLD_METRICS
from ._status import (
    NOTHING,
    Figure,
    State,
    capabilities,
    fragmentation,
    status,
    uptime_s,
    used_bytes,
)
from .crashes import Reset, Restart, restart
from .grants import Event, Limits
from .history import METRICS, History, is_gap
from .models import Capability, Model, Status, Trends

_SAMPLE_PLACES = {name: place for place, name in enumerate(ids.SAMPLE_VALUES)}
_figures = itemgetter(  # the history's; storage is of the rows, and fragmentation follows
    *(_SAMPLE_PLACES[name] for name in (*ids.METRICS[:3], "free_bytes", "largest_free_block_bytes"))
)
_INTERVAL = _SAMPLE_PLACES["interval_ms"]
_LENGTH = {kind: len(names) + 1 for kind, names in ids.FIELDS.items()}
_MAX_RESTARTS = 16
_MAX_ENDED = 4  # boots that are remembered
_NONE: Mapping[int, float] = MappingProxyType({})
MAX_CHARACTERS = 256 * 1024  # of what is printed: for late listeners and for slow ones
MAX_EVENTS = 256
M = TypeVar("M", bound=Model)
_Rows = dict[int, tuple[float, Row]]
_EMPTY: tuple[_Rows, tuple[Any, ...]] = ({}, ())  # of most tables of most boards: shared


class Table(Generic[M]):
    """The rows of one table; `make` turns a row and its time of arrival into a model."""

    __slots__ = ("_cached", "_make", "_rows")

    def __init__(self, make: Callable[[Row, float], M]) -> None:
        self._make = make
        self._cached: tuple[_Rows, tuple[M, ...]] = _EMPTY
        self._rows = _EMPTY[0]

    def put(self, place: int, row: Row) -> None:
        """Store a row as the board has it now."""
        self._rows = {**self._rows, place: (_clock.passed_s(), row)}

    def drop_free(self, mask: int | None) -> None:
        """Drop the rows that are free on the board; `mask` has a bit for each occupied one."""
        occupied = mask or 0
        rows = {place: row for place, row in self._rows.items() if occupied >> place & 1}
        if len(rows) < len(self._rows):
            self._rows = rows

    def clear(self) -> None:
        """Drop all rows."""
        self._rows = _EMPTY[0]

    @property
    def models(self) -> tuple[M, ...]:
        """The rows, oldest first; made once for each state."""
        rows = self._rows
        made_from, made = self._cached
        if made_from is not rows:
            ordered = sorted(rows.values(), key=lambda entry: entry[1][0])
            made = tuple(self._make(row, received_at) for received_at, row in ordered)
            self._cached = (rows, made)
        return made


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


class Mirror:
    """The last state that a board sent.

    `on_sample` is called at each new sample, `on_change` when anything else may have changed,
    `on_gap` with two uptimes when samples between them are missing, before on_sample().
    `restarts` are the last 16 that were seen, `restart_count` counts all.
    """

    __slots__ = (  # of an object with so many attributes a dict takes 1.5 KB, in each board
        *("connected", "asleep", "losses", "samples", "history", "events", "limits"),
        *("leases", "operations", "sessions", "thresholds", "meters", "memory_profiles"),
        *("exceptions", "resets", "_tables", "restarts", "restart_count", "_restarted", "_ended"),
        *("_is_hello_old", "_early", "_slept", "_last_reset", "_metered", "_state", "_cached"),
        *("_on_sample", "_on_change", "_on_gap"),
    )

    def __init__(
        self,
        on_sample: Callable[[], None] = lambda: None,
        on_change: Callable[[], None] = lambda: None,
        on_gap: Callable[[float, float], None] = lambda begin_s, end_s: None,
    ) -> None:
        self.connected = False
        self.asleep = False  # as the board said last
        self.losses = 0  # of the link
        self.samples = 0
        self.history = History()
        self.events = EventLog()
        self.leases = Table(_conversion.lease_from_row)
        self.operations = Table(_conversion.operation_from_row)
        self.sessions = Table(_conversion.session_from_row)
        self.thresholds = Table(_conversion.threshold_from_row)
        self.meters = Table(_conversion.meter_from_row)
        self.memory_profiles = Table(_conversion.memory_profile_from_row)
        self.exceptions = Table(_conversion.exception_from_row)
        self.resets = Table(_conversion.reset_from_row)
        self._tables: dict[int, Table[Any]] = {
            ids.LEASE: self.leases,
            ids.OPERATION: self.operations,
            ids.SESSION: self.sessions,
            ids.THRESHOLD: self.thresholds,
            ids.METER: self.meters,
            ids.NEED: self.memory_profiles,
            ids.EXCEPTION: self.exceptions,
            ids.RESTART: self.resets,
        }
        self.limits = Limits()
        self.restarts: tuple[Restart, ...] = ()
        self.restart_count = 0
        self._restarted = False  # and why is still to come
        self._ended: Mapping[int, float] = _NONE  # boots, and how long each was up
        self._is_hello_old = False  # of the boot before; events wait for the new one's id
        self._early: list[tuple[Message, int]] = []
        self._slept = False  # since the last sample
        self._last_reset: Reset | None = None  # that was known before
        self._metered = False
        self._on_sample = on_sample
        self._on_change = on_change
        self._on_gap = on_gap
        self._state = State()
        self._cached: tuple[State, Status] = (State(), Status())

    # --- from the session -----------------------------------------------------------------------

    def on_message(self, message: Message) -> None:
        """Store the content of a HELLO, SAMPLE, ROWS or row of a table."""
        kind = message[0]
        self.asleep = kind == ids.ASLEEP
        self._slept = self._slept or self.asleep
        if kind == ids.SAMPLE:
            self._sample(message[2])
            return
        if kind == ids.STORAGE:
            self._storage(message[2], message[3], tuple(message[4 : _LENGTH[ids.STORAGE]]))
        elif kind == ids.HELLO:
            self._state = self._state._replace(hello=tuple(message))
            self._is_hello_old = False
            early, self._early = self._early, []
            for each in early:
                self.on_event(*each)
        elif kind == ids.ROWS:
            self._on_rows(message)
        elif kind == ids.SYSTEM_HEAP:
            self._state = self._state._replace(system_heap=tuple(message[2:5]))
        elif self.asleep:
            pass
        elif kind != ids.METER or self._metered:
            self._tables[kind].put(message[2], tuple(message[3 : _LENGTH[kind]]))
        self._on_change()

    def on_event(self, message: Message, missed: int) -> None:
        """Store an event."""
        if self._is_hello_old:
            self._early = [*self._early, (message, missed)][-MAX_EVENTS:]
            return
        row = tuple(message[2 : _LENGTH[ids.EVENT]])
        self.events.add(_conversion.event_from_row(row, missed, self.boot_id))
        self._on_change()

    def on_synced(self) -> None:
        if self._restarted:
            self._restarted = False
            cause = self.status.board.reset_cause
            now = datetime.fromtimestamp(steady_time(), timezone.utc)
            seen = restart(self._last_reset, self.resets.models, cause, now)
            if self._goes_on():
                seen = Restart(now, other_board=True)
            self.restarts = (*self.restarts, seen)[-_MAX_RESTARTS:]
            self.restart_count += 1
        self._on_change()

    def _goes_on(self) -> bool:
        """Return whether the boot is one that seemed to have ended."""
        ended_s, now_s = self._ended.get(self.boot_id or 0), uptime_s(self._state.values)
        return ended_s is not None and now_s is not None and now_s > ended_s

    def on_restart(self) -> None:
        """Clear everything but the board's identity, as the board restarted."""
        boot_id, ended_s = self.boot_id, uptime_s(self._state.values)
        if boot_id is not None and ended_s is not None:
            kept = {boot: up_s for boot, up_s in self._ended.items() if boot != boot_id}
            self._ended = dict([*kept.items(), (boot_id, ended_s)][-_MAX_ENDED:])
        if not self._restarted:
            self._last_reset = next(reversed(self.resets.models), None)
        self._restarted = self._is_hello_old = True
        self._early.clear()
        self._slept = False
        self._state = State(hello=self._state.hello)
        self.history.clear()
        self.events.start_boot()
        self.limits = Limits()
        for table in self._tables.values():
            table.clear()
        self._on_change()

    def on_link_change(self, connected: bool) -> None:
        """Store whether the board answers."""
        self.connected = connected
        self.losses += not connected
        self._on_change()

    def watch_meters(self, watched: bool) -> None:
        """Store METERs from now on, or stop; those that answer a SUBSCRIBE soon are out of date."""
        self._metered = watched
        self.meters.clear()

    def _sample(self, figures: list[Figure]) -> None:
        values = (*figures, *NOTHING[len(figures) :])
        hello, old, rows, received_at, _, used, heap = self._state
        if values[:2] == old[:2] and received_at is not None and values[0] is not None:
            # Sent again after a SUBSCRIBE: no younger than before.
            self._state = self._state._replace(values=values)
            return
        self._look_for_gap(old, values)
        now = steady_time()
        late_s = self._late_s(values, now)
        times = (_clock.passed_s() - late_s, now - late_s)
        self._state = State(hello, values, rows, *times, used, heap)
        self.samples += 1
        live, cpu, lag, free, largest = _figures(values)
        remembered = (live, cpu, lag, used, fragmentation(free, largest))
        self.history.add(uptime_s(values) or 0.0, remembered)
        self._on_sample()

    def _late_s(self, values: tuple[Figure, ...], now: float) -> float:
        """Return how long ago a sample came that lay unread: by its uptime, and the last one's."""
        unread_s, updated_at = _clock.unread_s(), self._state.updated_at
        before_s, after_s = uptime_s(self._state.values), uptime_s(values)
        if not unread_s or updated_at is None or before_s is None or after_s is None:
            return 0.0
        return min(unread_s, max(0.0, now - (updated_at + after_s - before_s)))

    def _look_for_gap(self, before: tuple[Figure, ...], after: tuple[Figure, ...]) -> None:
        """Find out whether samples of this boot are missing; a board that slept had none."""
        slept, self._slept = self._slept, False
        begin_s, end_s = uptime_s(before), uptime_s(after)
        stopped = not before[_INTERVAL]
        if slept or stopped or begin_s is None or end_s is None:
            return
        interval_s = max(before[_INTERVAL] or 0, after[_INTERVAL] or 0) / 1000
        if is_gap(end_s - begin_s, interval_s):
            self._on_gap(begin_s, end_s)

    def _storage(self, index: int, count: int, row: tuple[Any, ...]) -> None:
        mounts = [*self._state.rows, *[None] * count][: max(0, count)]
        if index < count:
            mounts[index] = row
        self._state = self._state._replace(rows=tuple(mounts), used_bytes=used_bytes(mounts))

    def _on_rows(self, message: Message) -> None:
        leases, operations, sessions, limits, thresholds, meters, profiles = message[2:9]
        self.leases.drop_free(leases)
        self.operations.drop_free(operations)
        self.sessions.drop_free(sessions)
        self.thresholds.drop_free(thresholds)
        self.meters.drop_free(meters)
        self.memory_profiles.drop_free(profiles)
        self.limits = _conversion.limits_from_row(limits)

    # --- what users read ------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """The board's present status."""
        state = self._state
        made_from, made = self._cached
        if made_from is not state:
            made = status(state)
            self._cached = (state, made)
        return made

    @property
    def boot_id(self) -> int | None:
        """The id of the board's boot; None before the first HELLO."""
        return self._state.hello[5] if self._state.hello else None

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        """What the board can measure, by name; empty before the first HELLO."""
        return MappingProxyType(capabilities(self._state.hello))

    @property
    def dropped_frames(self) -> Figure:
        """Frames that the board dropped because the link did not drain."""
        return self._state.values[_SAMPLE_PLACES["dropped_frames"]]

    def trends(self, period: float) -> Trends:
        """Fit a line through each figure's last `period` seconds."""
        if not period > 0:
            raise ValueError("The period of a trend must be more than 0 seconds.")
        now = self.status
        limits = {
            "memory": now.memory.total_bytes,
            "storage": now.storage[0].total_bytes if now.storage else None,
        }
        found = {name: self.history.trend(name, period, limits.get(name)) for name in METRICS}
        return Trends(period_s=period, **found)

    # --- whether a request's changes are here ---------------------------------------------------

    def shows(self, operation: int, args: Sequence[Any], value: Any) -> bool:
        """Return whether the rows that a request changed have come; `value` is its reply's."""
        if operation == ids.ALLOCATE:
            return any(lease.id == value for lease in self.leases.models)
        if operation == ids.RELEASE:
            return not any(lease.id == args[0] for lease in self.leases.models)
        if operation == ids.BEGIN:
            operation_id = value[0] if isinstance(value, list) and value else None
            return any(each.id == operation_id for each in self.operations.models)
        if operation == ids.COMPLETE:
            return not any(each.id == args[0] for each in self.operations.models)
        if operation == ids.CANCEL:
            found = self.operations.models
            return not any(each.id == args[0] and each.why is None for each in found)
        if operation == ids.SET_LIMITS:
            makes_sense = isinstance(value, list) and set(map(type, value)) <= {int, NoneType}
            return not makes_sense or self.limits == _conversion.limits_from_row(value)
        return operation != ids.SET_THRESHOLD or self._shows_threshold(*args)

    def _shows_threshold(
        self, metric: int, warn: Any, critical: Any, clear: Any, *rest: Any
    ) -> bool:
        for each in self.thresholds.models:
            if each.metric == THRESHOLD_METRICS[metric]:
                levels = (each.warn, each.critical, each.clear if clear is not None else None)
                try:
                    found = _conversion.threshold(each.metric, *levels, each.hold_s, each.action)
                except ValueError:  # a newer board's
                    return False
                return found == (metric, warn, critical, clear, *rest)
        return warn is None and critical is None
