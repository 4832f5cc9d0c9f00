"""Reads and writes a file descriptor that can be polled, such as a terminal. POSIX only.

FdStream is the descriptor; FdTransport is what transports over one have in common.
"""

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
            await self._watch(self._loop.add_reader, self._loop.remove_reader, _wake)
            data = self._read_now()
            if data is not None:
                return data
        return b""

    async def receive(self, received: Callable[[bytes], None]) -> None:
        """Hand over bytes as they come, until the other end is gone or close() was called."""

        def hand_over(over: asyncio.Future[None]) -> None:
            try:
                if data := self._read_now():
                    received(data)
            except Exception as error:  # it is that of who awaits receive()
                if not over.done():
                    over.set_exception(error)

        if self._fd >= 0:
            await self._watch(self._loop.add_reader, self._loop.remove_reader, hand_over)

    def _read_now(self) -> bytes | None:
        """Return the bytes that have come; b"" at the end, None if there are none after all."""
        try:
            data = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            return None
        except OSError:  # EIO: how a terminal reports that its other end is closed
            data = b""
        if not data:
            self._end()
        return data

    def offer(self, data: bytes) -> bool:
        """Write all of data at once and return True, or return False: a part may be written."""
        if self._gone or self._writing.locked():
            return False
        try:
            return os.write(self._fd, data) == len(data)
        except OSError:  # write() raises what it is
            return False

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
                    await self._watch(self._loop.add_writer, self._loop.remove_writer, _wake)
                except OSError as error:
                    raise LinkLost(f"The link to {self._name} broke.") from error

    async def _watch(
        self,
        add: Callable[..., None],
        remove: Callable[[int], bool],
        ready: Callable[[asyncio.Future[None]], None],
    ) -> None:
        """Call ready() whenever fd is ready, until it ends the given future or fd is closed."""
        over: asyncio.Future[None] = self._loop.create_future()
        self._waiting.add(over)
        add(self._fd, ready, over)
        try:
            await over
        finally:
            self._waiting.discard(over)
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
        """Mark the other end as gone, and wake whoever waits."""
        self._gone = True
        for over in self._waiting:
            _wake(over)


def _wake(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


class FdTransport:
    """A transport over an FdStream, which open() of a subclass makes."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._stream: FdStream | None = None

    async def read(self) -> bytes:
        return await self._stream.read() if self._stream else b""

    async def receive(self, received: Callable[[bytes], None]) -> None:
        if self._stream:
            await self._stream.receive(received)

    async def write(self, data: bytes) -> None:
        if self._stream is None:
            raise LinkLost(f"The link to {self.address} is closed.")
        await self._stream.write(data)

    def offer(self, data: bytes) -> bool:
        return self._stream is not None and self._stream.offer(data)

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            stream.close()
