"""Follows a board as long as the program runs, whether the board answers or not."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any, NamedTuple, Protocol

from boardwarden import (
    AddressError,
    Board,
    BoardError,
    BoardSession,
    CaughtException,
    Cpu,
    HistorySlot,
    Lease,
    Limits,
    LinkStatus,
    Memory,
    Network,
    Operation,
    Overhead,
    Reset,
    SimulatorMissing,
    Status,
    Threshold,
    connect,
)
from boardwarden._clock import day_time
from boardwarden.crashes import CAUSES
from warden_schema import ids

_log = logging.getLogger(__name__)
_MAX_SLOTS = 1000  # a day without a link makes 144
_MAX_NS = 2.0**64  # since the epoch, of a point in OTLP
OTHER = "other"  # what this version does not know: else a board makes as many series as it likes
_MAX_BOOT = 0x10000  # the boots are counted modulo so many
_RETRY_PAUSE_S = (1.0, 15.0)  # before connecting is tried again: at first, at most


class Follower(AbstractAsyncContextManager[Any], Protocol):
    """Is entered before the boards are followed, and left after that has ended."""

    async def follow(self, address: str, board: Board) -> None:
        """Follow a board until cancelled; called each time that it was connected to anew."""

    def forget(self, address: str) -> None:
        """Its broker does not know the board any more."""


class Missed(NamedTuple):
    """A slot of the board's own history; `at` is its middle, in seconds since the epoch.

    mount: of which `storage` is.
    """

    at: float
    slot: HistorySlot
    mount: str


def updated_at(status: Status) -> float | None:
    """Return when the figures came, in seconds since the epoch; None if none did.

    By the host's clock as it is set now, as who takes what is exported has it. `last_updated` is as
    recordings have it: to set the clock does not move it, or later.
    """
    received_at = status._received_at
    return None if received_at is None else day_time(received_at)


class Backlog:
    """Holds up to 1000 slots of a board; collect() in the event loop, the rest from any thread."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._slots: deque[Missed] = deque()
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many slots are held."""
        return len(self._slots)

    async def collect(self, board: Board) -> None:
        """Collect what the board tells of each time without samples, until it is closed."""
        logged = ""
        async for gap in board.gaps():
            if gap.why and gap.why != logged:
                logged = gap.why
                missing_s = round(gap.end_s - gap.begin_s)
                _log.warning(
                    "%s: nothing came for %d s, and no history of it is pushed: %s",
                    *(self._address, missing_s, logged),
                )
            status = board.status
            uptime_s, updated = status.cpu.uptime_s, updated_at(status)
            if uptime_s is None or updated is None or status.board.boot_id != gap.boot_id:
                continue
            booted_at = updated - uptime_s
            mount = (status.storage[0].mount if status.storage else None) or ""
            for slot in gap.slots:
                middle_s = slot.begin_s + slot.step_s / 2
                at = booted_at + middle_s
                if 0 <= at * 1e9 < _MAX_NS:  # else nothing could take it
                    self._slots.append(Missed(at, slot, mount))
            self._drop_oldest()

    def take(self, most: int) -> list[Missed]:
        """Return the oldest slots, in order, and forget them."""
        with self._lock:
            return [self._slots.popleft() for _ in range(min(most, len(self._slots)))]

    def put_back(self, slots: list[Missed]) -> None:
        """Hold slots again that could not be pushed."""
        with self._lock:
            self._slots.extendleft(reversed(slots))
        self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop what there is no room for, and say so."""
        with self._lock:
            count = len(self._slots) - _MAX_SLOTS
            for _ in range(count):
                self._slots.popleft()
        if count > 0:
            _log.warning(
                "%s: %d slots of its own history are dropped: %d wait to be pushed, and no more "
                "are held.",
                *(self._address, count, _MAX_SLOTS),
            )


@dataclass(frozen=True)
class Crashes:
    """Counts since they began: resets by cause and whether expected, exceptions by what ended.

    `has_lists`: whether the board has lists of them.
    """

    resets: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    exceptions: Mapping[str, int] = field(default_factory=dict)
    has_lists: bool = False


NO_CRASHES = Crashes()


