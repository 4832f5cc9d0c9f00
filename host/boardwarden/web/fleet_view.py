"""The fleet as the page shows it: rows, what changed lately, and a stream of both to each viewer.

Four times a second each board's row is made anew; what differs is encoded once for all viewers. A
viewer that does not keep up gets everything again instead of what it missed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from boardwarden._clock import steady_time
from boardwarden.board import Board
from boardwarden.crashes import CAUSES
from boardwarden.grants import Event, Threshold
from boardwarden.models import Level, Status, enum_name
from boardwarden.render.status import board_name, loss
from boardwarden.render.tables import event_text, figure, threshold_text
from boardwarden.render.text import NOTHING, count, duration, percent, printable, size
from boardwarden.serve.watched import Watched

from .past import SHARES, Past

TICK_S = 0.25
_SHARES_EVERY = 8  # ticks
_MAX_CHANGES = 60
_MAX_UNREAD = 80
_HEARTBEAT_S = 5.0  # a viewer that hears nothing for longer knows that the server is gone
_SAME_START_S = 15.0
# Events of a board that the fleet's list of changes has; the others are in the board's own view.
_LISTED_EVENTS = ("threshold", "reset", "hang", "safe", "policy", "callback_failed")
_log = logging.getLogger(__name__)
# The worst first: the order of the page.
STATES = ("lost", "crashed", "critical", "warned", "asleep", "connecting", "well")
CRASHED_FOR_S = 900.0  # so long a board counts as crashed after an unexpected reset or exception
_LEVEL_WORDS = {Level.CRITICAL: "critical", Level.WARN: "warned"}


@dataclass(frozen=True)
class Row:
    """What the fleet's page shows of a board; texts have their units, shares are percents.

    `started` is when its uptime began, in seconds since the epoch; `policy` names what it watches.
    None: not known.
    """

    id: str
    name: str
    state: str
    note: str
    since: float | None = None
    memory: str = NOTHING
    memory_share: int | None = None
    cpu: str = NOTHING
    cpu_share: int | None = None
    lag: str = NOTHING
    operations: str = NOTHING
    started: float | None = None
    machine: str = NOTHING
    firmware: str = NOTHING
    agent: str = NOTHING
    policy: str = NOTHING


def row_of(watched: Watched, now: float) -> Row:
    """Return a board's row; no I/O. now: seconds since the epoch."""
    name = board_name(watched.address)
    board = watched.board
    if board is None:
        problem = printable(watched.problem)
        return Row(watched.address, name, "lost" if problem else "connecting", problem)
    state, note, since = health(board, now)
    status = board.status
    memory, cpu, identity = status.memory, status.cpu, status.board
    live = memory.live_bytes if memory.live_bytes is not None else memory.used_bytes
    share = live / memory.total_bytes if live is not None and memory.total_bytes else None
    return Row(
        watched.address,
        name,
        state,
        printable(note),
        since,
        memory=f"{size(live)} of {size(memory.total_bytes)}",
        memory_share=_percent(share),
        cpu=percent(cpu.usage),
        cpu_share=_percent(cpu.usage),
        lag=duration(cpu.loop_lag_worst_s),
        operations=str(len(board.operations)) if board.limits.max_operations else NOTHING,
        started=started(status),
        machine=printable(identity.machine or NOTHING),
        firmware=printable(identity.firmware or NOTHING),
        agent=printable(identity.agent or NOTHING),
        policy=policy_words(board),
    )


def started(status: Status) -> float | None:
    """Return when the board's uptime began, to 10 s, in seconds since the epoch."""
    zero = uptime_zero(status)
    return None if zero is None else round(zero / 10) * 10


def uptime_zero(status: Status) -> float | None:
    """Return when a board's uptime was 0, in seconds since the epoch; None where not known."""
    if status.last_updated is None or status.cpu.uptime_s is None:
        return None
    return status.last_updated.timestamp() - status.cpu.uptime_s


def health(board: Board, now: float) -> tuple[str, str, float | None]:
    """Return a board's state, why, and since when it is lost or asleep (seconds of the epoch)."""
    last = board.status.last_updated
    since = None if last is None else round(last.timestamp(), 1)
    if not board.connected:
        if board.asleep:
            return "asleep", "it said that it sleeps", since
        return "lost", loss(board), since
    if crash := _crash(board, now):
        return "crashed", crash, None
    worst = max(board.thresholds, key=lambda each: each.level, default=None)
    if worst is not None and worst.level in _LEVEL_WORDS:
        return _LEVEL_WORDS[Level(worst.level)], _beyond(board, worst.level), None
    if not board.status.interval_s:
        return "well", "sampling stopped", None
    return "well", "", None


def _beyond(board: Board, level: int) -> str:
    """Return which metrics are at a level, with the figures at which they came to it."""
    words = (
        f"{each.metric.replace('_', ' ')} {figure(each.metric, each.value)}"
        for each in board.thresholds
        if each.level == level
    )
    return ", ".join(words)


