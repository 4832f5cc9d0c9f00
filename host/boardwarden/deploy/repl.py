"""The board's raw REPL, by way of mpremote, which knows the boards' peculiarities.

Blocking. The port is opened as everywhere in this package, for mpremote says only that it failed.
"""

from __future__ import annotations

import ast
import contextlib
import io
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from boardwarden.errors import DeployError, LinkLost
from boardwarden.transport.fd_stream import keep_lines
from boardwarden.transport.serial_port import open_port

from .programs import ANSWER_BEGIN, ANSWER_END, wrapped

if TYPE_CHECKING:
    import serial

_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_REBOOT = b"soft reboot\r\n"
_PROMPT = b"\n>>> "
_PASTE_PROMPT = b"\n=== "
_ENTER_TRIES = 4
_ENTER_S = 2.0
_BOOT_S = 20.0  # for boot.py
_READ_S = 1.0
_WRITE_S = 5.0
_PROGRAM_S = 30.0  # that a program takes at most
_PROMPT_S = 10.0  # until it takes the next one: as long as mpremote waits
_END = b"\x04"  # of what a program prints, and of its traceback
# What a board prints as it starts, where no program of ours has ended: MicroPython, ESP32's ROM.
_RESTARTED = (b"MPY: soft reboot", b"raw REPL; CTRL-B", b"\nMicroPython v", b"rst:0x")


class FileError(DeployError):
    """The board answered a program with an OSError; `.number` is its errno."""

    def __init__(self, number: int) -> None:
        super().__init__(f"The board's file system failed with error {number}.")
        self.number = number


def _check_restart(printed: bytes, address: str) -> None:
    if any(mark in printed for mark in _RESTARTED):
        raise LinkLost(f"The board at {address} restarted by itself")


class _Limit:
    """A time for a board to answer in, looked at between two reads of its line.

    A read takes _READ_S at most. In more this process stood still, and what came is unread yet.
    """

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._looked_at = time.monotonic()

    def is_over(self) -> bool:
        """Return whether it has passed."""
        now = time.monotonic()
        self._left_s -= min(now - self._looked_at, _READ_S)
        self._looked_at = now
        return self._left_s <= 0


class _PatientPort:
    """A port that waits for a board that stands still: mpremote reads once, and gives up then."""

    def __init__(self, port: serial.Serial) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def read(self, size: int = 1) -> bytes:
        """Return so many bytes, fewer where a board does not answer in time."""
        limit = _Limit(_PROMPT_S)
        found = b""
        while len(found) < size and not limit.is_over():
            found += self._port.read(size - len(found))
        return found


class _Line(SerialTransport):  # type: ignore[misc]  # mpremote has no types
    """mpremote's transport, on a port that is open already."""

    def __init__(self, port: serial.Serial, address: str) -> None:
        self.in_raw_repl = False
        self.use_raw_paste = True
        self.device_name = address
        self.mounted = False
        self.serial = _PatientPort(port)
        self._port = port
        self.is_pty = self._is_pty_device(address)

    def read_until(
        self, min_num_bytes: int, ending: bytes, timeout_overall: float | None = None
    ) -> bytes:
        """Read as mpremote does, but not for ever: a board that restarts prints again and again."""
        limit = _Limit(timeout_overall or _PROMPT_S)
        found = b""
        while not found.endswith(ending) and not limit.is_over():
            found += self._port.read(1)
            if timeout_overall is None:
                _check_restart(found, self.device_name)  # a watchdog leaves no time to wait
        return found


