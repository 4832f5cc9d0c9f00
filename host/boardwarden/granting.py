"""Leases and operations that a board is asked for. It decides; nothing is decided here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from warden_schema import ids

from . import arguments, diagnosis, refusals
from .asking import REQUEST_TIMEOUT_S, Asking
from .errors import BoardError, BoardRestarted, LinkLost, NotFound
from .grants import Lease, Operation
from .kinds import OperationState, Priority, ResourceType
from .limited import limited

_GRACE_S = 2.0  # which the board gives to an operation that it preempts
_DEFAULT_TTL_S = 60.0  # of the board
_WAITS = (OperationState.WAITING, OperationState.ADMITTING)
_OVER = (NotFound, BoardRestarted, LinkLost)  # there is nothing left to give back


class Granting(Asking):
    """See Board."""

    # --- leases ---------------------------------------------------------------------------------

    async def allocate(
        self,
        resource: ResourceType,
        amount: float,
        owner: str = "",
        priority: Priority = Priority.NORMAL,
        ttl: float | None = 60.0,
        mount: str | None = None,
    ) -> Lease:
        """Return a lease of bytes, of a fraction of a core (CPU_TIME) or of bytes a second.

        It ends after `ttl` seconds (None: the board's default, 60), by release(), or with this
        connection. `mount` is for storage, "/" by default. Raises ValueError for what makes no
        sense, Denied where the board refuses.
        """
        asked = arguments.allocation(resource, amount, owner, priority, ttl, mount)
        number = _whole(await self._granted(ids.ALLOCATE, asked, ids.RELEASE))
        found = next((lease for lease in self.allocations if lease.id == number), None)
        return found or Lease(
            id=number,
            resource=ResourceType(resource),
            amount=amount,
            owner=asked[2],
            priority=Priority(priority),
            granted_s=self.status.cpu.uptime_s,
            mount=mount,
            _left_s=_DEFAULT_TTL_S if ttl is None else ttl,
            _told_at=self._mirror.clock(),
            _clock=self._mirror.clock,
        )

    async def release(self, lease_id: int) -> None:
        """End a lease, anybody's; raise NotFound where there is none (any more)."""
        await self._ask(ids.RELEASE, arguments.identifier(lease_id))

    @contextlib.asynccontextmanager
    async def lease(
        self,
        resource: ResourceType,
        amount: float,
        owner: str = "",
        priority: Priority = Priority.NORMAL,
        ttl: float | None = 60.0,
        mount: str | None = None,
    ) -> AsyncIterator[Lease]:
        """Hold a lease inside the block, but no longer than `ttl` seconds; see allocate()."""
        held = await self.allocate(resource, amount, owner, priority, ttl, mount)
        async with _giving_back(self.release, held.id):
            yield held

    # --- operations -----------------------------------------------------------------------------

    async def begin(
        self,
        name: str,
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
        memory: int | None = None,
        wait: float = 0.0,
    ) -> Operation:
        """Return an operation that has its place, or raise Denied.

        It is told to stop after `timeout` seconds (None: the board's default) and ends with this
        connection. `memory` bytes are granted with it or nothing is; LEARNED stands for what those
        of its name needed at most so far. It waits up to `wait` seconds
        for its place, and for one that it preempts up to two more.
        """
        asked = arguments.operation(name, priority, timeout, memory, wait)
        number, state = _pair(await self._granted(ids.BEGIN, asked, ids.COMPLETE))
        if state in _WAITS:
            return await self._in_place(number, wait)
        return self._operation(number) or Operation(
            id=number,
            name=asked[0],
            priority=Priority(priority),
            state=OperationState.ACTIVE,
            began_s=self.status.cpu.uptime_s,
            memory_bytes=None if memory == arguments.LEARNED else memory,
            _left_s=self.limits.operation_timeout_s if timeout is None else timeout,
            _told_at=self._mirror.clock(),
            _clock=self._mirror.clock,
        )

    async def complete(self, operation_id: int) -> None:
        """End an operation; raise NotFound where there is none (any more)."""
        await self._ask(ids.COMPLETE, arguments.identifier(operation_id))

    async def cancel(self, operation_id: int) -> None:
        """Tell an operation to stop, as a preemption does; raise NotFound where there is none."""
        await self._ask(ids.CANCEL, arguments.identifier(operation_id))

    @contextlib.asynccontextmanager
    async def operation(
        self,
        name: str,
        priority: Priority = Priority.NORMAL,
        timeout: float | None = None,
        memory: int | None = None,
        wait: float = 0.0,
    ) -> AsyncIterator[Operation]:
        """Have a place on the board inside the block, however that ends; see begin()."""
        begun = await self.begin(name, priority, timeout, memory, wait)
        async with _giving_back(self.complete, begun.id):
            yield begun

    # --- waiting --------------------------------------------------------------------------------

    def _operation(self, number: int) -> Operation | None:
        return next((each for each in self.operations if each.id == number), None)

    async def _in_place(self, number: int, wait: float) -> Operation:
        """Follow an operation that waits; give it up when its caller is cancelled."""
        limit = wait + _GRACE_S + REQUEST_TIMEOUT_S
        try:
            return await limited(self._settled(number), asyncio.get_running_loop().time() + limit)
        except asyncio.TimeoutError:
            self._later(self.complete(number))
            raise diagnosis.no_reply(limit) from None
        except asyncio.CancelledError:
            self._later(self.complete(number))
            raise

    async def _settled(self, number: int) -> Operation:
        boot = self._mirror.boot_id
        while not self._closed:
            if self._mirror.boot_id != boot:
                raise diagnosis.restarted()
            found = self._operation(number)
            if found is not None and found.state not in _WAITS:
                return found
            if found is None and self._session.subscription.synced:
                raise self._no_place()
            await self._changed.wait()
        raise diagnosis.closed()

    def _no_place(self) -> BoardError:
        """Return what the board would say of an operation whose wait is over."""
        others = [each for each in self.operations if each.state not in _WAITS]
        soon = [each.remaining_s for each in others if each.remaining_s is not None]
        blockers = tuple(each.id for each in others)
        return refusals.denied("operations", None, min(soon, default=None), blockers)


@contextlib.asynccontextmanager
async def _giving_back(
    give_back: Callable[[int], Awaitable[None]], number: int
) -> AsyncIterator[None]:
    """Give something back after the block; what the block raises comes before what that raises."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(BoardError):
            await give_back(number)
        raise
    with contextlib.suppress(*_OVER):
        await give_back(number)


def _whole(value: Any) -> int:
    if not isinstance(value, int):
        raise diagnosis.not_understood()
    return value


def _pair(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) < 2:
        raise diagnosis.not_understood()
    return _whole(value[0]), _whole(value[1])
