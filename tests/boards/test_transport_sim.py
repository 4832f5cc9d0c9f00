"""The simulated board: the real unix port on a real pseudo-terminal."""

import asyncio
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from boardwarden.errors import LinkLost
from boardwarden.transport import transport_for
from boardwarden.transport.fd_stream import LAUNCHER, make_transparent
from boardwarden.transport.sim import board_files, board_path, find_micropython

LIMIT_S = 10.0

ECHO = """
import sys
print("ready")
while True:
    try:
        sys.stdout.write(repr(sys.stdin.read(1)) + " ")
    except KeyboardInterrupt:
        print("interrupted")
        break
"""


AGENT_READS = """
import select, sys
from warden.link.terminal import TerminalLink
link = TerminalLink(sys.stdin.buffer, sys.stdout.buffer)
reads = []
class Counted:
    fileno = sys.stdin.buffer.fileno
    def readinto(self, buf):
        reads.append(len(buf))
        return sys.stdin.buffer.readinto(buf)
stream, flags = link.source, link.flags
link.source = Counted()
link.flags = lambda asked: flags(stream if asked is link.source else asked)
line = select.poll()
line.register(sys.stdin, select.POLLIN)
buf = bytearray(32)
print("nothing", link.read(buf))
line.poll(10_000)
print("some", link.read(buf), reads, bytes(buf[:20]))
print("no more", link.read(buf))
link.close()
print("waits", sys.stdin.buffer.read(1), link.waitable)
"""
AGENT_HEARS_THE_END = """
import sys
from warden.link.terminal import TerminalLink
link = TerminalLink(sys.stdin.buffer, sys.stdout.buffer)
print("ready")
while link.waitable:
    link.read(bytearray(32))
"""


async def read_until(transport, mark):
    """Read up to and including mark; fail after LIMIT_S."""

    async def read():
        seen = b""
        while mark not in seen:
            data = await transport.read()
            assert data, f"the line ended after {seen!r}"
            seen += data
        return seen

    return await asyncio.wait_for(read(), LIMIT_S)


async def read_to_end(transport):
    """Read until the other end is gone; fail after LIMIT_S."""

    async def read():
        seen = b""
        while data := await transport.read():
            seen += data
        return seen

    return await asyncio.wait_for(read(), LIMIT_S)


@pytest.fixture
async def simulate(tmp_path):
    """Return a function that starts a board with an application and closes it afterwards."""
    opened = []

    async def start(code):
        application = tmp_path / "app.py"
        application.write_text(code, encoding="utf-8")
        transport = transport_for(f"sim:{application}")
        opened.append(transport)
        await transport.open()
        return transport

    yield start
    for transport in opened:
        await transport.close()


async def test_every_byte_passes_except_ctrl_c_which_interrupts(simulate):
    board = await simulate(ECHO)
    await read_until(board, b"ready")
    await board.write(b"\x00\x01\x04\r\n\x11\x13\x1a\x1c\x7f")
    seen = await read_until(board, b"'\\x7f'")
    assert seen.split() == [
        *(b"'\\x00'", b"'\\x01'", b"'\\x04'", b"'\\r'", b"'\\n'"),
        *(b"'\\x11'", b"'\\x13'", b"'\\x1a'", b"'\\x1c'", b"'\\x7f'"),
    ]
    await board.write(b"\x03")
    assert b"interrupted\n" in await read_to_end(board)


def test_ctrl_c_before_the_board_can_act_on_it_does_not_end_it():
    near, far = pty.openpty()
    made = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    started = subprocess.run(
        [*LAUNCHER, sys.executable, "-c", made],
        stdin=far,
        stdout=subprocess.PIPE,
        start_new_session=True,
        timeout=30,
        check=True,
    )
    assert started.stdout == b"True\n"  # until MicroPython has a handler of its own
    os.close(near)
    os.close(far)


async def test_what_the_board_sends_arrives_unchanged(simulate):
    every = "import sys\nfor i in range(256): sys.stdout.buffer.write(bytes([i]))\n"
    board = await simulate(every)
    assert await read_to_end(board) == bytes(range(256))


async def test_an_uncaught_ctrl_c_is_shown_and_ends_the_line(simulate):
    board = await simulate("print('ready')\nwhile True: pass\n")
    await read_until(board, b"ready")
    await board.write(b"\x03")
    assert b"KeyboardInterrupt" in await read_to_end(board)
    assert await board.read() == b""


async def test_all_output_is_read_before_the_end(simulate):
    board = await simulate("for i in range(20000): print(i)\n")
    lines = (await read_to_end(board)).split()
    assert lines == [str(i).encode() for i in range(20000)]


async def test_writing_to_a_board_that_has_ended_raises_link_lost(simulate):
    board = await simulate("pass\n")
    await read_to_end(board)
    with pytest.raises(LinkLost):
        await board.write(b"x")


