"""Turns what a board sends into rows of a recording, each change once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from boardwarden._clock import steady_time
from boardwarden.board import Board
from boardwarden.crashes import CaughtException, Reset
from boardwarden.errors import LinkLost, RequestError
from boardwarden.grants import BoardSession, Lease, Operation
from boardwarden.models import Capability, Model, Status

from . import schema
from .schema import Boot, Row

_MAX_EARLY = 64
_APART_S = 1.0  # between two estimates of when one boot began
_NEVER = datetime.fromtimestamp(0, timezone.utc)
Table = Model | Iterable[Model] | Mapping[str, Capability]  # what is recorded as one value


class Follower:
    """Follows a board until it is closed; `put` takes each row.

    interval: that the board is to sample at, again after each restart; None: as it does.
    `on_news` is called when the link is lost, or back, and when the board has restarted.
    """

    def __init__(
        self,
        address: str,
        board: Board,
        put: Callable[[Row], None],
        interval: float | None = None,
        on_news: Callable[[Follower], None] = lambda follower: None,
    ) -> None:
        self.address = address
        self.board = board
        self.samples = 0
        self.events = 0
        self._put = put
        self._interval = interval
        self._on_news = on_news
        self._restarts = board.restart_count
        self._boot: Boot | None = None
        self._uptime_s = 0.0
        # Samples of a boot whose id is not known, and when it began.
        self._early: deque[tuple[float, Row]] = deque(maxlen=_MAX_EARLY)
        self._connected: bool | None = None
        self._seen: dict[str, object] = {}  # of the mirror; what is the same has not changed
        self._written: dict[tuple[str, int | None], Any] = {}  # what was written last

    async def run(self) -> None:
        """Follow until the board is closed."""
        await asyncio.gather(
            self._samples(), self._events(), self._changes(), self._request_interval()
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
            if self._boot is not None:
                self._put(schema.event(self._boot, self._moment(event.uptime_s), event))
                self.events += 1

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
        self._put(row)
        self.samples += 1

    def _write_changes(self) -> None:
        """Write what changed since the last time."""
        status = self.board.status
        if status.board.boot_id is None:
            return
        boot = schema.boot(self.address, status.board)
        if boot != self._boot:
            self._boot = boot
            self._uptime_s = 0.0
            self._forget()
        if self.board.connected != self._connected:
            self._connected = self.board.connected
            self._put(schema.link(boot, steady_time(), "up" if self._connected else "lost"))
            self._on_news(self)
        if self.board.restart_count != self._restarts:
            self._restarts = self.board.restart_count
            self._on_news(self)
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

    def _moment(self, uptime_s: float) -> float:
        """Return the host's time of an uptime."""
        status = self.board.status
        if status.last_updated is None or status.cpu.uptime_s is None:
            return steady_time()
        return status.last_updated.timestamp() - status.cpu.uptime_s + uptime_s


def _plain(value: Table) -> Any:
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {name: item.to_dict() for name, item in value.items()}
    return [item.to_dict() for item in value]
