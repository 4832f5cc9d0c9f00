"""The board's own code, imported into this process from where the simulated board has it.

It is written for MicroPython, of which its deciding parts need only `micropython.const`.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from boardwarden.transport.sim import board_files


def load(module: str) -> Any:
    """Return a module of the board's package `warden`, by its name there."""
    name = f"warden.{module}"
    if name in sys.modules:
        return sys.modules[name]
    folder = str(board_files()[0])
    stand_in = "micropython" not in sys.modules
    if stand_in:
        sys.modules["micropython"] = _micropython()
    importlib.import_module("warden_schema")  # the host's, not a second one beside the board's code
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)
        if stand_in:
            del sys.modules["micropython"]


def _micropython() -> ModuleType:
    made = ModuleType("micropython")
    made.const = lambda value: value  # type: ignore[attr-defined]
    return made
