"""Terminals: their modes, and a program on one of its own. POSIX only."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence

from boardwarden.errors import ConnectError

from .fd_stream import FdStream

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
        board_end, program_end = pty.openpty()
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
