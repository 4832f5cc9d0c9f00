"""What the library logs, to "boardwarden" of Python's logging, shown on standard error."""

from __future__ import annotations

import logging

_LOGGER = logging.getLogger("boardwarden")


def show(level: int) -> None:
    """Show it from a level on; once shown it stays so, at the lowest level that was asked for."""
    if not _LOGGER.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("boardwarden: %(message)s"))
        _LOGGER.addHandler(handler)
        _LOGGER.setLevel(level)
    _LOGGER.setLevel(min(level, _LOGGER.level))