class CrashCount:
    """`crashes`: replaced at each update(), never changed, for another thread may be reading.

    What is in the lists at the first update is not counted: it may be of years ago.
    """

    def __init__(self) -> None:
        self.crashes = NO_CRASHES
        self._began = False
        self._boot: int | None = None  # that ended last
        self._known: dict[tuple[str, str | None, str], int] = {}

    def update(self, resets: Sequence[Reset], exceptions: Sequence[CaughtException]) -> None:
        """Count what is new in a board's lists."""
        ended = Counter(self.crashes.resets)
        ended.update(self._new_resets(resets))
        caught = Counter(self.crashes.exceptions)
        caught.update(self._new_exceptions(exceptions))
        has_lists = self.crashes.has_lists or bool(resets or exceptions)
        self.crashes = Crashes(dict(ended), dict(caught), has_lists)
        self._began = True

    def _new_resets(self, resets: Sequence[Reset]) -> Counter[tuple[str, bool]]:
        """Return how many boots ended since the last one that was counted, each by its entry."""
        new: Counter[tuple[str, bool]] = Counter()
        if not resets:
            return new
        before, self._boot = self._boot, resets[-1].boot
        for each in resets if self._began else ():
            since = each.count
            if before is not None:
                ahead = (each.boot - before) % _MAX_BOOT
                since = min(each.count, ahead if ahead < _MAX_BOOT // 2 else 0)
            if since:
                new[_cause(each.cause), each.expected] += since
        return new

    def _new_exceptions(self, exceptions: Sequence[CaughtException]) -> Counter[str]:
        new: Counter[str] = Counter()
        known: dict[tuple[str, str | None, str], int] = {}
        for each in exceptions:
            key = (each.kind, each.name, each.traceback)
            known[key] = each.count
            before = self._known.get(key, 0)
            if each.count < before and each.uptime_s is None:
                continue  # of an earlier boot: the board had not written the last ones
            if self._began:  # a count that fell began again, for it had made room
                kind = each.kind if each.kind in ids.EXCEPTION_KINDS else OTHER
                new[kind] += each.count - (before if each.count >= before else 0)
        self._known = known
        return +new


def _cause(cause: str | None) -> str:
    if cause is None:
        return "unknown"
    return cause if cause in CAUSES else OTHER


@dataclass(frozen=True)
class Snapshot:
    """One board; all but `address` and `crashes` is empty where it is not `up`.

    `events`: how many of each kind came in this boot; `missed_events`: how many were lost;
    `crashes`: since `serve` began.
    """

    address: str
    up: bool = False
    status: Status = field(default_factory=Status)
    link: LinkStatus = field(default_factory=LinkStatus)
    limits: Limits = field(default_factory=Limits)
    leases: tuple[Lease, ...] = ()
    operations: tuple[Operation, ...] = ()
    sessions: tuple[BoardSession, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)
    missed_events: int = 0
    crashes: Crashes = NO_CRASHES

    @property
    def boot(self) -> str:
        """The boot's id as a label; empty before the first HELLO."""
        boot_id = self.status.board.boot_id
        return "" if boot_id is None else str(boot_id)

    @property
    def decides(self) -> bool:
        """Whether the board grants leases; before the first request for one it only measures."""
        return self.limits.max_operations is not None


def snapshot(
    address: str,
    board: Board | None,
    events: Mapping[str, int],
    missed_events: int,
    crashes: Crashes = NO_CRASHES,
) -> Snapshot:
    """Return what the mirror holds now; no I/O, from any thread."""
    if board is None or not board.connected:
        return Snapshot(address, crashes=crashes)
    return Snapshot(
        address=address,
        up=True,
        status=_current(board.status),
        link=board.link,
        limits=board.limits,
        leases=board.allocations,
        operations=board.operations,
        sessions=board.sessions,
        thresholds=board.thresholds,
        events=events,
        missed_events=missed_events,
        crashes=crashes,
    )


def _current(status: Status) -> Status:
    """Return the status without its figures where monitoring is stopped: they would be old."""
    if status.interval_s != 0:
        return status
    return replace(
        status, memory=Memory(), cpu=Cpu(), storage=(), network=Network(), overhead=Overhead()
    )


class _Counted(NamedTuple):
    """The events of a boot by kind, how many were lost, and the number of the next one."""

    boot: int | None = None
    events: Mapping[str, int] = {}
    missed: int = 0
    next: int = 0


class Watched:
    """A followed board: follow() in a task, snapshot() from any thread, without I/O.

    `backlog` has what the board measured while nothing came from it, if that is to be pushed; only
    then is it asked for.
    """

    def __init__(
        self, address: str, followers: Sequence[Follower] = (), pushes: bool = False
    ) -> None:
        self.address = address
        self._followers = followers
        self.backlog = Backlog(address) if pushes else None
        self.problem = ""  # why it cannot be connected to, a sentence
        self.board: Board | None = None  # while connected to, whether it answers now or not
        self._counted = _Counted()  # replaced, never changed: another thread may be reading
        self._crashes = CrashCount()

    def snapshot(self) -> Snapshot:
        """Return what the board's mirror holds now."""
        board = self.board
        counted = self._counted
        if board is None or board.status.board.boot_id != counted.boot:
            counted = _Counted()
        return snapshot(self.address, board, counted.events, counted.missed, self._crashes.crashes)

    async def follow(self) -> None:
        """Connect, again and again until that works, and stay connected until cancelled.

        Raises AddressError or SimulatorMissing where trying again makes no sense.
        """
        pause, logged = _RETRY_PAUSE_S[0], ""
        while True:
            try:
                async with connect(self.address) as board:
                    self.board, self.problem = board, ""
                    tasks = [self._count(board), self._count_crashes(board)]
                    tasks += [each.follow(self.address, board) for each in self._followers]
                    if self.backlog is not None:
                        tasks.append(self.backlog.collect(board))
                    await asyncio.gather(*tasks)
            except (AddressError, SimulatorMissing):
                raise
            except BoardError as error:
                self.problem = str(error)
                if str(error) != logged:
                    logged = str(error)
                    _log.warning("%s It is tried again.", logged)
            finally:
                self.board = None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _RETRY_PAUSE_S[1])

    async def _count_crashes(self, board: Board) -> None:
        """Count resets and exceptions, those while the link was lost, too."""
        self._crashes.update(board.resets, board.exceptions)
        async for _ in board.changes():
            if board.synced:
                self._crashes.update(board.resets, board.exceptions)

    async def _count(self, board: Board) -> None:
        """Count the events of the boot that it is in, each once, also after it connects anew."""
        async for event in board.events():
            counted = self._counted
            if event.boot_id != counted.boot:
                counted = _Counted(event.boot_id, next=event.number - event.missed)
            if event.number < counted.next:
                continue
            kind = event.kind if event.kind in ids.EVENT_KINDS else OTHER
            self._counted = _Counted(
                event.boot_id,
                {**counted.events, kind: counted.events.get(kind, 0) + 1},
                counted.missed + event.number - counted.next,
                event.number + 1,
            )
