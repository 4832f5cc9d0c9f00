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
