"""The tables, events and requests of a FakeBoard, as plain as can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from warden_schema import ids

Row = list[Any]  # the fields of a row's message after `row`, or of an EVENT after seq
Answer = tuple[int, Any]

# The tables, in the order of the masks of ROWS: which rows each has, and where a session's id is.
_TABLES = {
    ids.LEASE: ids.MAX_LEASES,
    ids.OPERATION: ids.MAX_OPERATION_ROWS,
    ids.SESSION: ids.MAX_SESSIONS,
    ids.THRESHOLD: ids.MAX_THRESHOLDS,
    ids.METER: ids.MAX_METERS,
    ids.NEED: ids.MAX_NEEDS,
}
_CRASH_TABLES = (ids.EXCEPTION, ids.RESTART)  # outlast a reset; ROWS has no masks of them
_SESSION_AT = {ids.LEASE: 5, ids.OPERATION: 6}
_WAITING, _ACTIVE, _STOPPING = range(3)


class FakePolicy:
    """`tables` has the occupied rows by kind and place; silent until `used`, as an agent's is.

    `crash_lists` has the board's lists of exceptions and resets, sent when a host subscribes.
    `available` is what ALLOCATE grants, of any resource, less the leases; `send` sends a frame.
    """

    def __init__(self, send: Callable[..., None], uptime: Callable[[], tuple[int, int]]) -> None:
        self._send = send
        self._uptime = uptime
        self.available = 100_000
        self.answers: dict[int, Callable[[Row], Answer]] = {
            ids.ALLOCATE: self._allocate,
            ids.RELEASE: lambda args: self._end(ids.LEASE, args[0], "released"),
            ids.BEGIN: self._begin,
            ids.COMPLETE: lambda args: self._end(ids.OPERATION, args[0], "ended"),
            ids.CAN_EXECUTE: lambda args: (ids.OK, self._has_place() or args[0] >= 2),
            ids.SET_LIMITS: self._set_limits,
            ids.SET_THRESHOLD: self._set_threshold,
            ids.CANCEL: self._cancel,
            ids.TELL_METERS: self._send_meters,
            ids.KEEP: self._store,
            ids.QUOTA: lambda args: (ids.OK, self._quota(args[0])),
            ids.SET_QUOTA: self._set_quota,
        }
        self.stored = 0  # one of ids.KEPT, over a reset
        self.store_refused: str | None = None  # the reason
        self.acts_now = False  # what is to be stored is critical at this moment
        self.crash_lists: dict[int, list[Row]] = {kind: [] for kind in _CRASH_TABLES}
        self.reset()

    def reset(self) -> None:
        """Begin as after a reset of the board."""
        self.used = False
        self.tables: dict[int, dict[int, Row]] = {kind: {} for kind in _TABLES}
        self.limits: Row = [4, 300_000, 100, 5000]
        self.events: list[Row] = []  # those that are remembered
        self.quotas: dict[str, Row] = {}  # of sessions, by name
        self.metered: list[int] = []  # the arguments of TELL_METERS
        self._number = 0
        self._next_id = 100  # a test may have rows of its own
        self.host = 0  # whose request it is, where there are several hosts
        self._mine: dict[int, int] = {}  # each host's session

    # --- what a test makes it do ----------------------------------------------------------------

    def put(self, kind: int, place: int, row: Row) -> None:
        """Set a row of a table."""
        self._use()
        self.tables[kind][place] = row
        self._send(kind, place, *row)

    def drop(self, kind: int, place: int) -> None:
        """Free a row of a table."""
        if self.tables[kind].pop(place, None) is not None:
            self.send_rows()

    def happen(self, kind: str, subject: Any = None, detail: Any = None, value: Any = None) -> None:
        """Send an event, and remember it."""
        self._use()
        event = [self._number, kind, *self._uptime(), subject, detail, value]
        self._number += 1
        self.events = [*self.events, event][-ids.MAX_EVENTS :]
        self._send(ids.EVENT, *event)

    def sampled(self) -> None:
        """Send the meters with a sample, if the host wants them."""
        if self.metered and self.metered[-1]:
            for place, row in self.tables[ids.METER].items():
                self._send(ids.METER, place, *row)

    def send_all(self, events_from: int | None) -> None:
        """Send what a SUBSCRIBE brings."""
        for kind, found in self.crash_lists.items():
            for place, row in enumerate(found):
                self._send(kind, place, *row)
        if not self.used:
            return
        self.send_rows()
        for kind, rows in self.tables.items():
            for place, row in rows.items():
                self._send(kind, place, *row)
        for event in self.events:
            if event[0] >= min(events_from or 0, self._number):
                self._send(ids.EVENT, *event)

    def end_session(self, host: int = 0) -> None:
        """End all that a host holds."""
        mine = self._mine.pop(host, None)
        if mine is None:
            return
        for kind, at in _SESSION_AT.items():
            for number in [row[0] for row in self.tables[kind].values() if row[at] == mine]:
                self._end(kind, number, "ended")
        self._end(ids.SESSION, mine, "closed")

    # --- what a host asks -----------------------------------------------------------------------

    def _allocate(self, args: Row) -> Answer:
        resource, amount, owner, priority, ttl_ms, mount = args
        occupied = self.tables[ids.LEASE].values()
        free = self.available - sum(row[2] for row in occupied)
        if amount > free:
            reason = ("memory", "storage", "cpu_time", "bandwidth")[resource]
            self.happen("denied", None, reason, amount)
            return ids.DENIED, [reason, max(0, free), 2000, [row[0] for row in occupied]]
        left_ms = 60_000 if ttl_ms is None else ttl_ms
        row = [resource, amount, owner or "", priority, self._session(), self._uptime()[0]]
        return ids.OK, self._enter(ids.LEASE, [*row, left_ms, False, mount])

    def _begin(self, args: Row) -> Answer:
        name, priority, timeout_ms, memory, wait_ms = args
        state = _ACTIVE if self._has_place() else _WAITING
        if state == _WAITING and not wait_ms:
            blockers = [row[0] for row in self.tables[ids.OPERATION].values()]
            return ids.DENIED, ["operations", None, None, blockers]
        left_ms = timeout_ms or self.limits[1]
        row = [name, priority, state, 0, "", self._session(), self._uptime()[0], left_ms]
        return ids.OK, [self._enter(ids.OPERATION, [*row, memory, None]), state]

    def _cancel(self, args: Row) -> Answer:
        for place, row in self.tables[ids.OPERATION].items():
            if row[0] == args[0]:
                self.put(ids.OPERATION, place, [*row[:3], _STOPPING, *row[4:10], "preempted"])
                return ids.OK, None
        return ids.NOT_FOUND, None

    def _set_limits(self, args: Row) -> Answer:
        self._use()
        pairs = zip(self.limits, args, strict=True)
        self.limits = [old if new is None else new for old, new in pairs]
        self.send_rows()
        return ids.OK, self.limits

    def _set_threshold(self, args: Row) -> Answer:
        metric, warn, critical = args[:3]
        places = self.tables[ids.THRESHOLD]
        place = next((at for at, row in places.items() if row[0] == metric), len(places))
        if warn is None and critical is None:
            self.drop(ids.THRESHOLD, place)
        else:
            self.put(ids.THRESHOLD, place, [*args, 0, None])
        return ids.OK, None

    def _send_meters(self, args: Row) -> Answer:
        self._use()
        self.metered.append(args[0])
        return ids.OK, None

    def _store(self, args: Row) -> Answer:
        what = args[0] or 0
        if what and self.store_refused:
            return ids.DENIED, [self.store_refused, None, None, []]
        if what == 1 and self.acts_now:
            return ids.DENIED, ["keep:acts_now", None, None, []]
        if what:
            self.stored = 0 if what == 2 else 1
            self.happen("policy", None, "kept" if self.stored else "forgotten")
        return ids.OK, [self.stored, len(self.quotas)]

    def _quota(self, place: int) -> Row | None:
        names = sorted(self.quotas)
        return [names[place], *self.quotas[names[place]]] if place < len(names) else None

    def _set_quota(self, args: Row) -> Answer:
        name, *figures = args
        self.quotas.pop(name, None)
        if figures != [None] * 4:
            self.quotas[name] = figures
        return ids.OK, None

    # --- its tables -----------------------------------------------------------------------------

    def _has_place(self) -> bool:
        states = [row[3] for row in self.tables[ids.OPERATION].values()]
        return bool(states.count(_ACTIVE) + states.count(_STOPPING) < self.limits[0])

    def _session(self) -> int:
        """Return the id of the host's session, which is opened when it is first needed."""
        if self.host not in self._mine:
            self._mine[self.host] = self._enter(ids.SESSION, ["host", None, None, None, 10_000])
        return self._mine[self.host]

    def _enter(self, kind: int, fields: Row) -> int:
        place = next(at for at in range(_TABLES[kind]) if at not in self.tables[kind])
        number = self._next_id
        self._next_id += 1
        self.put(kind, place, [number, *fields])
        return number

    def _end(self, kind: int, number: int, why: str) -> Answer:
        for place, row in self.tables[kind].items():
            if row[0] == number:
                self.drop(kind, place)
                self.happen(_EVENT_KINDS[kind], number, why)
                return ids.OK, None
        return ids.NOT_FOUND, None

    def _use(self) -> None:
        if not self.used:
            self.used = True
            self.send_rows()

    def send_rows(self) -> None:
        """Send which rows are in use."""
        masks = [sum(1 << place for place in rows) for rows in self.tables.values()]
        self._send(ids.ROWS, *masks[:3], self.limits, *masks[3:])


_EVENT_KINDS = {ids.LEASE: "lease", ids.OPERATION: "operation", ids.SESSION: "session"}
