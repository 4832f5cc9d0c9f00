"""What can go wrong with a recording."""

from __future__ import annotations

from boardwarden.errors import BoardError


class RecordingError(BoardError):
    """A recording cannot be read or written; the text says in one sentence why."""
