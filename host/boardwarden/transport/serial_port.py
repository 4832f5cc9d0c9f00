"""Opening a serial port with pyserial, and what its errors mean."""

from __future__ import annotations

import errno
import sys

import serial

from boardwarden.errors import ConnectError, PermissionDenied, PortBusy, PortMissing

from .address import wrong_address

BAUD = 115200


def open_port(address: str, timeout: float | None) -> serial.Serial:
    """Open the port for us alone, 115200 8N1; raise a ConnectError that says what is wrong.

    `timeout` is pyserial's, for its own read(), in seconds. DTR and RTS are asserted, pyserial's
    default: USB CDC boards send nothing without DTR, and both together reset no board.
    """
    try:
        return serial.Serial(
            address,
            BAUD,
            timeout=timeout,
            exclusive=True if sys.platform != "win32" else None,  # Windows knows no other way
        )
    except (serial.SerialException, OSError) as error:
        raise _explain(address, error) from error


def _explain(address: str, error: OSError) -> ConnectError:
    number = error.errno
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return PortMissing(f"There is no port {address}: is the board plugged in?", address)
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
