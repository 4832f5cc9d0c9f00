"""Records boards: what they send becomes rows, each change once, committed twice a second."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from boardwarden._clock import steady_time
from boardwarden.board import Board
from boardwarden.crashes import CaughtException, Reset
from boardwarden.errors import LinkLost, RecordingError, RequestError
from boardwarden.grants import BoardSession, Event, Lease, Operation
from boardwarden.history import Gap, is_gap
from boardwarden.models import Capability, Model, Status

from . import schema
from .schema import Boot, Locked, Row
from .store import Recorded, Store

_MAX_EARLY = 64
_MAX_KNOWN = 4  # boots
_APART_S = 1.0  # between two estimates of when one boot began
_NEVER = datetime.fromtimestamp(0, timezone.utc)
Table = Model | Iterable[Model] | Mapping[str, Capability]  # what is recorded as one value
COMMIT_S = 0.5  # between two commits; with the commit itself, less than a second may be lost
MAX_PENDING = 200_000  # rows that wait while another program has the file locked


@dataclass
class _Known:
    """A boot, when it began by the host's clock, and the number of its next event."""

    boot: Boot
    booted_at: float | None = None
    next_event: int | None = None

    def moment(self, uptime_s: float) -> float:
        """Return the host's time of an uptime; now, where no sample has come."""
        return steady_time() if self.booted_at is None else self.booted_at + uptime_s


