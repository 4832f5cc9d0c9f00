"""What `serve` is told on the command line: where to listen, and which boards."""

from __future__ import annotations

from collections.abc import Sequence

from boardwarden.transport import transport_for


def listen(text: str) -> tuple[str, int]:
    """Return host and port of "127.0.0.1:9477", "[::1]:9477" or ":9477", which is every interface.

    Raises ValueError.
    """
    host, colon, digits = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""  # IPv6 needs brackets: else it is unclear where the port begins
    if not (colon and digits.isascii() and digits.isdigit() and int(digits) <= 65_535):
        raise ValueError(f"{text!r} is no address to listen on; one is 127.0.0.1:9477.")
    return host or "0.0.0.0", int(digits)


def boards(addresses: Sequence[str]) -> None:
    """Check the addresses; each labels the series of its board, so it is there once.

    Raises AddressError for one that means nothing, ValueError for one that is there twice.
    """
    for address in addresses:
        transport_for(address)
    twice = next((each for each in addresses if addresses.count(each) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is named twice; name each board once.")
