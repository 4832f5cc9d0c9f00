"""What a board address may be, and the one sentence for one that is not."""

from __future__ import annotations

import re

from boardwarden.errors import AddressError

FORMS = "sim, sim:app.py, qemu:firmware.elf, /dev/ttyACM0, COM3 or tcp://host:port"

_WINDOWS_PORT = re.compile(r"(\\\\\.\\)?COM\d+", re.IGNORECASE)


def is_serial(address: str) -> bool:
    """Tell whether an address is one of a serial port."""
    return address.startswith("/") or _WINDOWS_PORT.fullmatch(address) is not None


def wrong_address(address: str, problem: str) -> AddressError:
    """Return the error to raise: the problem, and every form that is accepted."""
    return AddressError(f"{problem}; a board address is {FORMS}.", address)
