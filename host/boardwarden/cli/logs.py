"""What the library logs, to "boardwarden" of Python's logging, shown on standard error."""

from __future__ import annotations

import logging

_LOGGER = logging.getLogger("boardwarden")
_HANDLER = logging.StreamHandler()
_HANDLER.setFormatter(logging.Formatter("boardwarden: %(message)s"))


def show(level: int) -> None:
    """Show it from a level on; if it is shown already, at the lower one of both levels."""
    if _HANDLER not in _LOGGER.handlers:
        _LOGGER.addHandler(_HANDLER)
        _LOGGER.setLevel(level)
    _LOGGER.setLevel(min(level, _LOGGER.level))
