"""The interface of a transport: open, read, write, close; and which one an address has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from boardwarden.errors import ConnectError

from .address import is_mqtt, is_serial, wrong_address


class Transport(Protocol):
    """Carries bytes to and from one board, and never resets it.

    May be opened again after close(): that is how the session reconnects. One with a true attribute
    `silence_is_death` may be dead with nothing that says so: it is opened anew after a silence.
    """

    @property
    def address(self) -> str:
        """The address, as the user gave it."""

    async def open(self) -> None:
        """Open the connection; raise a subclass of ConnectError if that fails."""

    async def read(self) -> bytes:
        """Wait for bytes and return them; b"" when the other end is gone."""

    async def write(self, data: bytes) -> None:
        """Send all of data; raise LinkLost when the other end is gone."""

    async def close(self) -> None:
        """Close the connection; may be called twice."""


@runtime_checkable
class Direct(Transport, Protocol):
    """A transport that can also read and write without waiting for the event loop."""

    async def receive(self, received: Callable[[bytes], None]) -> None:
        """Pass bytes to received() as they come; return when the other end is gone."""

    def offer(self, data: bytes) -> bool:
        """Send all of data at once and return True, or return False: a part of it may be sent."""


@runtime_checkable
class Shared(Transport, Protocol):
    """A transport by which all hosts read one stream of a board, and write to it.

    `online`: what is known apart from the stream of whether the board is there; None: nothing.
    """

    online: bool | None

    def watch(self, on_presence: Callable[[], None]) -> None:
        """Call on_presence() whenever a message says what `online` is, from now on."""

    def absence(self) -> ConnectError | None:
        """Return the error that says why the board does not answer; None where nobody knows."""


def transport_for(address: str) -> Transport:
    """Return the transport for a board address, not opened; raise AddressError for a wrong one."""
    kind, _, rest = address.partition(":")
    if kind == "sim":
        from .sim import Sim

        return Sim(address, rest)
    if kind == "qemu" and rest:
        from .sim import Qemu

        return Qemu(address, rest)
    if kind in ("tcp", "tls"):
        from .tcp import Tcp

        return Tcp(address)
    if is_mqtt(address):
        from .mqtt import Mqtt

        return Mqtt(address)
    if address.startswith("/"):
        from .serial_port import SerialPosix

        return SerialPosix(address)
    if is_serial(address):
        from .serial_port import SerialThreaded

        return SerialThreaded(address)
    raise wrong_address(address, f"{address!r} is not a board address")
