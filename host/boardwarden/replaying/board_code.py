"""The board's own code, imported into this process from where the simulated board has it.

It is written for MicroPython, of which it needs only `micropython.const` here.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def modules_kept(*names: str) -> Iterator[None]:
    """Leave these modules as they are, whatever stands in for one of them meanwhile.

    Those that are not imported cannot be.
    """
    before = {name: sys.modules.get(name) for name in names}
    for name, module in before.items():
        if module is None:
            sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module
