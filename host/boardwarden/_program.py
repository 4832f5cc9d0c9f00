"""Prints results, and ends programs with one sentence instead of a traceback.

Aligned text for people, one JSON object a line for programs. Neither has anything in it on which a
terminal acts, whatever a board says.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn, TypeVar

from .errors import BoardError, Denied
from .models import Model
from .render.status import WIDTH, Row, aligned
from .render.text import columns, harmless, printable

FAILED = 2  # as for a usage error
DENIED = 3  # the board is there and well, and says no for now
SIGNALLED = 128  # and a signal's number, as a shell reports it
INTERRUPTED = SIGNALLED + 2  # SIGINT
PIPE_CLOSED = SIGNALLED + 13  # SIGPIPE
_ENDING = ("SIGTERM", "SIGHUP")
T = TypeVar("T")


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object as one line, at once."""
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():  # JSON itself escapes no more than ASCII's control characters
        text = "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)
    print(text, flush=True)


def dicts(models: Iterable[Model]) -> list[dict[str, Any]]:
    """Return models as dicts for JSON."""
    return [each.to_dict() for each in models]


def print_line(line: str) -> None:
    """Print one line, or several, at once."""
    print(harmless(line), flush=True)


def print_note(text: str) -> None:
    """Print one line to standard error: what happens beside a command's results."""
    print(f"boardwarden: {printable(text)}", file=sys.stderr, flush=True)


def print_rows(rows: Iterable[Row]) -> None:
    """Print rows, as wide as the terminal; 80 columns if there is none."""
    print_line(aligned(rows, terminal_width()))


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], nothing: str, uncut: Sequence[str] = ()
) -> None:
    """Print a table, as wide as the terminal; `nothing` where it has no rows. See columns()."""
    lines = columns(head, rows, terminal_width(), uncut)
    for line in lines if len(lines) > 1 else [nothing]:
        print_line(line)


def terminal_width() -> int:
    """Return how many columns there are to print in; 80 where there is no terminal."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH


class Failure(Exception):
    """A command cannot go on; its text is the sentence that says why."""

    def __init__(self, sentence: str, status: int = FAILED) -> None:
        super().__init__(sentence)
        self.status = status


class Interrupted(Exception):
    """The user pressed Ctrl-C, and the command has cleaned up."""


class OutputError(Exception):
    """Standard output takes nothing more; `number` is the system's errno.

    No OSError: Rich and Typer have exit statuses of their own for those.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.number = error.errno


class _Errors(io.TextIOWrapper):
    """Standard error that drops what it cannot write, as on a full disk: nobody can be told."""

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return super().write(text)
        except OSError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except OSError:
            self._drop()

    def _drop(self) -> None:
        """Give what is left somewhere to go: Python would complain at exit as it flushes it."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def open_streams() -> None:
    """Make standard input and error usable: closed ones become empty, and none can fail.

    First of all: else a port or a recording gets the number of one that is closed, and what is said
    is written into it. A closed standard output is an error, see checked_output().
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = sys.__stderr__ = open(os.devnull, "w", encoding="utf-8")  # type: ignore[misc]  # noqa: SIM115
    elif isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Errors(
            sys.stderr.buffer,
            sys.stderr.encoding,
            "replace",  # a board's name must not stop us
            line_buffering=True,
        )


class _Output(io.TextIOWrapper):
    """Standard output that raises OutputError."""

    def write(self, text: str) -> int:
        """Write text."""
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error) from error

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error) from error


@contextlib.contextmanager
def checked_output() -> Iterator[None]:
    """End the program with a sentence if standard output cannot be written, as on a full disk.

    With PIPE_CLOSED and no word if its reader has enough (`| head`).
    """
    if sys.stdout is None:
        fail("Standard output is closed.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(
            sys.stdout.buffer,
            sys.stdout.encoding,
            "replace",  # what a board prints must not stop us
            line_buffering=sys.stdout.line_buffering,
        )
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OutputError as error:
        # Python would complain at exit as it flushes what is left: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.number == errno.EPIPE:
            sys.exit(PIPE_CLOSED)
        fail(f"Cannot write to standard output: {str(error).lower()}.")


def run(command: Coroutine[Any, Any, None]) -> None:
    """Run a command; if it fails, exit with a sentence and a status."""
    with reported():
        asyncio.run(command)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn an exception that ends the block into a sentence and an exit status.

    SIGTERM and SIGHUP end it as Ctrl-C does, so that it cleans up, with a status of their own.
    """
    before = signal.getsignal(signal.SIGINT)
    if callable(before):  # else Ctrl-C is ignored, as under nohup
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with _ends_like_ctrl_c() as ended_by:
        try:
            yield
            sys.stdout.flush()
        except Failure as failure:
            fail(str(failure), failure.status)
        except BoardError as error:
            fail(str(error), DENIED if isinstance(error, Denied) else FAILED)
        except (KeyboardInterrupt, Interrupted):
            sys.exit(SIGNALLED + ended_by[0] if ended_by else INTERRUPTED)
        finally:
            if callable(before):
                signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _ends_like_ctrl_c() -> Iterator[list[int]]:
    """Have each signal that asks a program to end act as Ctrl-C; yield those that came.

    Not one that is ignored, as SIGHUP under nohup.
    """
    came: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a shell's background job
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    numbers = [each for each in numbers if signal.getsignal(each) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield came
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def fail(sentence: str, status: int = FAILED) -> NoReturn:
    """Print one sentence to standard error and exit."""
    print_note(sentence)
    sys.exit(status)


def checked(check: Callable[..., T], *given: Any) -> T:
    """Return the result of a check; exit with the sentence of its ValueError or BoardError."""
    try:
        return check(*given)
    except (ValueError, BoardError) as error:
        fail(str(error))
