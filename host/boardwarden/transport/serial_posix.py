"""`/dev/ttyACM0`: a serial port on POSIX, driven by the event loop."""

from __future__ import annotations

import os
import termios
from typing import TYPE_CHECKING

from boardwarden.errors import PortMissing

from .fd_stream import FdStream, FdTransport
from .serial_search import SerialSearch

if TYPE_CHECKING:
    import serial


class SerialPosix(FdTransport):
    """A serial port, opened exclusively; neither opening nor closing it resets the board.

    Opened again, it is the port of the same board, which may have another name then.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._search = SerialSearch(address)
        self._port: serial.Serial | None = None

    async def open(self) -> None:
        """Open the port; raise PortMissing, PortBusy, PermissionDenied or AddressError."""
        from .serial_port import open_port
        from .terminal import keep_lines

        port = open_port(self._address, timeout=0, search=self._search)
        try:
            keep_lines(port.fileno())
        except termios.error as error:  # unplugged in between
            port.close()
            raise PortMissing(f"{self._address} has just vanished.", self._address) from error
        self._port = port
        # The stream has a descriptor of its own, so that each is closed by its one owner.
        self._stream = FdStream(os.dup(port.fileno()), self._address)

    async def close(self) -> None:
        """Close the port, leaving DTR and RTS as they are."""
        await super().close()
        port, self._port = self._port, None
        if port:
            port.close()
