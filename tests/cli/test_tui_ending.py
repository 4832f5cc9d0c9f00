"""The live view ends in time though its event loop stands still."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest
from command_environment import of_command

PROGRAM = """
import asyncio, sys, time
from boardwarden.tui.ending import ends_in_time

async def main():
    with ends_in_time(print):
        print("stands still", file=sys.stderr, flush=True)
        time.sleep(60)

asyncio.run(main())
"""
LIMIT_S = 2.0


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_process_while_its_event_loop_is_blocked(number):
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=far,
        stdout=far,
        stderr=subprocess.PIPE,
        env=of_command(),
    )
    try:
        assert process.stderr.readline() == b"stands still\n"
        sent = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert time.monotonic() - sent < LIMIT_S
        assert b"\x1b[?1049l\x1b[?25h" in os.read(near, 4096)
    finally:
        process.kill()
        process.communicate()
        os.close(near)
        os.close(far)


WRITES = """
import asyncio, sys
from boardwarden.tui import ending

async def main():
    with ending.ends_in_time(print):
        print("writes", file=sys.stderr, flush=True)
        while True:
            sys.__stderr__.write(8192 * "x")

asyncio.run(main())
"""
# What waits becomes less by a byte each time, as on a line of 9600 baud, for so many looks.
DRAINS = """
from boardwarden.tui import ending
waiting = iter(range(30, 0, -1))
ending._queued = lambda: next(waiting, 0)
"""


def reading(program):
    """Return the process of a program that writes to a terminal for ever, and both ends of it."""
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=far,
        stdout=far,
        stderr=subprocess.PIPE,
        env=of_command(),
    )
    assert process.stderr.readline() == b"writes\n"
    return process, near, far


@pytest.mark.alone
def test_a_terminal_that_reads_slowly_is_not_taken_for_stuck():
    process, near, far = reading(WRITES)
    try:
        for _ in range(40):
            assert process.poll() is None  # else the read would wait for ever
            assert os.read(near, 3000)
            time.sleep(0.1)  # 30 KB a second; what is sent meanwhile waits
        stopped = time.monotonic()
        assert process.wait(30) == 128 + signal.SIGHUP
        assert time.monotonic() - stopped < LIMIT_S
    finally:
        process.kill()
        process.communicate()
        os.close(near)
        os.close(far)


@pytest.mark.alone
def test_a_line_on_which_less_and_less_waits_is_not_taken_for_stuck():
    """A serial console of 9600 baud takes nothing new for seconds, while it sends what waits."""
    process, near, far = reading(DRAINS + WRITES)
    begin = time.monotonic()
    try:
        assert process.wait(30) == 128 + signal.SIGHUP
        assert time.monotonic() - begin > 3.0  # 30 looks, of which each saw less
    finally:
        process.kill()
        process.communicate()
        os.close(near)
        os.close(far)
