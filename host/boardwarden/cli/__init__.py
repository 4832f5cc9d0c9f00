"""The command line: `main()` is the command `boardwarden`."""

from .entry import main

__all__ = ["main"]
