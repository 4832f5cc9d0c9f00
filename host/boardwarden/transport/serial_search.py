"""The serial ports of this machine, and which of them a board is at that came back elsewhere.

A USB board that was unplugged, or has reset, may come back as /dev/ttyACM1 where it was ttyACM0,
and another board as ttyACM0. Its vendor, product and serial number tell them apart.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from boardwarden.errors import PortMissing

_log = logging.getLogger(__name__)
_BY_ID = Path("/dev/serial/by-id")


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