async def test_a_large_write_arrives_whole_and_in_order(simulate):
    code = "import sys\nprint('ready')\nn = 0\nfor i in range(50):\n"
    code += "    n += len(sys.stdin.buffer.read(1000))\nprint('took', n)\n"
    board = await simulate(code)
    await read_until(board, b"ready")
    await asyncio.wait_for(board.write(b"x" * 50000), LIMIT_S)
    assert b"took 50000" in await read_to_end(board)


async def test_the_agent_reads_what_has_arrived_without_waiting(simulate):
    board = await simulate(AGENT_READS)
    await read_until(board, b"nothing 0\n")
    await board.write(bytes(range(65, 85)))
    seen = await read_until(board, b"no more 0\n")
    assert b"some 20 [32] b'ABCDEFGHIJKLMNOPQRST'\n" in seen
    await asyncio.sleep(0.1)  # a read that does not wait again finds nothing now
    await board.write(b"x")
    assert b"waits b'x' None\n" in await read_to_end(board)


def test_the_agent_notices_that_its_terminal_is_gone(tmp_path):
    """In a program that no hang-up ends: the terminal is not its own."""
    application = tmp_path / "app.py"
    application.write_text(AGENT_HEARS_THE_END)
    near, far = pty.openpty()
    make_transparent(far)
    environment = {**os.environ, "MICROPYPATH": board_path()}
    command = [find_micropython(), str(application)]
    with subprocess.Popen(command, stdin=far, stdout=subprocess.PIPE, env=environment) as program:
        os.close(far)
        try:
            assert program.stdout.readline() == b"ready\n"
            os.close(near)
            assert program.wait(LIMIT_S) == 0
        finally:
            program.kill()


async def test_close_wakes_the_reader_and_open_starts_again(simulate):
    board = await simulate(ECHO)
    await read_until(board, b"ready")
    reading = asyncio.create_task(board.read())
    await asyncio.sleep(0)  # let it start to wait
    await board.close()
    assert await asyncio.wait_for(reading, LIMIT_S) == b""
    with pytest.raises(LinkLost):
        await board.write(b"x")
    await board.close()
    await board.open()
    await read_until(board, b"ready")


async def test_closing_ends_the_boards_process(simulate, tmp_path):
    # It ignores what it can: reading fails with OSError once the line is gone, and it goes on.
    stubborn = "import sys\nprint('ready')\nwhile True:\n  try: sys.stdin.read(1)\n"
    board = await simulate(stubborn + "  except OSError: pass\n")
    await read_until(board, b"ready")
    process = board._process._process
    await asyncio.wait_for(board.close(), LIMIT_S)
    assert process.returncode == -signal.SIGHUP
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors in /proc")
async def test_closing_leaves_no_descriptor_open(simulate):
    board = await simulate(ECHO)
    await board.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        await board.open()
        await read_until(board, b"ready")
        await board.close()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_the_agent_and_neighbouring_modules_can_be_imported(simulate, tmp_path):
    (tmp_path / "neighbour.py").write_text("NAME = 'next door'\n")
    board = await simulate("import sys, neighbour\nprint(neighbour.NAME, sys.path)\n")
    seen = (await read_to_end(board)).decode()
    assert "next door" in seen
    for folder in board_files()[:2]:
        assert str(folder) in seen


def test_the_default_application_runs():
    assert (board_files()[-1] / "station.py").is_file()


async def test_two_boards_run_at_once(simulate, tmp_path):
    first = await simulate("print('first')\nimport sys\nsys.stdin.read(1)\n")
    await read_until(first, b"first")
    other = tmp_path / "other.py"
    other.write_text("print('second')\nimport sys\nsys.stdin.read(1)\n")
    second = transport_for(f"sim:{other}")
    await second.open()
    try:
        await read_until(second, b"second\n")
        await first.close()  # the second must not hold the first one's line open
        await second.write(b"x")
        assert await read_to_end(second) == b""
    finally:
        await second.close()


def test_a_host_that_is_killed_takes_its_board_with_it(tmp_path):
    application = tmp_path / "app.py"
    application.write_text("import sys\nprint('ready')\nsys.stdin.read(1)\n")
    host = (
        "import asyncio, sys\n"
        "from boardwarden.transport import transport_for\n"
        "async def main():\n"
        "    board = transport_for(sys.argv[1])\n"
        "    await board.open()\n"
        "    await board.read()\n"
        "    print(board._process._process.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", host, f"sim:{application}"], stdout=subprocess.PIPE
    ) as process:
        pid = int(process.stdout.readline())
        fd = os.pidfd_open(pid)
        process.kill()
    try:
        ready, _, _ = select.select([fd], [], [], LIMIT_S)
        assert ready, "the board outlived its host"
    finally:
        os.close(fd)