class Follower:
    """Follows a board until it is closed; `put` takes each row.

    interval: that the board is to sample at, again after each restart; None: as it does.
    `on_link_change` is called when the link is lost or back, and when the board has restarted;
    `on_gap` once a time without samples was read from the board's own history. `recorded` returns
    what of a boot is in the file already.
    """

    def __init__(
        self,
        address: str,
        board: Board,
        put: Callable[[Row], None],
        interval: float | None = None,
        on_link_change: Callable[[Follower], None] = lambda follower: None,
        on_gap: Callable[[Follower, Gap], None] = lambda follower, gap: None,
        recorded: Callable[[Boot], Recorded] = lambda boot: Recorded(),
    ) -> None:
        self.address = address
        self.board = board
        self.samples = 0
        self.events = 0
        self._put = put
        self._interval = interval
        self._on_link_change = on_link_change
        self._on_gap = on_gap
        self._recorded = recorded
        self._restarts = board.restart_count
        self._boot: Boot | None = None
        self._uptime_s = 0.0
        self._known: dict[int | None, _Known] = {}  # the last boots, by id
        # Samples of a boot whose id is not known, and when it began.
        self._early: deque[tuple[float, Row]] = deque(maxlen=_MAX_EARLY)
        self._connected: bool | None = None
        self._seen: dict[str, object] = {}  # of the mirror; what is the same has not changed
        self._written: dict[tuple[str, int | None], Any] = {}  # what was written last

    async def run(self) -> None:
        """Follow until the board is closed."""
        await asyncio.gather(
            self._samples(),
            self._events(),
            self._changes(),
            self._request_interval(),
            self._gaps(),
            self._fill_up(),
        )

    def again(self) -> None:
        """Write the full state again, into a new file."""
        self._forget()
        self._write_changes()

    def stop(self) -> None:
        """Write that the recording stops."""
        if self._boot is not None:
            self._put(schema.link(self._boot, steady_time(), "stopped"))

    async def _samples(self) -> None:
        # In one step with the first anext(), which begins to listen: no sample comes between them.
        self._write_sample(self.board.status)
        self._write_changes()
        async for status in self.board.updates(every=True):
            self._write_sample(status)
            self._write_changes()

    async def _events(self) -> None:
        async for event in self.board.events():
            self._write_changes()
            self._write_event(event)

    async def _gaps(self) -> None:
        async for gap in self.board.gaps():
            self._write_gap(gap)

    async def _fill_up(self) -> None:
        """Read what the board has of the time since the file's last sample of this boot.

        And of the last gap before it, where the recording ended before that was read.
        """
        status = self.board.status
        uptime_s, interval_s = status.cpu.uptime_s, status.interval_s
        recorded = self._recorded(schema.boot(self.address, status.board))
        if recorded.uptime_s is None or uptime_s is None or not interval_s:
            return
        gaps = [] if recorded.gap is None else [recorded.gap]
        if is_gap(uptime_s - recorded.uptime_s, interval_s):
            gaps.append((recorded.uptime_s, uptime_s))
        with contextlib.suppress(LinkLost):  # it is closed
            for gap in gaps:
                self._write_gap(await self.board.fetch_gap(*gap))

    async def _changes(self) -> None:
        async for _ in self.board.changes():
            self._write_changes()

    async def _request_interval(self) -> None:
        """Set the user's interval again after each restart of the board."""
        if self._interval is None:
            return
        requested = self._boot
        async for _ in self.board.changes():
            if self.board.connected and requested != self._boot:
                with contextlib.suppress(RequestError, LinkLost):  # then at the next change
                    await self.board.start_monitoring(self._interval)
                    requested = self._boot

    # --- what is written ------------------------------------------------------------------------

    def _write_sample(self, status: Status) -> None:
        row = schema.sample(self.address, status)
        if row is None or status.board.boot_id is None:
            return
        uptime_s = status.cpu.uptime_s or 0.0
        booted_at = (status.last_updated or _NEVER).timestamp() - uptime_s
        if row.boot == self._boot and uptime_s < self._uptime_s:
            # It restarted, and its new boot id is still to come: another host had this one sent.
            self._early.append((booted_at, row))
            return
        for early_at, early in self._early:  # of that boot, unless it restarted once more
            if early.boot != row.boot and abs(early_at - booted_at) < _APART_S:
                self._put(early._replace(boot=row.boot))
                self.samples += 1
        self._early.clear()
        self._uptime_s = uptime_s
        self._boot_of(row.boot.boot_id).booted_at = booted_at
        self._put(row)
        self.samples += 1

    def _write_event(self, event: Event) -> None:
        """Write an event that is not in the file, and how many were lost before it."""
        if self._boot is None:
            return
        of = self._boot_of(event.boot_id)
        expected = of.next_event
        if expected is None:
            last = self._recorded(of.boot).event
            expected = event.number - event.missed if last is None else last + 1
        if event.number < expected:
            return
        of.next_event = event.number + 1
        at, missed = of.moment(event.uptime_s), event.number - expected
        if missed:
            self._put(schema.lost_events(of.boot, at, expected, missed))
        self._put(schema.event(of.boot, at, replace(event, missed=missed)))
        self.events += 1

    def _write_gap(self, gap: Gap) -> None:
        """Write what the board's own history has of a time without samples."""
        of = self._boot_of(gap.boot_id)
        for slot in gap.slots:
            self._put(schema.history(of.boot, of.moment(slot.begin_s), slot))
        self._on_gap(self, gap)

    def _boot_of(self, boot_id: int | None) -> _Known:
        """Return what is known of a boot: this one, or one before it of which something is left."""
        if boot_id not in self._known:
            boot = schema.boot(self.address, self.board.status.board)
            if boot.boot_id != boot_id:
                boot = boot._replace(boot_id=boot_id, reset_cause=None)
            self._known[boot_id] = _Known(boot)
            if len(self._known) > _MAX_KNOWN:
                del self._known[next(iter(self._known))]
        return self._known[boot_id]

    def _write_changes(self) -> None:
        """Write what changed since the last time."""
        status = self.board.status
        if status.board.boot_id is None:
            return
        boot = schema.boot(self.address, status.board)
        if boot != self._boot:
            self._boot_of(boot.boot_id).boot = boot
            self._boot = boot
            self._uptime_s = 0.0
            self._forget()
        if self.board.connected != self._connected:
            self._connected = self.board.connected
            self._put(schema.link(boot, steady_time(), "up" if self._connected else "lost"))
            self._on_link_change(self)
        if self.board.restart_count != self._restarts:
            self._restarts = self.board.restart_count
            self._on_link_change(self)
        self._write_table("capabilities", self.board.capabilities)
        self._write_table("storage", status.storage)
        self._write_table("limits", self.board.limits)
        self._write_table("thresholds", self.board.thresholds)
        self._write_rows("lease", self.board.allocations)
        self._write_rows("operation", self.board.operations)
        self._write_rows("session", self.board.sessions)
        if self.board.synced:  # else it is a part of them, while a board that restarted sends them
            self._write_kept("resets", self.board.resets)
            self._write_kept("exceptions", self.board.exceptions)

    def _forget(self) -> None:
        self._connected = None
        self._seen.clear()
        self._written.clear()

    def _write_table(self, what: str, value: Table) -> None:
        """Write a whole table, if it changed."""
        if self._has_changed(what, value):
            self._write(what, None, _plain(value))

    def _write_kept(self, what: str, value: Sequence[Reset | CaughtException]) -> None:
        """Write a list that most boards do not keep: not while it is empty."""
        if value or (what, None) in self._written:
            self._write_table(what, value)

    def _write_rows(self, what: str, found: tuple[Lease | Operation | BoardSession, ...]) -> None:
        """Write the rows that changed, and which are gone."""
        if not self._has_changed(what, found):
            return
        here = {row.id: row for row in found}
        for kind, number in list(self._written):
            if kind == what and number not in here:
                self._write(what, number, None)
                del self._written[kind, number]
        for number, row in here.items():
            # What remains becomes less by itself: a row that differs in that only is the same.
            if (what, number) not in self._written or self._written[what, number] != row:
                self._write(what, number, row.to_dict())
                self._written[what, number] = row

    def _has_changed(self, what: str, value: object) -> bool:
        if self._seen.get(what) is value:
            return False
        self._seen[what] = value
        return True

    def _write(self, what: str, number: int | None, value: Any) -> None:
        if self._boot is None or (number is None and self._written.get((what, None)) == value):
            return
        self._put(schema.change(self._boot, steady_time(), what, number, value))
        if number is None:
            self._written[what, None] = value


