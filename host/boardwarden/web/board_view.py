"""One board as the page shows it: sections of texts, tables and points, sent as they change."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

from boardwarden._clock import steady_time
from boardwarden.board import Board
from boardwarden.errors import BoardError, KeyRefused, RequestRefused
from boardwarden.grants import Meter, Threshold
from boardwarden.history import History
from boardwarden.models import OperationState, Status, enum_name
from boardwarden.render import tables
from boardwarden.render.status import Reasons, because, over_budget, status_rows, trend_rows
from boardwarden.render.status import Row as TextRow
from boardwarden.render.tables import busiest, event_text, exception_lines, reset_lines
from boardwarden.render.text import (
    NOTHING,
    Printable,
    count,
    duration,
    integer,
    percent,
    printable,
    size,
)

from . import past
from .fleet_view import FleetView, sse, uptime_zero
from .past import FIGURES, figures
from .requests import threshold_arguments

_TREND_S = 60.0
_MAX_EVENTS = 100
Section = dict[str, Any]
_TICK_S = 0.25
_HEARTBEAT_S = 5.0
_MAX_CONSOLE = 32 * 1024  # characters that wait for a viewer
# A graph's figure in the board's own history, which has neither garbage nor the longest steps.
_STORED = {"live": "memory", "cpu": "cpu", "fragmentation": "fragmentation"}
_FETCHED = ("memory", "cpu")  # the board stores no fragmentation: its points are of samples
Points = list[tuple[float, float]]


def sections(board: Board) -> Section:
    """Return the sections by name: texts, rows of tables, and figures of graphs."""
    status, why = board.status, board.capabilities
    memory, cpu, identity = status.memory, status.cpu, status.board
    texts = _by_label(status_rows(status, why))
    decides = board.limits.max_operations is not None
    return {
        "about": [
            ["Hardware", printable(identity.machine or NOTHING)],
            ["MicroPython", printable(identity.firmware or NOTHING)],
            ["Agent", printable(identity.agent or NOTHING)],
            ["Protocol", printable(identity.protocol or NOTHING)],
            ["Unique id", printable(identity.unique_id or NOTHING)],
            ["Last reset", printable(identity.reset_cause or NOTHING)],
            *([["Boots", texts["boots"][0]]] if "boots" in texts else []),
        ],
        "memory": {
            "live": memory.live_bytes,
            "used": memory.used_bytes,
            "total": memory.total_bytes,
            "rows": [
                ["Live", size(memory.live_bytes) + _why(memory.live_bytes, "live_memory", why)],
                ["Used, with garbage", f"{size(memory.used_bytes)} ({percent(memory.usage)})"],
                ["Total", size(memory.total_bytes)],
                [
                    "Largest free block",
                    size(memory.largest_free_block_bytes)
                    + _why(memory.largest_free_block_bytes, "largest_free_block", why),
                ],
                ["Fragmentation", percent(memory.fragmentation)],
                ["Live left free at least", size(memory.low_water_bytes)],
                *([["System heap", each] for each in texts.get("system heap", [])]),
            ],
            "marks": _marks(board.thresholds),
        },
        "load": [
            ["CPU", percent(cpu.usage) + _why(cpu.usage, "cpu", why)],
            ["Longest step", duration(cpu.loop_lag_worst_s)],
            ["Loop lag, mean", duration(cpu.loop_lag_s)],
            ["Tasks and threads", f"{integer(cpu.active_tasks)} and {integer(cpu.active_threads)}"],
        ],
        "storage": [
            {
                "mount": printable(each.mount or NOTHING),
                "share": None if each.usage is None else round(100 * each.usage),
                "text": f"{size(each.used_bytes)} of {size(each.total_bytes)} used "
                f"({percent(each.usage)})",
                "writes": _writes(each.agent_writes),
            }
            for each in status.storage
        ],
        "network": texts.get("network", []),
        "no_storage": [] if status.storage else texts.get("storage", []),
        "agent": [
            ["Of the core", percent(status.overhead.cpu)],
            ["Budget", percent(status.overhead.budget)],
            ["Sends", f"{size(status.overhead.bytes_per_s)}/s"],
            ["Frames dropped", integer(status.overhead.dropped_frames)],
            ["Faults inside it", integer(status.overhead.faults)],
            ["Samples", _interval(status)],
        ],
        "interval": status.interval_s,
        "decides": decides,
        "operations": _operations(board),
        "leases": _table(tables.LEASES, tables.lease_rows(board.allocations), board.allocations),
        "sessions": _table(tables.SESSIONS, tables.session_rows(board.sessions), board.sessions),
        "thresholds": {
            **_table(tables.THRESHOLDS, tables.threshold_rows(board.thresholds), ()),
            "levels": [enum_name(each.level) for each in board.thresholds],
            "edit": [
                threshold_arguments(printable(each.metric), each) for each in board.thresholds
            ],
        },
        "limits": [[label, text] for label, text in tables.limit_rows(board.limits)]
        if decides
        else [],
        "tasks": _tasks(busiest(board.meters)),
        "events": _events(board),
        "crashes": _crashes(board),
        "trends": [[label, text] for label, text in trend_rows(board.trends(_TREND_S))],
        "unknown": [
            [printable(name).replace("_", " "), printable(each.reason or NOTHING)]
            for name, each in why.items()
            if not each.available
        ],
        "link": _link(board),
    }


def _by_label(rows: Iterable[TextRow]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    label = ""
    for name, text in rows:
        label = name or label
        found[label].append(printable(text))
    return found


def _why(value: object, capability: str, why: Reasons) -> str:
    return printable(because(value, capability, why))


def _interval(status: Status) -> str:
    if not status.interval_s:
        return "stopped"
    asked = over_budget(status)
    more = f" ({asked} would take more than the budget)" if asked else ""
    return f"every {duration(status.interval_s)}{more}"


def _writes(writes: Any) -> str:
    return (
        "" if writes is None else count(sum(writes.to_dict().values()), "write") + " by the agent"
    )


def _marks(thresholds: Iterable[Threshold]) -> list[tuple[str, float, str]]:
    """Return (level, fraction of the memory, text) of each level that is set for memory."""
    return [
        (name, level, f"{name} {percent(level)}")
        for each in thresholds
        if each.metric == "memory"
        for name, level in (("warn", each.warn), ("critical", each.critical))
        if level is not None
    ]


def _table(
    head: tuple[str, ...], rows: Iterable[tuple[str, ...]], models: Iterable[Any]
) -> Section:
    return {
        "head": head,
        "rows": [[printable(cell) for cell in row] for row in rows],
        "ids": [each.id for each in models],
    }


def _operations(board: Board) -> Section:
    found = _table(tables.OPERATIONS, tables.operation_rows(board.operations), board.operations)
    progress = [
        round(100 * (each.progress or 0)) if each.state != OperationState.WAITING else None
        for each in board.operations
    ]
    return {**found, "progress": progress}


def _tasks(meters: Sequence[Meter]) -> Section:
    found = _table(tables.METERS, tables.meter_rows(meters), meters)
    return {**found, "blocks": printable(tables.blocker(meters))}


def _events(board: Board) -> list[list[Any]]:
    """Return [seconds since the epoch, text, uptime], the newest first."""
    zero = uptime_zero(board.status)
    # Rounded: it moves by a few milliseconds with each sample, and the events do not.
    return [
        [
            None if zero is None else round((zero + each.uptime_s) / 2) * 2,
            event_text(each),
            f"up {duration(each.uptime_s)}",
        ]
        for each in reversed(board.recent_events[-_MAX_EVENTS:])
    ]


def _crashes(board: Board) -> list[Section]:
    """Return a title and its lines for each reset and exception, the newest first."""
    found: list[Section] = []
    for line in (*reset_lines(board.resets), *exception_lines(board.exceptions)):
        if line.startswith("  ") and found:
            found[-1]["lines"].append(line[2:])
        else:
            bad = line.startswith("! ")
            found.append({"title": line.removeprefix("! "), "bad": bad, "lines": []})
    return found


def _link(board: Board) -> list[list[str]]:
    link = board.link
    return [
        ["Damaged frames", str(link.bad_frames)],
        ["Malformed frames", str(link.malformed_frames)],
        ["Times that something was missed", str(link.gaps)],
        ["Opened again", count(link.reconnects, "time")],
    ]


class BoardView:
    """What one viewer is sent of the board at an address: messages() until it goes."""

    def __init__(self, fleet: FleetView, address: str, recording: Path | None) -> None:
        self._fleet = fleet
        self._address = address
        self._board: Board | None = None
        self._sent: dict[str, object] = {}
        self._point: object = None
        self._console = Printable()
        self._printed = ""
        self._history_came = False
        self._recording = recording
        self._recorded: past.Series = {}

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield the sections that differ from what was sent, as Server-Sent Events."""
        last = 0.0
        async with contextlib.AsyncExitStack() as following:
            while not self._fleet.ended:
                watched = self._fleet.find(self._address)  # those of a broker come and go
                board = None if watched is None else watched.board
                if board is not self._board:
                    await following.aclose()
                    self._board = board
                    if board is not None:
                        await following.enter_async_context(self._followed(board))
                        yield sse("begin", {"now": steady_time()})
                        yield sse("history", self._history(board))
                changed = self._changed(board)
                if changed:
                    last = time.monotonic()
                    yield sse("board", {**changed, "now": steady_time()})
                elif time.monotonic() - last > _HEARTBEAT_S:
                    last = time.monotonic()
                    yield sse("alive", {"now": steady_time()})
                if self._printed:
                    text, self._printed = self._printed, ""
                    yield sse("console", {"text": text})
                if self._history_came:
                    self._history_came = False
                    if board is not None:
                        yield sse("history", self._history(board))
                await asyncio.sleep(_TICK_S)

    @contextlib.asynccontextmanager
    async def _followed(self, board: Board) -> AsyncIterator[None]:
        """Follow what a board prints and its meters, and read its history, during the block."""
        self._console, self._printed = Printable(), ""
        work = (self._follow_console(board), self._meter(board), self._read_history(board))
        tasks = [asyncio.create_task(each) for each in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow_console(self, board: Board) -> None:
        async with contextlib.aclosing(board.console()) as pieces:
            async for text in pieces:
                # The end only: a viewer who does not read must not fill the memory.
                self._printed = (self._printed + self._console.feed(text))[-_MAX_CONSOLE:]

    async def _meter(self, board: Board) -> None:
        """Have a board send its meters while it is looked at, once it decides anyway."""
        while True:
            if board.connected and board.limits.max_operations is not None:
                try:
                    async with board.metering():
                        await asyncio.Event().wait()
                except (RequestRefused, KeyRefused):
                    return  # it would again
                except BoardError:
                    pass
            await asyncio.sleep(1.0)

    async def _read_history(self, board: Board) -> None:
        if self._recording is not None:
            self._recorded = await asyncio.to_thread(
                past.read_recorded, self._recording, self._address, steady_time()
            )
        with contextlib.suppress(BoardError):  # an agent without a history will do
            await board.fetch_history(_FETCHED, ("mean",))
        self._history_came = True

    def _history(self, board: Board) -> Section:
        """Return the points of each graph, as far back as they are known."""
        past = self._fleet.past(self._address)
        zero = uptime_zero(board.status)
        series: dict[str, Points] = {}
        for name in FIGURES:
            recent = past.series(name)
            begin = recent[0][0] if recent else float("inf")
            stored = _joined(self._recorded.get(name, []), _stored(board.history, name, zero))
            series[name] = [
                (round(at, 1), _rounded(value))
                for at, value in [*(each for each in stored if each[0] < begin), *recent]
            ]
        return {"series": series}

    def _changed(self, board: Board | None) -> Section:
        row = self._fleet.row(self._address)
        found = {"row": row, **({} if board is None else sections(board))}
        changed = {
            name: value for name, value in found.items() if self._sent.get(name, ...) != value
        }
        self._sent.update(changed)
        if board is not None and board.connected and board.status is not self._point:
            status = self._point = board.status
            if status.last_updated is not None:
                at = round(status.last_updated.timestamp(), 1)
                changed["point"] = [
                    at,
                    *(None if each is None else _rounded(each) for each in figures(status)),
                ]
        return changed


def _stored(history: History, name: str, zero: float | None) -> Points:
    metric = _STORED.get(name)
    if metric is None or zero is None:
        return []
    return [(zero + at, value) for at, value in history.points(metric)]


def _joined(record: Points, stored: Points) -> Points:
    """Return what was recorded, and before and after it what the board stored."""
    if not record:
        return stored
    begin, end = record[0][0], record[-1][0]
    return [
        *(each for each in stored if each[0] < begin),
        *record,
        *(each for each in stored if each[0] > end),
    ]


def _rounded(value: float) -> float:
    return round(value) if abs(value) >= 1000 else round(value, 4)
