"""Serial ports, on real pseudo-terminals: the slave's path is the port."""

import asyncio
import os
import pty
import termios
import tty

import pytest

from boardwarden.errors import LinkLost, PortBusy
from boardwarden.transport import transport_for
from boardwarden.transport.serial_threaded import SerialThreaded

LIMIT_S = 10.0


class Board:
    """The board's end of a line; `port` is the path of the host's end."""

    def __init__(self):
        self.fd, self._host_end = pty.openpty()
        tty.setraw(self._host_end)
        self.port = os.ttyname(self._host_end)

    def vanish(self):
        """Unplug it."""
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self._host_end)
            self.fd = -1


async def read_exactly(port, count):
    """Read `count` bytes, in whatever pieces they come; fail after LIMIT_S."""
    seen = b""
    while len(seen) < count:
        seen += await asyncio.wait_for(port.read(), LIMIT_S)
    return seen


@pytest.fixture
def board():
    """Return a board that is unplugged after the test."""
    board = Board()
    yield board
    board.vanish()


@pytest.fixture(params=[transport_for, SerialThreaded], ids=["posix", "threaded"])
async def port(request, board):
    """Return an open transport to the board, once of each kind."""
    transport = request.param(board.port)
    await transport.open()
    yield transport
    await transport.close()


async def test_bytes_pass_unchanged_both_ways(board, port):
    every = bytes(range(256))
    os.write(board.fd, every)
    assert await read_exactly(port, len(every)) == every
    await asyncio.wait_for(port.write(every), LIMIT_S)
    assert await asyncio.to_thread(os.read, board.fd, 1000) == every


async def test_a_silent_line_does_not_end_the_read(board, port):
    reading = asyncio.create_task(port.read())
    done, _ = await asyncio.wait([reading], timeout=0.2)
    assert not done
    os.write(board.fd, b"x")
    assert await asyncio.wait_for(reading, LIMIT_S) == b"x"


async def test_a_vanished_board_ends_reads_and_fails_writes(board, port):
    reading = asyncio.create_task(port.read())
    await asyncio.sleep(0)  # let it start to wait
    board.vanish()
    assert await asyncio.wait_for(reading, LIMIT_S) == b""
    with pytest.raises(LinkLost):
        await port.write(b"x")


async def test_a_port_in_use_is_refused(board, port):
    with pytest.raises(PortBusy, match="Another program has"):
        await transport_for(board.port).open()


async def test_close_wakes_the_reader_frees_the_port_and_can_be_repeated(board, port):
    reading = asyncio.create_task(port.read())
    await asyncio.sleep(0)
    await port.close()
    await port.close()
    reading.cancel()
    await asyncio.wait([reading], timeout=LIMIT_S)
    assert await port.read() == b""
    with pytest.raises(LinkLost):
        await port.write(b"x")
    await port.open()
    os.write(board.fd, b"again")
    assert await read_exactly(port, 5) == b"again"


async def test_closing_leaves_the_modem_lines_as_they_are(board):
    transport = transport_for(board.port)
    await transport.open()
    cflag = termios.tcgetattr(board.fd)[2]
    await transport.close()
    assert not cflag & termios.HUPCL


async def test_a_cancelled_read_loses_no_bytes(board, port):
    reading = asyncio.create_task(port.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading], timeout=LIMIT_S)
    os.write(board.fd, b"kept")
    assert await read_exactly(port, 4) == b"kept"
