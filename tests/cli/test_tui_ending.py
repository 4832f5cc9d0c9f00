"""The live view ends in time though its event loop stands still."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import asyncio, time
from boardwarden.tui.ending import ends_in_time

async def main():
    with ends_in_time(print):
        print("stands still", flush=True)
        time.sleep(60)

asyncio.run(main())
"""
LIMIT_S = 2.0


@pytest.mark.alone
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_the_process_while_its_event_loop_is_blocked(number):
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=far, stdout=subprocess.PIPE, stderr=far
    )
    try:
        assert process.stdout.readline() == b"stands still\n"
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