def _crash(board: Board, now: float) -> str:
    """Return what crashed in the last 15 minutes; empty if nothing did."""
    for restart in reversed(board.restarts):
        recent = restart.at is not None and now - restart.at.timestamp() < CRASHED_FOR_S
        if recent and restart.expected is False:
            return str(restart)
    identity, uptime = board.status.board, board.status.cpu.uptime_s
    last = next((each for each in reversed(board.resets) if not each.expected), None)
    free_s = identity.crash_free_s
    if last is not None and free_s is not None and free_s < CRASHED_FOR_S:
        what = last.error or CAUSES.get(last.cause or "", last.cause) or "nobody knows why"
        return f"the board restarted: {what}"
    for each in reversed(board.exceptions):
        if None not in (each.uptime_s, uptime) and uptime - each.uptime_s < CRASHED_FOR_S:  # type: ignore[operator]
            name = each.name or "the application"
            if each.kind == "hang":
                return f"{name} hung, and was interrupted"
            what = f"{each.kind} {each.name}" if each.name else f"the {each.kind}"
            return f"{what} ended: {each.error}"
    return ""


def policy_words(board: Board) -> str:
    """Return what a board watches and allows, in a line: boards of one policy have one text."""
    limit = board.limits.max_operations
    if limit is None:
        return "only measures"
    watched = [f"{each.metric}: {_settings(each)}" for each in board.thresholds]
    return printable("; ".join([count(limit, "operation"), *watched]))


def _settings(each: Threshold) -> str:
    try:
        return threshold_text(each)
    except (ValueError, TypeError):  # a newer agent's
        return enum_name(each.action)


def _percent(share: float | None) -> int | None:
    return None if share is None else round(100 * share)


# --- the view -------------------------------------------------------------------------------------


@dataclass
class Tracked:
    """What is remembered of a board between two ticks."""

    past: Past
    row: Row | None = None
    since: float = 0.0  # when its state began
    boot: int | None = None
    events: int = -1  # the number of the last one that was listed
    restarts: int = 0
    seen: Board | None = None  # of which the two before are
    status: object = None  # whose figures are in `past`
    was_here: bool = False  # was connected once
    failed: bool = False  # its row could not be made, and that was logged


@dataclass(eq=False)
class Viewer:
    """Who looks at the fleet: what it has not been sent yet."""

    unread: deque[bytes] = field(default_factory=deque)
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # set: look at it


