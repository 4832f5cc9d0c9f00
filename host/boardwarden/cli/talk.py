"""How a long piece of work talks with whoever started it: lines, progress, and a question."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from .outcome import Failure

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SOON_S = 0.3  # what is over sooner shows no progress


class TerminalTalk:
    """Lines on standard output; progress on standard error, where that is a terminal.

    yes: answer each question with yes. A context manager: it leaves the terminal clean.
    """

    def __init__(self, yes: bool) -> None:
        self._yes = yes
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._name = ""
        self._began = 0.0

    def __enter__(self) -> TerminalTalk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_progress()

    def say(self, text: str) -> None:
        """Print a line."""
        self._end_progress()
        print(text, flush=True)

    def step(self, name: str, done: int, total: int) -> None:
        """Show how far a step is; it goes away when it is done."""
        if not sys.stderr.isatty():
            return
        if name != self._name:
            self._end_progress()
            self._name, self._began = name, time.monotonic()
        if done >= total:
            self._end_progress()
        elif self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
        elif time.monotonic() - self._began >= _SOON_S:
            self._begin_progress(name, done, total)

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; raise Failure where there is none and --yes was not given."""
        self._end_progress()
        if self._yes:
            return True
        if not sys.stdin.isatty():
            raise Failure(f"{question} There is no terminal to ask on: answer with --yes.")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        try:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
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

    def _end_progress(self) -> None:
        progress, self._progress, self._name = self._progress, None, ""
        if progress is not None:
            progress.stop()
