"""The same API for programs without asyncio: an event loop runs in a thread.

`Board` has each name once, with its signature and what it does; here it is said how one waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from ._protocol import diagnosis
from .board import Board, connect
from .transport.base import Transport

P = ParamSpec("P")
T = TypeVar("T")


@contextlib.contextmanager
def open(
    address: str | Transport, *, timeout: float = 5.0, key: str | Path | None = None
) -> Iterator[SyncBoard]:
    """Connect to the board at an address, as `connect()` does; the block may be in any thread."""
    opened = connect(address, timeout=timeout, key=key)
    with _LoopThread() as thread, _inside(thread, opened) as board:
        yield SyncBoard(board, thread)


# --- how a name of Board becomes one of SyncBoard -------------------------------------------------

if TYPE_CHECKING:

    class _Method(Generic[P, T]):
        """A method of SyncBoard, with the parameters of Board's; in fact it is a function."""

        def __get__(self, board: SyncBoard, owner: type[SyncBoard]) -> Callable[P, T]: ...

    class _mirrored(Generic[T]):
        """A property of SyncBoard, of the type of Board's."""

        def __init__(self, read: Callable[[Board], T]) -> None: ...

        def __get__(self, board: SyncBoard, owner: type[SyncBoard]) -> T: ...

else:

    class _mirrored(property):
        """Reads the mirror in the caller's thread: that does no I/O."""

        def __init__(self, read):
            super().__init__(lambda board: read(board._board))

        def __set_name__(self, owner, name):
            self.__doc__ = getattr(Board, name).__doc__


def _direct(method: Callable[Concatenate[Board, P], T]) -> _Method[P, T]:
    """Call a method that does no I/O in the caller's thread."""

    @functools.wraps(method)
    def wrapper(self: SyncBoard, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self._board, *args, **kwargs)

    return cast("_Method[P, T]", wrapper)