def _plain(value: Table) -> Any:
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: item.to_dict() for name, item in value.items()}
    return [item.to_dict() for item in value]


class Recorder:
    """Writes what these boards (by address) send into an open store.

    `each_commit` is called after each commit, and each half second without one; `on_link_change`
    when a board's link is lost, or there, and when a board has restarted; `on_gap` when it was
    read what a board's own history has of a time without samples. `locked` is why nothing
    is written at present, else "".
    """

    def __init__(
        self,
        store: Store,
        boards: Mapping[str, Board],
        interval: float | None = None,
        each_commit: Callable[[Recorder], None] = lambda recorder: None,
        on_link_change: Callable[[Follower], None] = lambda follower: None,
        on_gap: Callable[[Follower, Gap], None] = lambda follower, gap: None,
    ) -> None:
        self.store = store
        self.began_at = time.monotonic()
        self._each_commit = each_commit
        self._interval = interval
        self._on_link_change = on_link_change
        self._on_gap = on_gap
        self._pending: list[Row] = []
        self._begun = 0  # files after the first
        self.locked = ""
        self._following: list[asyncio.Task[None]] = []  # as many of the followers as were begun
        self.followers: list[Follower] = []
        for address, board in boards.items():
            self.add(address, board)

    def add(self, address: str, board: Board) -> None:
        """Record another board, too."""
        callbacks = (self._on_link_change, self._on_gap, self.store.recorded)
        self.followers.append(
            Follower(address, board, self._pending.append, self._interval, *callbacks)
        )

    async def run(self, stop: asyncio.Event, seconds: float | None = None) -> None:
        """Record until `stop` is set or the seconds are over; RecordingError if it cannot write."""
        ending = asyncio.create_task(_wait(stop, seconds))
        try:
            while not ending.done():
                for follower in self.followers[len(self._following) :]:
                    self._following.append(asyncio.create_task(follower.run()))
                await asyncio.wait({ending, *self._following}, timeout=COMMIT_S)
                for task in self._following:
                    if task.done():
                        task.result()
                        raise RuntimeError("a board was closed while it was recorded")
                await self._commit()
            for follower in self.followers:
                follower.stop()
            await self._commit()
            if self.locked:  # to end in time matters more than what a lock keeps out
                raise RecordingError(f"{self.locked} {len(self._pending)} rows are not in it.")
        finally:
            tasks = (ending, *self._following)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _commit(self) -> None:
        """Write what is pending; where another program has locked the file, it stays so."""
        if self._pending:
            rows = self._pending.copy()
            self._pending.clear()
            try:
                await _in_thread(self.store, rows)
                self.locked = ""
            except Locked as error:
                self._pending[:0] = rows  # more came meanwhile
                self.locked = str(error)
                if len(self._pending) > MAX_PENDING:
                    raise
            begun = self.store.rotations + self.store.removals
            if begun != self._begun:
                self._begun = begun
                for follower in self.followers:
                    follower.again()
        self._each_commit(self)


async def _in_thread(store: Store, rows: list[Row]) -> None:
    """Write; also when this is cancelled, wait until the thread has done with the store."""
    writing = asyncio.ensure_future(asyncio.to_thread(store.write, rows))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.wait([writing])
        raise


async def _wait(stop: asyncio.Event, seconds: float | None) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
