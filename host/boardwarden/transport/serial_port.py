"""Serial ports: `/dev/ttyACM0`, driven by the event loop, and `COM3`, by way of pyserial.

A board that comes back at another port is found by what its USB device says of itself.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import serial

from boardwarden.errors import ConnectError, LinkLost, PermissionDenied, PortBusy, PortMissing

from .address import wrong_address
from .fd_stream import FdStream, FdTransport, keep_lines

_log = logging.getLogger(__name__)
_BY_ID = Path("/dev/serial/by-id")
BAUD = 115200


class UsbIdentity(NamedTuple):
    """What stays of a USB port, wherever it is plugged in.

    interface: of a board that has several ports; else "".
    """

    vid: int
    pid: int
    serial_number: str
    interface: str


def listed() -> list[Any]:
    """Return the serial ports that the system lists, as pyserial describes them, by name."""
    from serial.tools.list_ports import comports

    return sorted(comports(), key=lambda port: str(port.device))


def lasting_name(address: str) -> str | None:
    """Return the path under /dev/serial/by-id that leads to a port; None if there is none."""
    try:
        links = sorted(_BY_ID.iterdir())
    except OSError:  # not Linux, or no USB port
        return None
    device = os.path.realpath(address)
    return next((str(link) for link in links if os.path.realpath(link) == device), None)


class SerialSearch:
    """Finds the port of the board that was at `address` when `note()` was called first."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._identity: UsbIdentity | None = None

    def find(self) -> str:
        """Return where the board is now: its address, until it is known to be elsewhere.

        Raises PortMissing where the board is not, though another one has its address.
        """
        if self._identity is None:
            return self._address
        ports = listed()
        for port in ports:
            if _identity(port) == self._identity:
                device = str(port.device)
                if not _is_same(device, self._address):
                    _log.info("%s: the board is at %s now", self._address, device)
                return device
        if _at(ports, self._address) is None:
            return self._address
        raise PortMissing(
            f"Another board is at {self._address} now: is the one with the serial number "
            f"{self._identity.serial_number} plugged in?",
            self._address,
        )

    def note(self) -> None:
        """The port at the address is open: note which board that is, if it was not noted."""
        if self._identity is None:
            port = _at(listed(), self._address)
            self._identity = None if port is None else _identity(port)


def _identity(port: Any) -> UsbIdentity | None:
    """Return a port's identity; None where it is no USB port, or its board has no serial number."""
    serial_number = getattr(port, "serial_number", None)
    if port.vid is None or not serial_number:
        return None
    _, _, interface = (port.location or "").partition(":")  # such as 1-1.2:1.0
    return UsbIdentity(port.vid, port.pid, serial_number, interface)


def _at(ports: Iterable[Any], address: str) -> Any:
    return next((port for port in ports if _is_same(str(port.device), address)), None)


def _is_same(device: str, address: str) -> bool:
    return device == address or os.path.realpath(device) == os.path.realpath(address)


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
        self.address = address
        self._search = SerialSearch(address)
        self._port: serial.Serial | None = None
        self._thread: threading.Thread | None = None
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()

    async def open(self) -> None:
        """Open the port; raise a ConnectError that says why not."""
        self._port = open_port(self.address, timeout=None, search=self._search)
        self._chunks = asyncio.Queue()
        self._thread = threading.Thread(
            target=_pump,
            args=(self._port, asyncio.get_running_loop(), self._chunks),
            name=f"read {self.address}",
            daemon=True,
        )
        self._thread.start()

    async def read(self) -> bytes:
        if self._port is None:
            return b""
        return await self._chunks.get()

    async def write(self, data: bytes) -> None:
        if self._port is None:
            raise LinkLost(f"The link to {self.address} is closed.")
        try:
            await asyncio.to_thread(self._port.write, data)
        except OSError as error:  # SerialException is one
            raise LinkLost(f"The link to {self.address} broke.") from error

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
        import termios

        port = open_port(self.address, timeout=0, search=self._search)
        try:
            keep_lines(port.fileno())
        except termios.error as error:  # unplugged in between
            port.close()
            raise PortMissing(f"{self.address} has just vanished.", self.address) from error
        self._port = port
        # The stream has a descriptor of its own, so that each is closed by its one owner.
        self._stream = FdStream(os.dup(port.fileno()), self.address)

    async def close(self) -> None:
        """Close the port, leaving DTR and RTS as they are."""
        await super().close()
        port, self._port = self._port, None
        if port:
            port.close()
