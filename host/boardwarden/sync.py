"""The same API for programs without asyncio: the board lives in an event loop in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from . import diagnosis
from .board import Board, connect
from .history import History
from .models import Capability, LinkStatus, Status, Trends
from .transport.base import Transport

T = TypeVar("T")


@contextlib.contextmanager
def open(address: str | Transport, *, timeout: float = 5.0) -> Iterator[SyncBoard]:
    """Connect to the board at an address, as `connect()` does; the block may be in any thread."""
    with _loop_in_thread() as loop:
        manager = connect(address, timeout=timeout)
        board = _call(loop, manager.__aenter__())
        try:
            yield SyncBoard(board, loop)
        finally:
            _call(loop, manager.__aexit__(None, None, None))


@contextlib.contextmanager
def _loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="boardwarden", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        _call(loop, _finish(loop))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """Wait for what Ctrl-C cancelled, and end iterators that nobody reads to their end."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
    await loop.shutdown_asyncgens()


def _call(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
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


class SyncBoard:
    """A Board whose methods wait instead of being awaited."""

    def __init__(self, board: Board, loop: asyncio.AbstractEventLoop) -> None:
        self._board = board
        self._loop = loop

    @property
    def status(self) -> Status:
        """The board's state; `.age_s` says how old its figures are."""
        return self._board.status

    @property
    def capabilities(self) -> Mapping[str, Capability]:
        """What the board can tell, by name, and why not where it cannot."""
        return self._board.capabilities

    @property
    def history(self) -> History:
        """The samples that came, and what fetch_history() read."""
        return self._board.history

    @property
    def connected(self) -> bool:
        """Whether the board is there: it answered, and was heard in the last 2.5 seconds."""
        return self._board.connected

    @property
    def link(self) -> LinkStatus:
        """What happened between board and host."""
        return self._board.link

    def trends(self, period: float = 60.0) -> Trends:
        """Return where the figures went in the last `period` seconds; no I/O."""
        return self._board.trends(period)

    def wait_sample(self) -> Status:
        """Wait for the next new sample."""
        return _call(self._loop, self._board.wait_sample())

    def updates(self) -> Iterator[Status]:
        """Yield the status at each new sample, until closed."""
        return self._iterate(self._board.updates())

    def console(self) -> Iterator[str]:
        """Yield what the application printed lately, and then prints."""
        return self._iterate(self._board.console())

    def ping(self) -> float:
        """Return how many seconds a request and its reply take."""
        return _call(self._loop, self._board.ping())

    def start_monitoring(self, interval: float = 1.0) -> None:
        """Have the board sample every `interval` seconds, 0.02 to 600."""
        _call(self._loop, self._board.start_monitoring(interval))

    def stop_monitoring(self) -> None:
        """Have the board stop sampling."""
        _call(self._loop, self._board.stop_monitoring())

    def fetch_history(self) -> History:
        """Read the board's own history, 24 hours at most, into `history` and return that."""
        return _call(self._loop, self._board.fetch_history())

    def interrupt(self) -> None:
        """Send Ctrl-C, which stops the application."""
        _call(self._loop, self._board.interrupt())

    def close(self) -> None:
        """End the connection; open() does so by itself."""
        _call(self._loop, self._board.close())

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        async def following() -> T:
            return await items.__anext__()

        try:
            while True:
                yield _call(self._loop, following())
        except StopAsyncIteration:
            return
        finally:
            if not self._loop.is_closed():
                _call(self._loop, items.aclose())
