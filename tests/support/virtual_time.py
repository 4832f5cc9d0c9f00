"""An asyncio loop whose clock jumps to the next timer: seconds pass in no time, and always alike.

Only for what is in memory: nothing here waits for a real file descriptor.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_HANGS_S = 60.0


class _Skipping(selectors.SelectSelector):
    """Does not wait, but counts what it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits, and no timer is set: a deadlock")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def stand_still(seconds: float) -> None:
    """Let time pass in which the whole process does nothing, as if it were stopped."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop._skipping.now += seconds


def run(main: Coroutine[Any, Any, T], at_most: float = 300.0) -> T:
    """Run main for at most so many virtual seconds; fail if it leaves a task behind."""
    loop = VirtualLoop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    try:
        result = loop.run_until_complete(asyncio.wait_for(main, at_most))
        loop.run_until_complete(asyncio.sleep(0))
        assert not asyncio.all_tasks(loop), "tasks were left behind"
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    assert not errors, errors
    return result


async def until(condition: Callable[[], object], at_most: float = 10.0) -> float:
    """Wait until condition() holds; return how many seconds that took, fail if too many.

    How many is measured where time is virtual; real time depends on what else has the core.
    """
    loop = asyncio.get_running_loop()
    begin = loop.time()
    if not isinstance(loop, VirtualLoop):
        at_most = max(at_most, _HANGS_S)
    while not condition():
        assert loop.time() - begin < at_most, "it did not happen in time"
        await asyncio.sleep(0.01)
    return loop.time() - begin
