"""`COM3`: a serial port by way of pyserial, and what pyserial's errors mean."""

from __future__ import annotations

import asyncio
import errno
import sys
import threading

import serial

from boardwarden.errors import ConnectError, LinkLost, PermissionDenied, PortBusy, PortMissing

from .address import wrong_address
from .serial_search import SerialSearch

BAUD = 115200


def open_port(
    address: str, timeout: float | None, search: SerialSearch | None = None
) -> serial.Serial:
    """Open the port exclusively, 115200 8N1; raise a ConnectError that says what is wrong.

    `search` finds the port of a board that was at this address, and is now at another.

    `timeout` is pyserial's, for its own read(), in seconds. DTR and RTS are asserted, pyserial's
    default: USB CDC boards send nothing without DTR, and both together reset no board.
    """
    device = address if search is None else search.find()
    try:
        port = serial.Serial(
            device,
            BAUD,
            timeout=timeout,
            exclusive=True if sys.platform != "win32" else None,  # Windows knows no other way
        )
    except (serial.SerialException, OSError) as error:
        raise _explain(device, error) from error
    if search is not None:
        search.note()
    return port


def _explain(address: str, error: OSError) -> ConnectError:
    number = error.errno
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        stays = "" if _lasts(address) else " Paths under /dev/serial/by-id stay the same."
        return PortMissing(f"There is no port {address}: is the board plugged in?{stays}", address)
    if number in (errno.EACCES, errno.EPERM):
        return PermissionDenied(
            f"You may not open {address}: join the group that owns it "
            "(on Debian: sudo usermod -a -G dialout $USER, then log in again).",
            address,
        )
    if number in (errno.EBUSY, errno.EAGAIN):
        return PortBusy(
            f"Another program has {address} open: close it (mpremote, a serial terminal) "
            "and try again.",
            address,
        )
    if number in (None, errno.EISDIR, errno.ENOTTY, errno.EINVAL) and sys.platform != "win32":
        return wrong_address(address, f"{address} is not a serial port")
    return ConnectError(f"Cannot open {address}: {error}.", address)


def _lasts(address: str) -> bool:
    """Return whether an address stays the board's, or there is no better one."""
    return sys.platform != "linux" or not address.startswith("/dev/tty")


class SerialThreaded:
    """A serial port with a thread that reads, for Windows, where asyncio cannot wait for one.

    The thread ends with close() or the port. Tested on POSIX pseudo-terminals only; nobody has run
    it on Windows yet.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._search = SerialSearch(address)
        self._port: serial.Serial | None = None
        self._thread: threading.Thread | None = None
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()

    @property
    def address(self) -> str:
        """The address, as the user gave it."""
        return self._address

    async def open(self) -> None:
        """Open the port; raise a ConnectError that says why not."""
        self._port = open_port(self._address, timeout=None, search=self._search)
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
