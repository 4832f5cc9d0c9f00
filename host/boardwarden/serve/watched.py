"""Follows a board as long as the program runs, whether the board answers or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from boardwarden import (
    AddressError,
    Board,
    BoardError,
    BoardSession,
    Cpu,
    Lease,
    Limits,
    LinkStatus,
    Memory,
    Network,
    Operation,
    Overhead,
    SimulatorMissing,
    Status,
    Threshold,
    connect,
)
from warden_schema import ids

from .backlog import Backlog
from .crashes import NO_CRASHES, OTHER, CrashCount, Crashes
from .followers import Follower

_RETRY_PAUSE_S = (1.0, 15.0)  # before connecting is tried again: at first, at most
_log = logging.getLogger(__name__)


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
        self._board: Board | None = None
        self._counted = _Counted()  # replaced, never changed: another thread may be reading
        self._crashes = CrashCount()

    @property
    def board(self) -> Board | None:
        """The board, whether it answers now or not; None until the first connection."""
        return self._board

    def snapshot(self) -> Snapshot:
        """Return what the board's mirror holds now."""
        board = self._board
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
                    self._board, self.problem = board, ""
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
                self._board = None
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
