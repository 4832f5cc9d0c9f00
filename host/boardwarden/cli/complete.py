"""What the shell offers where a board's address is to come."""

from __future__ import annotations


def addresses(incomplete: str) -> list[str]:
    """Return the simulated board and the serial ports that are here, so far as they match."""
    from serial.tools.list_ports import comports

    known = ["sim", *(str(port.device) for port in comports())]
    return [address for address in known if address.startswith(incomplete)]