class Repl:
    """The raw REPL of the board at `address`: a context manager that opens and closes the port.

    Raises LinkLost when the board is gone or does not answer any more, DeployError otherwise.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._port = open_port(address, timeout=_READ_S)
        self._port.write_timeout = _WRITE_S
        _keep_lines(self._port)
        self._line = _Line(self._port, address)

    def __enter__(self) -> Repl:
        return self

    def __exit__(self, *_: object) -> None:
        _unlock(self._port)
        self._port.close()

    def enter(self) -> None:
        """Stop whatever runs and get to the raw REPL; raise DeployError if none answers."""
        try:
            for tried in range(_ENTER_TRIES):
                self._port.write(b"\r\x03\x03")
                time.sleep(0.1)  # for the program that is stopped to say so
                self._port.read(self._port.in_waiting)
                self._port.write(b"\r\x01")
                if self._reads(_BANNER, _ENTER_S) and (not tried or self._settle()):
                    return
        except OSError as error:
            raise self._gone() from error
        raise DeployError(
            f"No MicroPython answers at {self.address}: is it a MicroPython board, and is its REPL "
            "on this port?"
        )

    def _settle(self) -> bool:
        """Return whether the board is in the raw REPL and has answered all that was written.

        One that was starting does so late: then the first banner is that of an earlier try.
        """
        limit = _Limit(_PROMPT_S)
        while self._port.read(1):  # until it is silent
            if limit.is_over():
                return False
        self._port.write(b"\r\x01")
        return self._reads(_BANNER, _ENTER_S)

    def soft_reset(self) -> None:
        """Start the board anew with boot.py, without main.py; be in the raw REPL again."""
        try:
            self._port.write(b"\x04")
            if self._reads(_REBOOT, _ENTER_S) and self._reads(_BANNER, _BOOT_S):
                return
        except OSError as error:
            raise self._gone() from error
        self.enter()  # boot.py goes on for ever: it is stopped

    def restart(self) -> None:
        """Start the board anew, with boot.py and main.py, and leave it to itself."""
        try:
            self._port.write(b"\r\x02")
            self._port.write(b"\x04")
            self._reads(_REBOOT, _ENTER_S)
        except OSError as error:
            raise self._gone() from error

    def paste(self, program: str) -> None:
        """Leave the raw REPL and start a program from the one for people; do not wait for it."""
        try:
            self._port.write(b"\r\x02")
            self._reads(_PROMPT, _ENTER_S)
            self._port.write(b"\x05")
            self._reads(_PASTE_PROMPT, _ENTER_S)
            self._port.write(program.encode() + b"\x04")
        except OSError as error:
            raise self._gone() from error

    def call(self, body: str) -> Any:
        """Run the body of a function on the board; return what it returns, a Python literal.

        Raises FileError where it met an OSError.
        """
        return self._answer(self._run(body))

    def call_printing(self, body: str) -> tuple[Any, str]:
        """Run the body of a function; return what it returns and what it printed before."""
        printed = self._run(body)
        before = printed.partition(ANSWER_BEGIN.encode())[0]
        return self._answer(printed), before.decode(errors="replace")

    def _run(self, body: str) -> bytes:
        """Run the body of a function on the board; return all that is printed meanwhile."""
        limit = _Limit(_PROGRAM_S)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # mpremote prints what it wonders at
                self._line.exec_raw_no_follow(wrapped(body))
            printed = self._until_end(limit)
            traceback = self._until_end(limit)
        except (TransportError, OSError, struct.error) as error:
            raise self._gone() from error
        if traceback:
            last = traceback.decode(errors="replace").strip().splitlines()[-1]
            raise DeployError(f"The board cannot do what deploying takes: {last}")
        return bytes(printed)

    def _until_end(self, limit: _Limit) -> bytes:
        """Return what the board prints until its end; a board that restarted never gets there."""
        printed = b""
        while not printed.endswith(_END):
            if printed.endswith(b"\n") and ANSWER_BEGIN.encode() not in printed:
                _check_restart(printed, self.address)
            if limit.is_over():
                raise self._gone()
            printed += self._port.read(1)
        return printed[: -len(_END)]

    def _answer(self, printed: bytes) -> Any:
        _, _, rest = printed.partition(ANSWER_BEGIN.encode())
        text, _, _ = rest.partition(ANSWER_END.encode())
        try:
            kind, value = ast.literal_eval(text.decode())
        except (ValueError, SyntaxError, TypeError) as error:
            raise LinkLost(f"What the board at {self.address} answers is damaged.") from error
        if kind == "os":
            raise FileError(value)
        if kind == "memory":
            raise DeployError("The board has too little free memory to deploy to it.")
        return value

    def _reads(self, mark: bytes, timeout: float) -> bool:
        found: bytes = self._line.read_until(1, mark, timeout_overall=timeout)
        return found.endswith(mark)

    def _gone(self) -> LinkLost:
        return LinkLost(f"The board at {self.address} vanished or stopped answering")


def _unlock(port: serial.Serial) -> None:
    """Let others have the port at once, also if a process that just starts has inherited it."""
    if sys.platform == "win32":
        return
    import fcntl

    with contextlib.suppress(OSError):  # the board is gone
        fcntl.flock(port.fileno(), fcntl.LOCK_UN)


def _keep_lines(port: serial.Serial) -> None:
    """Closing the port must not drop DTR and RTS, which resets many boards."""
    if sys.platform == "win32":
        return
    import termios

    try:
        keep_lines(port.fileno())
    except termios.error as error:
        raise LinkLost(f"{port.name} has just vanished.") from error