def _waiting(
    method: Callable[Concatenate[Board, P], Coroutine[Any, Any, T]],
) -> _Method[P, T]:
    """Wait for a coroutine, which runs in the loop's thread."""

    @functools.wraps(method)
    def wrapper(self: SyncBoard, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.call(method(self._board, *args, **kwargs))

    return cast("_Method[P, T]", wrapper)


def _iterating(
    method: Callable[Concatenate[Board, P], AsyncGenerator[T, None]],
) -> _Method[P, Iterator[T]]:
    """Make an asynchronous iterator a plain one."""

    @functools.wraps(method)
    def wrapper(self: SyncBoard, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return _iterate(self._thread, method(self._board, *args, **kwargs))

    return cast("_Method[P, Iterator[T]]", wrapper)


def _context(
    method: Callable[Concatenate[Board, P], AbstractAsyncContextManager[T]],
) -> _Method[P, AbstractContextManager[T]]:
    """Make an asynchronous context manager a plain one."""

    @functools.wraps(method)
    def wrapper(self: SyncBoard, *args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        return _inside(self._thread, method(self._board, *args, **kwargs))

    return cast("_Method[P, AbstractContextManager[T]]", wrapper)


class SyncBoard:
    """A Board whose methods wait instead of being awaited. `Board` says what each does."""

    def __init__(self, board: Board, thread: _LoopThread) -> None:
        self._board = board
        self._thread = thread

    __repr__ = Board.__repr__

    status = _mirrored(lambda board: board.status)
    capabilities = _mirrored(lambda board: board.capabilities)
    version_note = _mirrored(lambda board: board.version_note)
    fragmentation = _mirrored(lambda board: board.fragmentation)
    history = _mirrored(lambda board: board.history)
    allocations = _mirrored(lambda board: board.allocations)
    operations = _mirrored(lambda board: board.operations)
    sessions = _mirrored(lambda board: board.sessions)
    thresholds = _mirrored(lambda board: board.thresholds)
    limits = _mirrored(lambda board: board.limits)
    memory_profiles = _mirrored(lambda board: board.memory_profiles)
    exceptions = _mirrored(lambda board: board.exceptions)
    resets = _mirrored(lambda board: board.resets)
    meters = _mirrored(lambda board: board.meters)
    recent_events = _mirrored(lambda board: board.recent_events)
    restarts = _mirrored(lambda board: board.restarts)
    restart_count = _mirrored(lambda board: board.restart_count)
    synced = _mirrored(lambda board: board.synced)
    connected = _mirrored(lambda board: board.connected)
    asleep = _mirrored(lambda board: board.asleep)
    link = _mirrored(lambda board: board.link)
    address = _mirrored(lambda board: board.address)
    trends = _direct(Board.trends)

    wait_sample = _waiting(Board.wait_sample)
    updates = _iterating(Board.updates)
    changes = _iterating(Board.changes)
    events = _iterating(Board.events)
    gaps = _iterating(Board.gaps)
    console = _iterating(Board.console)

    allocate = _waiting(Board.allocate)
    release = _waiting(Board.release)
    lease = _context(Board.lease)

    begin = _waiting(Board.begin)
    complete = _waiting(Board.complete)
    cancel = _waiting(Board.cancel)
    operation = _context(Board.operation)
    can_execute = _waiting(Board.can_execute)

    set_limits = _waiting(Board.set_limits)
    set_threshold = _waiting(Board.set_threshold)
    metering = _context(Board.metering)

    policy = _waiting(Board.policy)
    policy_steps = _waiting(Board.policy_steps)
    send_step = _waiting(Board.send_step)
    apply_policy = _waiting(Board.apply_policy)
    stored_policy = _waiting(Board.stored_policy)
    save_policy = _waiting(Board.save_policy)
    forget_policy = _waiting(Board.forget_policy)
    leave_safe_mode = _waiting(Board.leave_safe_mode)
    safe_mode = _waiting(Board.safe_mode)

    ping = _waiting(Board.ping)
    start_monitoring = _waiting(Board.start_monitoring)
    stop_monitoring = _waiting(Board.stop_monitoring)
    collect = _waiting(Board.collect)
    fetch_history = _waiting(Board.fetch_history)
    fetch_gap = _waiting(Board.fetch_gap)
    interrupt = _waiting(Board.interrupt)
    close = _waiting(Board.close)


# --- an event loop in a thread --------------------------------------------------------------------


class _LoopThread:
    """An event loop in a thread, in which coroutines are run for other threads until it ends.

    A process that is forked has no such thread: there it has ended.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="boardwarden", daemon=True
        )
        self._is_ending = False
        # Of what is submitted, and the end. The garbage collector may end an iterator meanwhile.
        self._lock = threading.RLock()

    def __enter__(self) -> _LoopThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            ended = self.submit(self._finish())
            self._is_ending = True
        if ended is None:
            return  # forked: its loop is the other process's
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        """Wait for all that was submitted, and end iterators that nobody reads to their end."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T] | None:
        """Begin to run a coroutine; None, and it is closed, if this has ended."""
        if self._thread.is_alive():  # else the lock may be of a thread that was not forked
            with self._lock:
                if not self._is_ending:
                    return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        coroutine.close()
        return None

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine; return or raise here what it does there; LinkLost if this has ended."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("This is the board's own thread, which would wait for itself.")
        future = self.submit(coroutine)
        if future is None:
            raise diagnosis.closed()
        try:
            return future.result()
        except BaseException:  # Ctrl-C here must not leave it running there
            future.cancel()
            raise

    def end(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what ends something, unless this has ended and all with it.

        Does not wait where the garbage collector calls it in the thread itself.
        """
        future = self.submit(coroutine)
        if future is not None and threading.current_thread() is not self._thread:
            future.result()


def _iterate(thread: _LoopThread, items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Yield what an asynchronous generator does, run in the loop's thread."""

    async def next_item() -> T:
        return await items.__anext__()

    try:
        while True:
            yield thread.call(next_item())
    except StopAsyncIteration:
        return
    finally:
        thread.end(items.aclose())


@contextlib.contextmanager
def _inside(thread: _LoopThread, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Enter an asynchronous context manager in the loop's thread, and leave it after the block."""

    async def enter() -> T:
        return await manager.__aenter__()

    async def leave(error: BaseException | None) -> None:
        await manager.__aexit__(type(error) if error else None, error, None)

    entered = thread.call(enter())
    try:
        yield entered
    except BaseException as error:
        thread.end(leave(error))
        raise
    thread.end(leave(None))
