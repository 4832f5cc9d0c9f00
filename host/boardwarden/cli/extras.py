"""What is installed only with an extra: a command that needs it says which."""

from __future__ import annotations

import importlib

from .outcome import fail


def require(command: str, module: str, library: str, extra: str) -> None:
    """Import a module that a command needs, or fail with the sentence that says how to get it."""
    try:
        importlib.import_module(module)
    except ImportError:
        fail(f"{command} needs {library}: pip install 'boardwarden[{extra}]'.")
