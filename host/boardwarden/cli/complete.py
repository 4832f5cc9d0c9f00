"""What the shell offers where an address, or one of a few words, is to come."""

from __future__ import annotations

from collections.abc import Callable, Iterable


def addresses(incomplete: str) -> list[str]:
    """Return the simulated board and the serial ports that are here, so far as they match."""
    from serial.tools.list_ports import comports

    known = ["sim", *(str(port.device) for port in comports())]
    return [address for address in known if address.startswith(incomplete)]


def one_of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return what offers those of some words that match."""
    known = tuple(words)

    def offer(incomplete: str) -> list[str]:
        return [each for each in known if each.startswith(incomplete)]

    return offer
