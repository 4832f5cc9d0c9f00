"""What a board address may be, and the one sentence for one that is not."""

from __future__ import annotations

from boardwarden.errors import AddressError

FORMS = "sim, sim:app.py, qemu:firmware.elf, /dev/ttyACM0, COM3 or tcp://host:port"


def wrong_address(address: str, problem: str) -> AddressError:
    """Return the error to raise: the problem, and every form that is accepted."""
    return AddressError(f"{problem}; a board address is {FORMS}.", address)
