"""An asyncio loop in a thread of its own, for programs that have none."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from typing import Any, TypeVar

from . import diagnosis

T = TypeVar("T")


@contextlib.contextmanager
def loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="boardwarden", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        call(loop, _finish(loop))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """Wait for what Ctrl-C cancelled, and end iterators that nobody reads to their end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()


def call(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the loop's thread; return or raise here what it does there."""
    if loop.is_closed():
        coroutine.close()
        raise diagnosis.closed()
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result()
    except BaseException:  # Ctrl-C here must not leave it running there
        future.cancel()
        raise


def iterate(loop: asyncio.AbstractEventLoop, items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Yield what an asynchronous generator does, run in the loop's thread."""

    async def following() -> T:
        return await items.__anext__()

    try:
        while True:
            yield call(loop, following())
    except StopAsyncIteration:
        return
    finally:
        if not loop.is_closed():
            call(loop, items.aclose())


@contextlib.contextmanager
def within(
    loop: asyncio.AbstractEventLoop, manager: contextlib.AbstractAsyncContextManager[T]
) -> Iterator[T]:
    """Be inside an asynchronous context manager that runs in the loop's thread."""

    async def entering() -> T:
        return await manager.__aenter__()

    async def leaving() -> None:
        await manager.__aexit__(None, None, None)

    inside = call(loop, entering())
    try:
        yield inside
    finally:
        if not loop.is_closed():
            call(loop, leaving())
