"""What passes between deploying and its user: lines, progress, questions, Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any, Protocol


class Reporter(Protocol):
    """Reports progress to the user, and asks questions."""

    def say(self, text: str) -> None:
        """Print a line."""

    def step(self, name: str, done: int, total: int) -> None:
        """Show the progress of a step; it is over when done equals total."""

    def confirm(self, question: str) -> bool:
        """Ask a question that yes or no answers."""


class Once:
    """Passes each line and each question on once: what is done again says nothing new."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._said: set[str] = set()
        self._answers: dict[str, bool] = {}

    def say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._reporter.say(text)

    def step(self, name: str, done: int, total: int) -> None:
        self._reporter.step(name, done, total)

    def confirm(self, question: str) -> bool:
        if question not in self._answers:
            self._answers[question] = self._reporter.confirm(question)
        return self._answers[question]


class Interrupts:
    """Inside the block a first Ctrl-C waits for check(); a second one interrupts at once."""

    def __init__(self) -> None:
        self._noted = False
        self._at_once = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was a Ctrl-C."""
        if self._noted:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Heed a Ctrl-C at once inside the block: nothing is under way on the board."""
        self.check()
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        again, self._noted = self._noted, True
        if again or self._at_once:
            raise KeyboardInterrupt
