"""`COM3`: a serial port on Windows, where asyncio cannot wait for one: a thread reads.

Tested on POSIX pseudo-terminals only; nobody has run it on Windows yet.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from boardwarden.errors import LinkLost

if TYPE_CHECKING:
    import serial


class SerialThreaded:
    """A serial port with a thread that reads; the thread ends with close() or the port."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._port: serial.Serial | None = None
        self._thread: threading.Thread | None = None
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()

    @property
    def address(self) -> str:
        """The address, as the user gave it."""
        return self._address

    async def open(self) -> None:
        """Open the port; raise a ConnectError that says why not."""
        from .serial_port import open_port

        self._port = open_port(self._address, timeout=None)
        self._chunks = asyncio.Queue()
        self._thread = threading.Thread(
            target=_pump,
            args=(self._port, asyncio.get_running_loop(), self._chunks),
            name=f"read {self._address}",
            daemon=True,
        )
        self._thread.start()

    async def read(self) -> bytes:
        """Wait for bytes; b"" when the port is gone."""
        if self._port is None:
            return b""
        return await self._chunks.get()

    async def write(self, data: bytes) -> None:
        """Send all of data; raise LinkLost when the port is gone."""
        if self._port is None:
            raise LinkLost(f"The link to {self._address} is closed.")
        try:
            await asyncio.to_thread(self._port.write, data)
        except OSError as error:  # SerialException is one
            raise LinkLost(f"The link to {self._address} broke.") from error

    async def close(self) -> None:
        """Stop the thread and close the port."""
        port, self._port = self._port, None
        thread, self._thread = self._thread, None
        if port is None or thread is None:
            return
        port.cancel_read()
        await asyncio.to_thread(thread.join)
        port.close()


def _pump(
    port: serial.Serial, loop: asyncio.AbstractEventLoop, chunks: asyncio.Queue[bytes]
) -> None:
    """Hand on what is read, and b"" at the end."""
    data = b"."
    while data:
        try:
            data = bytes(port.read(max(1, port.in_waiting)))
        except (OSError, TypeError):  # TypeError: pyserial, when the port closes under a read
            data = b""
        loop.call_soon_threadsafe(chunks.put_nowait, data)
