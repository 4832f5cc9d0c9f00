"""The part of MicroPython's raw REPL that starts an application on a simulated board.

The protocol: https://docs.micropython.org/en/latest/reference/repl.html#raw-mode
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from boardwarden.errors import LinkLost


class Line(Protocol):
    """What a REPL reads and writes: a transport, or a part of one."""

    async def read(self) -> bytes:
        """Wait for bytes; b"" when the other end is gone."""

    async def write(self, data: bytes) -> None:
        """Write all of data; raise LinkLost when the other end is gone."""


_INTERRUPT_AND_ENTER = b"\r\x03\r\x01"  # two interrupts at once would end the unix port
_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
_RUN = b"\x04"
_AGAIN_S = 0.5
_PIECE_BYTES, _PIECE_PAUSE_S = 256, 0.01  # as mpremote: a UART has no more room


class RawRepl:
    """Runs code on the board at the other end of `stream`; the caller sets the time limit.

    Raises LinkLost when the other end is gone.
    """

    def __init__(self, stream: Line) -> None:
        self._stream = stream
        self._unread = b""

    async def enter(self) -> None:
        """Enter the raw REPL, whatever the board is doing; it may still be booting."""
        while True:
            await self._stream.write(_INTERRUPT_AND_ENTER)
            try:
                await asyncio.wait_for(self._until(_PROMPT), _AGAIN_S)
            except asyncio.TimeoutError:
                continue
            return

    async def run(self, code: str) -> tuple[str, str]:
        """Run code to its end; return what it printed, and the traceback or ""."""
        await self.start(code)
        printed = await self._until(b"\x04")
        traceback = await self._until(b"\x04>")
        return printed.decode(errors="replace"), traceback.decode(errors="replace")

    async def start(self, code: str) -> None:
        """Start code, and do not wait for its end."""
        data = code.encode() + _RUN
        for start in range(0, len(data), _PIECE_BYTES):
            if start:
                await asyncio.sleep(_PIECE_PAUSE_S)
            await self._stream.write(data[start : start + _PIECE_BYTES])
        await self._until(b"OK")

    async def _until(self, mark: bytes) -> bytes:
        """Read up to and including mark; return what came before it."""
        while mark not in self._unread:
            data = await self._stream.read()
            if not data:
                raise LinkLost("The board's REPL is gone.")
            self._unread += data
        before, _, self._unread = self._unread.partition(mark)
        return before
