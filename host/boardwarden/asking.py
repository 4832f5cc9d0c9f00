"""Requests to a board's agent, and the rules that it is asked to set."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from warden_schema import ids

from . import arguments, diagnosis, rows
from .bell import Bell
from .board_view import BoardView
from .errors import BoardError
from .grants import Limits
from .kinds import Action, Priority
from .limited import limited
from .metering import Metering
from .reflected import is_reflected

REQUEST_TIMEOUT_S = 5.0
_REFLECTED_S = 3.0  # a board has sent the rows that changed by then, again if they got lost


class Asking(BoardView):
    """See Board."""

    def __init__(self) -> None:
        self._changed = Bell()  # at each change of the mirror but samples
        self._closed = False
        self._undoing: set[asyncio.Task[None]] = set()
        self._metering = Metering(self._tell_meters, self._watch_meters)

    async def can_execute(self, priority: Priority = Priority.NORMAL) -> bool:
        """Tell whether begin() with this priority would get a place, now or by preemption."""
        return bool(await self._ask(ids.CAN_EXECUTE, arguments.priority(priority)))

    async def set_limits(
        self,
        max_operations: int | None = None,
        operation_timeout: float | None = None,
        memory_reserve: float | None = None,
        overrun: float | None = None,
    ) -> Limits:
        """Set those that are given, all or none, and return all as they are now.

        max_operations: 1 to 8; operation_timeout, overrun: seconds; memory_reserve: 0 to 0.9.
        """
        asked = arguments.limits(max_operations, operation_timeout, memory_reserve, overrun)
        value = await self._ask(ids.SET_LIMITS, *asked)
        if not isinstance(value, list) or not all(
            type(item) in (int, type(None)) for item in value
        ):
            raise diagnosis.not_understood()
        return rows.limits(value)

    async def set_threshold(
        self,
        metric: str,
        warn: float | None = None,
        critical: float | None = None,
        clear: float | None = None,
        hold: float = 0.0,
        action: Action = Action.TELL,
    ) -> None:
        """Have the board watch a metric, in the unit that the status has for it.

        The level changes when the figure passes `warn` or `critical` for `hold` seconds, and is
        over at `clear`. Without `warn` and `critical` the metric is watched no more.
        """
        asked = arguments.threshold(metric, warn, critical, clear, hold, action)
        await self._ask(ids.SET_THRESHOLD, *asked)

    def metering(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Have the board tell its `meters` with each sample inside the block."""
        return self._metering.on()

    async def _tell_meters(self, for_ms: int) -> None:
        await self._ask(ids.TELL_METERS, for_ms)

    def _watch_meters(self, watched: bool) -> None:
        self._mirror.watch_meters(watched)

    # --- asking ---------------------------------------------------------------------------------

    async def _ask(self, operation: int, *asked: Any) -> Any:
        """Return the reply's value, once the mirror shows what the request changed."""
        value = await self._session.request(operation, *asked, timeout=REQUEST_TIMEOUT_S)
        until = asyncio.get_running_loop().time() + _REFLECTED_S
        boot = self._mirror.boot_id
        with contextlib.suppress(asyncio.TimeoutError):  # it may have changed again since
            while not is_reflected(self, operation, asked, value):
                if self._closed or self._mirror.boot_id != boot:
                    break
                await limited(self._changed.wait(), until)
        return value

    async def _granted(self, operation: int, asked: arguments.Arguments, undo: int) -> Any:
        """Ask for something; what is granted to one who was cancelled meanwhile is given back."""
        asking = asyncio.create_task(self._ask(operation, *asked))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._later(self._give_back(asking, undo))
            raise

    async def _give_back(self, asking: asyncio.Task[Any], undo: int) -> None:
        value = await asking
        await self._ask(undo, value[0] if isinstance(value, list) else value)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(_quiet(work))
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def _end_tasks(self) -> None:
        await self._metering.close()
        for task in self._undoing:
            task.cancel()
        await asyncio.gather(*self._undoing, return_exceptions=True)


async def _quiet(work: Coroutine[Any, Any, None]) -> None:
    """Do work that nobody waits for; where it fails the board ends it by itself, later."""
    with contextlib.suppress(BoardError):
        await work
