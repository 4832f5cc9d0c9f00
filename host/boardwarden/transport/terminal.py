"""Terminal modes, as numbers for termios. POSIX only."""

from __future__ import annotations

import os
import termios

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6
_CTRL_C = b"\x03"


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
