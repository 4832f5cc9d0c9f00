"""MicroPython's raw REPL over a serial port: enough to run a program and get what it prints.

https://docs.micropython.org/en/latest/reference/repl.html#raw-mode-and-raw-paste-mode
Raw paste is used, where the board says after each window of bytes that it is ready for more: a
board of 140 KB compiles what comes in as it comes in.
"""

from __future__ import annotations

import time

import serial

_CTRL_A, _CTRL_B, _CTRL_C, _CTRL_D = b"\x01", b"\x02", b"\x03", b"\x04"
_PASTE = b"\x05A\x01"
_BANNER = b"raw REPL; CTRL-B to exit\r\n>"
_PATIENCE_S = 60.0  # an emulated board stands still for seconds while other programs have the core


class ReplError(Exception):
    """The board did not answer as a raw REPL does."""


class ReplTimeout(ReplError):
    """The program did not end in time; `.output` is what it had printed."""

    def __init__(self, text: str, output: str = "") -> None:
        super().__init__(text)
        self.output = output


class RawRepl:
    def __init__(self, port: str) -> None:
        # Short reads: each loop below looks at its deadline between them.
        self._port = serial.Serial(port, baudrate=115200, timeout=0.05, write_timeout=_PATIENCE_S)

    def close(self) -> None:
        self._port.close()

    def enter(self, timeout: float = _PATIENCE_S) -> None:
        """Break into whatever runs, and change to the raw REPL. Asks again while a board boots."""
        end = time.monotonic() + timeout
        while True:
            self._port.write(b"\r" + _CTRL_C + _CTRL_C + b"\r" + _CTRL_A)
            try:
                self._read_until(_BANNER, min(end, time.monotonic() + 1.0))
                break
            except ReplTimeout:
                if time.monotonic() >= end:
                    raise ReplError("no raw REPL: is this a MicroPython board?") from None
        self._port.reset_input_buffer()

    def leave(self) -> None:
        self._port.write(b"\r" + _CTRL_B)

    def execute(self, program: str, timeout: float) -> tuple[str, str]:
        """Run `program`; returns what it printed and, if an exception ended it, the traceback."""
        end = time.monotonic() + timeout
        self._paste(program.encode(), end)
        output = b""
        try:
            output = self._read_until(_CTRL_D, end)
            error = self._read_until(_CTRL_D, end)
            self._read_until(b">", end)
        except ReplTimeout as late:
            text = output.decode(errors="replace") or late.output
            raise ReplTimeout(f"still running after {timeout:g} s", text) from None
        return _text(output), _text(error)

    def run_until(self, program: str, stop: bytes, timeout: float) -> str:
        """Run a program that does not end by itself; return what comes before `stop`."""
        end = time.monotonic() + timeout
        self._paste(program.encode(), end)
        return _text(self._read_until(stop, end))

    def _paste(self, data: bytes, end: float) -> None:
        self._port.write(_PASTE)
        try:
            # Not the next two bytes: a board that was asked twice greets twice, perhaps just now.
            self._read_until(b"R\x01", min(end, time.monotonic() + _PATIENCE_S))
        except ReplTimeout:
            raise ReplError("no raw paste mode here: MicroPython 1.14 and newer have it") from None
        window = int.from_bytes(self._read(2, end), "little")
        room = window
        while data:
            while room == 0 or self._port.in_waiting:
                answer = self._read(1, end)
                if answer == _CTRL_D:
                    # It gave up reading (a syntax error, no memory): its output says why.
                    self._port.write(_CTRL_D)
                    return
                room += window
            chunk, data = data[:room], data[room:]
            self._port.write(chunk)
            room -= len(chunk)
        self._port.write(_CTRL_D)
        self._read_until(_CTRL_D, end)

    def _read(self, size: int, end: float) -> bytes:
        data = b""
        while len(data) < size:
            if time.monotonic() > end:
                raise ReplTimeout("no answer from the board", data.decode(errors="replace"))
            data += self._port.read(size - len(data))
        return data

    def _read_until(self, stop: bytes, end: float) -> bytes:
        """What comes before `stop`."""
        data = bytearray()
        while not data.endswith(stop):
            if time.monotonic() > end:
                raise ReplTimeout("no answer from the board", data.decode(errors="replace"))
            data += self._port.read(1)
        return bytes(data[: -len(stop)])


def _text(data: bytes) -> str:
    return data.decode(errors="replace").replace("\r\n", "\n")
