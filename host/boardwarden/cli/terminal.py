"""The terminal's side of commands: what they wait for, progress, questions, the log, redrawing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from boardwarden import board as boards
from boardwarden._program import Failure, print_line, print_note
from boardwarden.board import Board
from boardwarden.errors import AtPrompt, NoAgent
from boardwarden.models import Status
from boardwarden.render.status import LinkChanges, link_state
from boardwarden.render.text import harmless, printable
from boardwarden.transport.address import is_mqtt, is_serial

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SHOW_AFTER_S = 1.0
_YES = ("y", "yes")
_SOON_S = 0.3  # what is over sooner shows no progress
_LOGGER = logging.getLogger("boardwarden")
T = TypeVar("T")

_FULL_INTERVAL_TIMEOUT_S = 3.0
_POLL_S = 1.0  # at least so often, to notice that the link is lost


@contextlib.asynccontextmanager
async def connect(address: str) -> AsyncIterator[Board]:
    """Connect as boardwarden.connect() does; show on the terminal if that takes long.

    Raises Failure, with the advice to deploy the agent, where none answers at a serial port.
    """
    async with contextlib.AsyncExitStack() as stack:
        async with waiting(connecting(address)):
            try:
                board = await stack.enter_async_context(boards.connect(address))
            except (NoAgent, AtPrompt) as error:
                if not is_serial(address):
                    raise
                deploy = f"`boardwarden deploy {address} --start main.py`"
                raise Failure(f"{error} Where it has no agent, {deploy} installs it.") from None
        if board.version_note is not None:
            print_note(f"{address}: {board.version_note}")
        yield board


def connecting(address: str) -> str:
    """Return what a command waits for that connects."""
    what = f"connecting to {address}"
    if not is_mqtt(str(address)):  # tests give a transport
        return what
    return f"{what}; up to 30 s, if the broker does not let this user write to it,"


@contextlib.asynccontextmanager
async def waiting(what: str) -> AsyncIterator[Callable[[], object]]:
    """Show on standard error, if it is a terminal, what the command waits for.

    It is gone with the block, or soon after what is yielded is called.
    """
    if not sys.stderr.isatty():
        yield lambda: None
        return
    showing = asyncio.create_task(_show_status(what))
    try:
        yield showing.cancel
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


def answer() -> contextlib.AbstractAsyncContextManager[Callable[[], object]]:
    """Return waiting() for a reply of the board."""
    return waiting("waiting for the board's answer")


async def _show_status(what: str) -> None:
    await asyncio.sleep(_SHOW_AFTER_S)
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(f"{escape(what)} …"):
        await asyncio.Event().wait()


async def confirm(question: str) -> bool:
    """Ask on the terminal; raise Failure if there is none.

    The answer is read by a thread that Ctrl-C does not wait for: the board needs its keepalives.
    """
    _ask(question)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def give(line: bytes) -> None:
        if not answer.done():
            answer.set_result(line)

    def read() -> None:
        # Not sys.stdin, which would be locked when the interpreter ends.
        line = os.read(sys.stdin.fileno(), 256)
        if not loop.is_closed():
            loop.call_soon_threadsafe(give, line)

    threading.Thread(target=read, daemon=True).start()
    try:
        return _is_yes((await answer).decode(errors="replace"))
    except asyncio.CancelledError:
        print(file=sys.stderr, flush=True)  # Ctrl-C leaves the terminal at the begin of a line
        raise


def _ask(question: str) -> None:
    """Print a question; raise Failure if there is no terminal."""
    if not sys.stdin.isatty():
        raise Failure(f"{question} There is no terminal to ask on: answer with --yes.")
    print(f"{printable(question)} [y/N] ", end="", file=sys.stderr, flush=True)


def _is_yes(line: str) -> bool:
    return line.strip().lower() in _YES


@contextlib.contextmanager
def on_signal(number: int, act: Callable[[], object]) -> Iterator[None]:
    """Call act() in the event loop, when a signal comes during the block, instead of ending.

    Not on Windows: there the signal ends what runs.
    """
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(number, act)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(number)


class TerminalReporter:
    """Lines on standard output; progress on standard error, where that is a terminal.

    yes: answer each question with yes. A context manager: it leaves the terminal clean.
    """

    def __init__(self, yes: bool) -> None:
        self._yes = yes
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._began = 0.0

    def __enter__(self) -> TerminalReporter:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_progress()

    def say(self, text: str) -> None:
        """Print a line."""
        self.end_progress()
        print_line(text)

    def step(self, name: str, done: int, total: int) -> None:
        """Show the progress of a step; it vanishes when the step is done."""
        if not sys.stderr.isatty():
            return
        if name != self._name:
            self.end_progress()
            self._name, self._began = name, time.monotonic()
        if done >= total:
            self.end_progress()
        elif self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
        elif time.monotonic() - self._began >= _SOON_S:
            self._begin_progress(name, done, total)

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; raise Failure if there is none and --yes was not given."""
        self.end_progress()
        if self._yes:
            return True
        try:
            _ask(question)
            return _is_yes(sys.stdin.readline())
        except KeyboardInterrupt:
            print(file=sys.stderr, flush=True)  # leaves the terminal at the begin of a line
            raise

    def _begin_progress(self, name: str, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(name, completed=done, total=total)

    def end_progress(self) -> None:
        """Leave the terminal clean."""
        progress, self._progress, self._name = self._progress, None, ""
        if progress is not None:
            progress.stop()


class _Handler(logging.Handler):
    """Prints records, with nothing in them that a terminal acts on."""

    def emit(self, record: logging.LogRecord) -> None:
        print(harmless(self.format(record)), file=sys.stderr, flush=True)


_HANDLER = _Handler()
_HANDLER.setFormatter(logging.Formatter("boardwarden: %(message)s"))


def show_logs(level: int) -> None:
    """Print log records of a level and above; a second call can only lower the level."""
    if _HANDLER not in _LOGGER.handlers:
        _LOGGER.addHandler(_HANDLER)
        _LOGGER.setLevel(level)
    _LOGGER.setLevel(min(level, _LOGGER.level))


async def ticks(board: Board) -> AsyncIterator[bool]:
    """Yield True now and at each new sample, False after each second without one."""
    first = True
    async for status in paced(board.updates()):
        yield first or status is not None
        first = False


async def paced(items: AsyncGenerator[T, None]) -> AsyncIterator[T | None]:
    """Yield None at once, then the items as they come, and None after each second without one."""
    item = asyncio.ensure_future(anext(items))
    try:
        yield None
        while True:
            done, _ = await asyncio.wait([item], timeout=_POLL_S)
            if not done:
                yield None
            elif isinstance(item.exception(), StopAsyncIteration):
                return
            else:
                yield item.result()
                item = asyncio.ensure_future(anext(items))
    finally:
        item.cancel()


def print_link_changes(link_changes: LinkChanges, of: str = "") -> None:
    """Print to standard error what changed of a link, and the board's restarts."""
    for line in link_changes.lines():
        print_note(f"{of}{line}")


async def wait_full_interval(board: Board) -> Status:
    """Wait up to 3 s for a sample that covers a full interval; load is known only then."""
    with contextlib.suppress(asyncio.TimeoutError):  # monitoring is stopped, or slow: no matter
        await asyncio.wait_for(_until_full_interval(board), _FULL_INTERVAL_TIMEOUT_S)
    return board.status


async def _until_full_interval(board: Board) -> None:
    while not _has_full_interval(board):
        await board.wait_sample()


def _has_full_interval(board: Board) -> bool:
    now, cpu = board.status, board.capabilities.get("cpu")
    if (now.cpu.uptime_s or 0) < (now.interval_s or 0):
        return False
    return now.cpu.usage is not None or cpu is None or not cpu.available


async def redraw(board: Board, title: str, picture: Callable[[int], str]) -> None:
    """Draw picture(width) under a title at each sample, until cancelled; restarts stay above."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    link_changes = LinkChanges(board)
    with Live(console=console, auto_refresh=False) as live:
        async for _ in ticks(board):
            for line in link_changes.restarts():
                console.print(printable(f"{title}: {line}"), style="red", markup=False)
            head = Text(f"{title}: {link_state(board)}\n", style="" if board.connected else "red")
            live.update(head.append(picture(console.width), style="default"), refresh=True)
