"""What deploying needs of whoever talks with the user."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Tells the user what happens, and asks."""

    def say(self, text: str) -> None:
        """Tell something that is worth a line."""
        ...

    def step(self, name: str, done: int, total: int) -> None:
        """Tell how far a step of the work is; it is over when done equals total."""
        ...

    def confirm(self, question: str) -> bool:
        """Ask a question that yes or no answers."""
        ...
