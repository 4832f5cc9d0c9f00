"""Returns the transport for an address; each kind is imported only when it is used."""

from __future__ import annotations

from .address import is_mqtt, is_serial, wrong_address
from .base import Transport


def transport_for(address: str) -> Transport:
    """Return the transport for a board address, not opened; raise AddressError for a wrong one."""
    kind, _, rest = address.partition(":")
    if kind == "sim":
        from .sim import Sim

        return Sim(address, rest)
    if kind == "qemu" and rest:
        from .qemu import Qemu

        return Qemu(address, rest)
    if kind in ("tcp", "tls"):
        from .tcp import Tcp

        return Tcp(address)
    if is_mqtt(address):
        from .mqtt import Mqtt

        return Mqtt(address)
    if address.startswith("/"):
        from .serial_posix import SerialPosix

        return SerialPosix(address)
    if is_serial(address):
        from .serial_port import SerialThreaded

        return SerialThreaded(address)
    raise wrong_address(address, f"{address!r} is not a board address")
