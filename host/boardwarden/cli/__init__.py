"""The command line: `main()` is the command `boardwarden`."""

from .app import main

__all__ = ["main"]
