"""What deploying needs of whoever talks with the user."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Reports progress to the user, and asks questions."""

    def say(self, text: str) -> None:
        """Print a line."""
        ...

    def step(self, name: str, done: int, total: int) -> None:
        """Show the progress of a step; it is over when done equals total."""
        ...

    def confirm(self, question: str) -> bool:
        """Ask a question that yes or no answers."""
        ...


class Once:
    """Passes each line and each question on once: what is done again says nothing new."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._said: set[str] = set()
        self._answers: dict[str, bool] = {}

    def say(self, text: str) -> None:
        """See Reporter."""
        if text not in self._said:
            self._said.add(text)
            self._reporter.say(text)

    def step(self, name: str, done: int, total: int) -> None:
        """See Reporter."""
        self._reporter.step(name, done, total)

    def confirm(self, question: str) -> bool:
        """See Reporter."""
        if question not in self._answers:
            self._answers[question] = self._reporter.confirm(question)
        return self._answers[question]
