"""A fake of MicroPython's `micropython` module, for the board's logic on CPython.

It has only what CPython can do truthfully: `const` names a constant there too. A test that needs
a locked heap, viper code or a scheduler is one for MicroPython itself, in firmware_tests/.
"""

from typing import Any


def const(value: Any) -> Any:
    return value
