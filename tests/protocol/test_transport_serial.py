"""Serial ports, on real pseudo-terminals: the slave's path is the port."""

import asyncio
import os
import pty
import termios
import tty
from types import SimpleNamespace

import pytest

from boardwarden.errors import LinkLost, PortBusy, PortMissing
from boardwarden.transport import transport_for
from boardwarden.transport.serial_port import SerialThreaded

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


# --- a board that comes back under another name ---------------------------------------------------


class FakePorts:
    """What pyserial's list_ports would say; pseudo-terminals have no serial number."""

    def __init__(self, monkeypatch):
        self.ports = []
        monkeypatch.setattr("serial.tools.list_ports.comports", lambda: list(self.ports))

    def plug(self, port, serial_number, location="1-1:1.0"):
        self.ports.append(
            SimpleNamespace(
                device=port, vid=0x2E8A, pid=5, serial_number=serial_number, location=location
            )
        )


@pytest.fixture(params=[transport_for, SerialThreaded], ids=["posix", "threaded"])
async def moved(request, board, monkeypatch):
    """Return (transport, fake ports): it was open to `board` with the serial number E66."""
    ports = FakePorts(monkeypatch)
    ports.plug(board.port, "E66")
    transport = request.param(board.port)
    await transport.open()
    yield transport, ports
    await transport.close()


async def test_a_board_that_came_back_under_another_name_is_found(board, moved):
    transport, ports = moved
    elsewhere, other = Board(), Board()
    try:
        await transport.close()
        ports.ports.clear()
        ports.plug(board.port, "E77")  # another board took its name
        ports.plug(other.port, "E66", "1-1:1.2")  # another port of the same board
        ports.plug(elsewhere.port, "E66", "1-4:1.0")
        await transport.open()
        os.write(elsewhere.fd, b"here")
        assert await read_exactly(transport, 4) == b"here"
        assert transport.address == board.port
    finally:
        elsewhere.vanish()
        other.vanish()


async def test_another_board_under_its_name_is_not_taken_for_it(board, moved):
    transport, ports = moved
    await transport.close()
    ports.ports.clear()
    ports.plug(board.port, "E77")
    with pytest.raises(PortMissing, match=r"Another board is at .* the serial number E66"):
        await transport.open()
    ports.ports.clear()  # as while the list is being made anew
    await transport.open()


async def test_a_port_that_is_not_there_is_named_with_what_lasts():
    with pytest.raises(PortMissing, match=r"plugged in.*/dev/serial/by-id"):
        await transport_for("/dev/ttyACM99").open()
