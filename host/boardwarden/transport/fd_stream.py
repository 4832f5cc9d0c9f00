"""Bytes in and out of a file descriptor that can be polled: a terminal. POSIX only."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from boardwarden.errors import LinkLost

_CHUNK_BYTES = 4096


class FdStream:
    """Reads and writes `fd` when the event loop says that it is ready; owns it until close().

    `name` is for error messages.
    """

    def __init__(self, fd: int, name: str) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._name = name
        self._gone = False
        self._loop = asyncio.get_running_loop()
        self._waiting: set[asyncio.Future[None]] = set()
        self._writing = asyncio.Lock()

    async def read(self) -> bytes:
        """Wait for bytes; b"" when the other end is gone or close() was called."""
        while self._fd >= 0:
            # Always by way of the loop: a board that floods the line must not starve it.
            await self._ready(self._loop.add_reader, self._loop.remove_reader)
            try:
                data = os.read(self._fd, _CHUNK_BYTES)
            except BlockingIOError:
                continue
            except OSError:  # EIO: how a terminal reports that its other end is closed
                data = b""
            if not data:
                self._end()
            return data
        return b""

    async def write(self, data: bytes) -> None:
        """Write all of data; raise LinkLost when the other end is gone or close() was called."""
        rest = memoryview(data)
        async with self._writing:
            while rest:
                # A pseudo-terminal takes what nobody will read: only the reader sees the end.
                if self._gone:
                    raise LinkLost(f"The link to {self._name} is closed.")
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    await self._ready(self._loop.add_writer, self._loop.remove_writer)
                except OSError as error:
                    raise LinkLost(f"The link to {self._name} broke.") from error

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
        """Wait until fd is ready or closed."""
        ready: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(ready)
        add(self._fd, _wake, ready)
        try:
            await ready
        finally:
            self._waiting.discard(ready)
            if self._fd >= 0:  # after close() the number may already be another file's
                remove(self._fd)

    def close(self) -> None:
        """Close the descriptor and wake whoever waits for it."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        os.close(self._fd)
        self._fd = -1
        self._end()

    def _end(self) -> None:
        """Nothing more will come or go: wake whoever waits."""
        self._gone = True
        for ready in self._waiting:
            _wake(ready)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