class FleetView:
    """The rows of all boards that are followed; run() in a task."""

    def __init__(self, boards: Iterable[Watched]) -> None:
        self.boards = boards
        self._tracked: dict[str, Tracked] = {}
        self._changes: deque[dict[str, Any]] = deque(maxlen=_MAX_CHANGES)
        self._changed = 0  # how many changes there ever were
        self._viewers: set[Viewer] = set()
        self._ticks = 0
        self._full_state: bytes | None = None  # everything, as of the last tick
        self.ended = False

    def find(self, board_id: str) -> Watched | None:
        """Return the followed board of an address."""
        return next((each for each in self.boards if each.address == board_id), None)

    def past(self, board_id: str) -> Past:
        """Return what is remembered of a board's figures."""
        tracked = self._tracked.get(board_id)
        return Past() if tracked is None else tracked.past

    def row(self, board_id: str) -> dict[str, Any] | None:
        """Return a board's row as it is sent, with since when it is in its state."""
        tracked = self._tracked.get(board_id)
        return None if tracked is None or tracked.row is None else _shown(tracked.row, tracked)

    async def run(self) -> None:
        """Make the rows anew until cancelled."""
        try:
            while True:
                begin = time.monotonic()
                self.tick()
                await asyncio.sleep(max(0.05, TICK_S - (time.monotonic() - begin)))
        finally:
            self.close()

    def close(self) -> None:
        """End all streams."""
        self.ended = True
        for viewer in self._viewers:
            viewer.ready.set()

    def tick(self) -> None:
        """Compare each board with its row of before, and send viewers what differs."""
        self._full_state = None
        now = steady_time()
        before = self._changed
        known = set()
        changed = []
        for watched in self.boards:
            known.add(watched.address)
            tracked = self._tracked.get(watched.address)
            if tracked is None:
                tracked = self._tracked[watched.address] = Tracked(Past(), since=now)
            try:
                row = self._update(watched, tracked, now)
            except Exception:  # what a board says is data, and must not hide the others
                if not tracked.failed:
                    _log.exception("%s: its row cannot be made.", watched.address)
                tracked.failed = True
                continue
            if row is not None:
                changed.append(row)
        gone = [each for each in self._tracked if each not in known]
        for each in gone:
            del self._tracked[each]
        self._ticks += 1
        new = self._changed - before
        if self._viewers and (changed or gone or new):
            changes = list(self._changes)[-new:] if new else []
            self._send({"rows": changed, "gone": gone, "changes": changes})

    def _update(self, watched: Watched, tracked: Tracked, now: float) -> dict[str, Any] | None:
        """Return a board's row if it differs from before."""
        old, board = tracked.row, watched.board
        self._list_events(board, tracked, now)
        row = row_of(watched, now)
        if old is not None and _is_same_start(old.started, row.started):
            row = replace(row, started=old.started)  # it moves a little with each sample
        if board is not None and board.connected and board.status is not tracked.status:
            tracked.status = board.status
            if board.status.last_updated is not None:
                tracked.past.add(board.status.last_updated.timestamp(), board.status)
        if self._ticks % _SHARES_EVERY == 0:
            tracked.past.add_shares(
                *((row.memory_share, row.cpu_share) if row.state != "lost" else (None, None))
            )
        if row == old:
            return None
        tracked.row = row
        if old is None or old.state != row.state:
            tracked.since = row.since or now
            self._list_state(row, old, tracked.was_here, now)
        tracked.was_here = tracked.was_here or row.state not in ("lost", "connecting")
        return _shown(row, tracked)

    def _list_state(self, row: Row, old: Row | None, was_here: bool, now: float) -> None:
        if old is None or (old.state == "connecting" and row.state == "well"):
            return
        if row.state in ("lost", "crashed"):
            self._list(row, now, row.state, row.note)
        elif old.state == "lost" and was_here:
            self._list(row, now, row.state, "connected again")
        elif old.state == "crashed":  # the ends of thresholds are events
            self._list(row, now, row.state, "no longer crashed")
        elif row.state == "asleep":
            self._list(row, now, row.state, row.note)

    def _list_events(self, board: Board | None, tracked: Tracked, now: float) -> None:
        """List a board's restarts and events, from when it was first followed on."""
        if board is None:
            return
        recent = board.recent_events
        number = recent[-1].number if recent else -1
        boot = board.status.board.boot_id
        if board is not tracked.seen:
            tracked.seen, tracked.restarts = board, board.restart_count
            tracked.events, tracked.boot = number, boot
            return
        row = tracked.row
        if row is None:
            return
        if boot != tracked.boot:
            tracked.boot, tracked.events = boot, -1
        for restart in board.restarts[tracked.restarts - board.restart_count :]:
            if board.restart_count > tracked.restarts:
                state = "crashed" if restart.expected is False else row.state
                self._list(row, now, state, printable(str(restart)))
        tracked.restarts = board.restart_count
        if number > tracked.events:
            uptime = board.status.cpu.uptime_s
            for event in recent:
                if event.number > tracked.events and event.kind in _LISTED_EVENTS:
                    self._list_event(row, event, now, uptime)
            tracked.events = number

    def _list_event(self, row: Row, event: Event, now: float, uptime: float | None) -> None:
        state = row.state
        if event.kind == "threshold":
            # "clear" is the threshold's: the board may not be well yet.
            state = {"critical": "critical", "warn": "warned"}.get(event.detail or "", "clear")
        elif event.kind == "hang":
            state = "warned"
        back = 0.0 if uptime is None else max(0.0, min(60.0, uptime - event.uptime_s))
        self._list(row, now - back, state, event_text(event))

    def _list(self, row: Row, at: float, state: str, text: str) -> None:
        self._changed += 1
        self._changes.append(
            {
                "at": round(at, 1),
                "id": row.id,
                "name": row.name,
                "state": state,
                "text": text,
            }
        )

    # --- viewers --------------------------------------------------------------------------------

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield everything, then what differs, as Server-Sent Events, until the server ends."""
        viewer = Viewer()
        self._viewers.add(viewer)
        try:
            yield self._everything()
            while not self.ended:
                try:
                    await asyncio.wait_for(viewer.ready.wait(), _HEARTBEAT_S)
                except asyncio.TimeoutError:
                    yield sse("alive", {"now": steady_time()})
                    continue
                viewer.ready.clear()
                while viewer.unread:
                    if len(viewer.unread) > _MAX_UNREAD:  # _send added no more
                        viewer.unread.clear()
                        yield self._everything()
                    else:
                        yield viewer.unread.popleft()
        finally:
            self._viewers.discard(viewer)

    def _everything(self) -> bytes:
        """Return everything; made once in a tick, however many viewers come at once."""
        if self._full_state is not None:
            return self._full_state
        rows = []
        for tracked in self._tracked.values():
            if tracked.row is not None:
                past = {name: tracked.past.shares(name) for name in SHARES}
                rows.append({**_shown(tracked.row, tracked), "past": past})
        changes = list(self._changes)
        self._full_state = sse("fleet", {"rows": rows, "changes": changes, "now": steady_time()})
        return self._full_state

    def _send(self, data: dict[str, Any]) -> None:
        message = sse("rows", {**data, "now": steady_time()})
        for viewer in self._viewers:
            if len(viewer.unread) <= _MAX_UNREAD:
                viewer.unread.append(message)
                viewer.ready.set()


def _shown(row: Row, tracked: Tracked) -> dict[str, Any]:
    return {**asdict(row), "since": round(tracked.since, 1)}


def _is_same_start(before: float | None, now: float | None) -> bool:
    return before is not None and now is not None and abs(before - now) < _SAME_START_S


def sse(event: str, data: Any) -> bytes:
    """Return a Server-Sent Event with JSON as its data, which has no line break."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return f"event: {event}\ndata: {text}\n\n".encode()
