"""A program on a pseudo-terminal of its own, as a board is on its serial line. POSIX only."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from boardwarden.errors import ConnectError

from .fd_stream import FdStream
from .terminal import make_transparent

_LAUNCHER = Path(__file__).with_name("on_terminal.py")
_END_S = 2.0  # a program that the hang-up does not end by then is killed


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
                [sys.executable, "-I", "-S", str(_LAUNCHER), *command],
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
