"""What one board's mirror holds at one moment, for whoever exports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from boardwarden import (
    Board,
    BoardSession,
    Cpu,
    Lease,
    Limits,
    LinkStatus,
    Memory,
    Network,
    Operation,
    Overhead,
    Status,
    Threshold,
)


@dataclass(frozen=True)
class Snapshot:
    """One board; all but `address` is empty where it is not `up`.

    `events`: how many of each kind came in this boot; `missed_events`: how many were lost.
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

    @property
    def boot(self) -> str:
        """The boot's id as a label; empty where the board has not told it."""
        boot_id = self.status.board.boot_id
        return "" if boot_id is None else str(boot_id)

    @property
    def decides(self) -> bool:
        """Whether the board keeps leases and operations: until it is asked to, it tells of none."""
        return self.limits.max_operations is not None


def snapshot(
    address: str, board: Board | None, events: Mapping[str, int], missed_events: int
) -> Snapshot:
    """Return what the mirror holds now; no I/O, from any thread."""
    if board is None or not board.connected:
        return Snapshot(address)
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
    )


def _current(status: Status) -> Status:
    """Return the status without its figures where monitoring is stopped: they would be old."""
    if status.interval_s != 0:
        return status
    return replace(
        status, memory=Memory(), cpu=Cpu(), storage=(), network=Network(), overhead=Overhead()
    )
