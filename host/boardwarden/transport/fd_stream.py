"""Reads and writes a file descriptor that can be polled, above all a terminal's. POSIX only.

FdStream is the descriptor; FdTransport is what transports over one have in common. A terminal has
modes, and there may be a program on it: PtyProcess.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from boardwarden.errors import ConnectError, LinkLost

with contextlib.suppress(ImportError):  # Windows, where a thread reads from serial ports
    import termios

_CHUNK_BYTES = 4096
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6
_CTRL_C = b"\x03"
# Before a program: has its standard input be its controlling terminal, where it is started as the
# leader of a session. A process of its own, because the code between fork and exec of a threaded
# program must not be Python's (`preexec_fn` can deadlock).
_LAUNCH = """\
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup too, the hang-up ends the program
# Until MicroPython has a handler: Ctrl-C as it starts would end it, and ends no board.
signal.signal(signal.SIGINT, signal.SIG_IGN)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
LAUNCHER = (sys.executable, "-I", "-S", "-c", _LAUNCH)
_END_S = 2.0  # a program that the hang-up does not end by then is killed


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


# --- terminals ------------------------------------------------------------------------------------


def make_transparent(fd: int) -> None:
    """Let every byte pass unchanged both ways, except that Ctrl-C still interrupts.

    That is what a board's serial line does. Output that is under way survives the interrupt
    (NOFLSH), as it does on a board.
    """
    mode = termios.tcgetattr(fd)
    off = os.fpathconf(fd, "PC_VDISABLE").to_bytes(1, "little")
    mode[_IFLAG] = 0
    mode[_OFLAG] = 0
    mode[_CFLAG] = termios.CS8 | termios.CREAD | termios.CLOCAL
    mode[_LFLAG] = termios.ISIG | termios.NOFLSH
    mode[_CC] = [off] * len(mode[_CC])
    mode[_CC][termios.VINTR] = _CTRL_C
    _block_for_one_byte(mode)
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def keep_lines(fd: int) -> None:
    """Keep DTR and RTS as they are when fd is closed, and distinguish "no bytes yet" from "gone".

    Without HUPCL closing does not drop the lines, which resets many boards. With VMIN 1 a read
    that has nothing fails with EAGAIN; b"" then only ever means a hang-up (termios(3)).
    """
    mode = termios.tcgetattr(fd)
    mode[_CFLAG] &= ~termios.HUPCL
    _block_for_one_byte(mode)
    termios.tcsetattr(fd, termios.TCSANOW, mode)


def _block_for_one_byte(mode: list[object]) -> None:
    characters = mode[_CC]
    if isinstance(characters, list):
        characters[termios.VMIN] = 1
        characters[termios.VTIME] = 0


class PtyProcess:
    """Starts `command` with the terminal as its standard input, output and error.

    `stream` reads what it writes and writes what it reads, until it has ended.
    Ctrl-C over the line interrupts it; the caller's own Ctrl-C does not, as it runs in a session
    of its own. If the caller dies, the hang-up ends it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], name: str) -> None:
        """Start it; raise ConnectError if the system cannot."""
        board_end, program_end = os.openpty()
        try:
            make_transparent(program_end)
            self._process = subprocess.Popen(
                [*LAUNCHER, *command],
                stdin=program_end,
                stdout=program_end,
                stderr=program_end,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            os.close(board_end)
            raise ConnectError(f"Cannot start {name}: {error}.", name) from error
        except BaseException:
            os.close(board_end)
            raise
        finally:
            os.close(program_end)
        self.stream = FdStream(board_end, name)

    async def close(self) -> None:
        """Hang up, which ends the program, and wait for that."""
        self.stream.close()
        await asyncio.to_thread(end_process, self._process)


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process to end; kill it after 2 s."""
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
