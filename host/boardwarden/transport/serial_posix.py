"""`/dev/ttyACM0`: a serial port on POSIX, driven by the event loop."""

from __future__ import annotations

import os
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING

from boardwarden.errors import LinkLost, PortMissing

from .fd_stream import FdStream

if TYPE_CHECKING:
    import serial


class SerialPosix:
    """A serial port, opened for us alone; neither opening nor closing it resets the board."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._port: serial.Serial | None = None
        self._stream: FdStream | None = None

    @property
    def address(self) -> str:
        """The address, as the user gave it."""
        return self._address

    async def open(self) -> None:
        """Open the port; raise PortMissing, PortBusy, PermissionDenied or AddressError."""
        from .serial_port import open_port
        from .terminal import keep_lines

        port = open_port(self._address, timeout=0)
        try:
            keep_lines(port.fileno())
        except termios.error as error:  # unplugged in between
            port.close()
            raise PortMissing(f"{self._address} has just vanished.", self._address) from error
        self._port = port
        # The stream has a descriptor of its own, so that each is closed by its one owner.
        self._stream = FdStream(os.dup(port.fileno()), self._address)

    async def read(self) -> bytes:
        """Wait for bytes; b"" when the port is gone."""
        return await self._stream.read() if self._stream else b""

    async def receive(self, received: Callable[[bytes], None]) -> None:
        """Hand over bytes as they come, until the port is gone."""
        if self._stream:
            await self._stream.receive(received)

    async def write(self, data: bytes) -> None:
        """Send all of data; raise LinkLost when the port is gone."""
        if self._stream is None:
            raise LinkLost(f"The link to {self._address} is closed.")
        await self._stream.write(data)

    def offer(self, data: bytes) -> bool:
        """Send all of data at once, or return False."""
        return bool(self._stream and self._stream.offer(data))

    async def close(self) -> None:
        """Close the port, leaving DTR and RTS as they are."""
        stream, self._stream = self._stream, None
        port, self._port = self._port, None
        if stream:
            stream.close()
        if port:
            port.close()
