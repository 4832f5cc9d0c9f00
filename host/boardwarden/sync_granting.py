"""What a board is asked to grant, to end and to set, for programs without asyncio."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

from .board import Board
from .board_view import BoardView
from .grants import Lease, Limits, Operation
from .kinds import Action, Priority, ResourceType
from .sync_loop import call, within


class SyncGranting(BoardView):
    """See SyncBoard; `Board` says what each does and raises."""

    def __init__(self, board: Board, loop: asyncio.AbstractEventLoop) -> None:
        self._board = board
        self._loop = loop
        self._mirror = board._mirror
        self._session = board._session

    def allocate(
        self,
        resource: ResourceType,
        amount: float,
        owner: str = "",
        priority: Priority = Priority.NORMAL,
        ttl: float | None = 60.0,
        mount: str | None = None,
    ) -> Lease:
        """Return a lease of bytes, of a fraction of a core (CPU_TIME) or of bytes a second."""
        granting = self._board.allocate(resource, amount, owner, priority, ttl, mount)
        return call(self._loop, granting)

    def release(self, lease_id: int) -> None:
        """End a lease; raise NotFound where there is none (any more)."""
        call(self._loop, self._board.release(lease_id))

    def lease(
        self,
        resource: ResourceType,
        amount: float,
        owner: str = "",
        priority: Priority = Priority.NORMAL,
        ttl: float | None = 60.0,
        mount: str | None = None,
    ) -> AbstractContextManager[Lease]:
        """Hold a lease inside the block, but no longer than `ttl` seconds."""
        held = self._board.lease(resource, amount, owner, priority, ttl, mount)
        return within(self._loop, held)

    def begin(
        self,
        name: str,
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
        memory: int | None = None,
        wait: float = 0.0,
    ) -> Operation:
        """Return an operation that has its place, or raise Denied."""
        return call(self._loop, self._board.begin(name, priority, timeout, memory, wait))

    def complete(self, operation_id: int) -> None:
        """End an operation; raise NotFound where there is none (any more)."""
        call(self._loop, self._board.complete(operation_id))

    def cancel(self, operation_id: int) -> None:
        """Tell an operation to stop; raise NotFound where there is none (any more)."""
        call(self._loop, self._board.cancel(operation_id))

    def operation(
        self,
        name: str,
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
        memory: int | None = None,
        wait: float = 0.0,
    ) -> AbstractContextManager[Operation]:
        """Have a place on the board inside the block, however that ends."""
        begun = self._board.operation(name, priority, timeout, memory, wait)
        return within(self._loop, begun)

    def can_execute(self, priority: Priority = Priority.NORMAL) -> bool:
        """Tell whether begin() with this priority would get a place, now or by preemption."""
        return call(self._loop, self._board.can_execute(priority))

    def set_limits(
        self,
        max_operations: int | None = None,
        operation_timeout: float | None = None,
        memory_reserve: float | None = None,
        overrun: float | None = None,
    ) -> Limits:
        """Set those that are given, all or none, and return all as they are now."""
        setting = self._board.set_limits(max_operations, operation_timeout, memory_reserve, overrun)
        return call(self._loop, setting)

    def set_threshold(
        self,
        metric: str,
        warn: float | None = None,
        critical: float | None = None,
        clear: float | None = None,
        hold: float = 0.0,
        action: Action = Action.TELL,
    ) -> None:
        """Have the board watch a metric; no more, without warn and critical."""
        setting = self._board.set_threshold(metric, warn, critical, clear, hold, action)
        call(self._loop, setting)

    def metering(self) -> AbstractContextManager[None]:
        """Have the board tell its `meters` with each sample inside the block."""
        return within(self._loop, self._board.metering())
