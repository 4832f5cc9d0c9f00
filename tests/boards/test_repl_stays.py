"""The REPL stays the user's (invariant 10): mpremote breaks in while frames flow."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
import tty

from places import APPS
from virtual_time import until

import boardwarden
from boardwarden._protocol import messages
from boardwarden._protocol.link import frame
from boardwarden.transport.fd_stream import PtyProcess
from boardwarden.transport.sim import board_path, find_micropython

CTRL_A, CTRL_B, CTRL_C, CTRL_D = b"\x01", b"\x02", b"\x03", b"\x04"


class ReplTransport:
    """An application that leaves the REPL behind, as a real board does (`micropython -i`)."""

    address = "micropython -i"
    writes = 0

    async def open(self):
        command = [find_micropython(), "-i", str(APPS / "spins.py")]
        self._process = PtyProcess(command, {**os.environ, "MICROPYPATH": board_path()}, "sim")

    async def read(self):
        return await self._process.stream.read()

    async def write(self, data):
        await self._process.stream.write(data)
        self.writes += 1

    async def frame_from_host(self):
        """Wait until the session has written something."""
        before = self.writes
        await until(lambda: self.writes > before, 10)

    async def close(self):
        await self._process.close()


async def test_ctrl_c_then_raw_repl_runs_code_while_the_host_goes_on():
    """What mpremote does, byte for byte, on the line on which a host's frames go on flowing."""
    transport = ReplTransport()
    async with boardwarden.connect(transport) as board:
        await board.wait_sample()
        printed = _Printed(board)
        # A sign of life of the host's comes between each two of these, as text at a prompt: Ctrl-C
        # takes back what is on the line. mpremote types it first for the same reason.
        await transport.write(CTRL_C)
        await printed.until("KeyboardInterrupt")
        await printed.until(">>> ")
        await transport.frame_from_host()
        await transport.write(CTRL_C + CTRL_A)
        await printed.until("raw REPL; CTRL-B to exit\r\n>")
        await transport.frame_from_host()
        await transport.write(CTRL_C + b"print(6 * 7, 'at the REPL')" + CTRL_D)
        await printed.until("42 at the REPL")
        await transport.write(CTRL_B)


class _Printed:
    """Reads the console up to what is looked for."""

    def __init__(self, board):
        self._pieces = board.console()
        self._text = ""

    async def until(self, wanted):
        while wanted not in self._text:
            self._text += await asyncio.wait_for(anext(self._pieces), 10)
        self._text = self._text.partition(wanted)[2]


async def test_mpremote_breaks_in_while_frames_flow():
    transport = ReplTransport()
    await transport.open()
    near, far = pty.openpty()
    tty.setraw(far)
    bridge = None
    try:
        await transport.write(frame(messages.subscribe(77)))
        heard = b""
        while heard.count(b"\xc0") < 2:  # SUBSCRIBED; whether a SAMPLE fits the window is chance
            heard += await asyncio.wait_for(transport.read(), 10)
        asyncio.get_running_loop().add_reader(near, _forward, near, transport)
        bridge = asyncio.create_task(_backward(transport, near))
        done = await _mpremote(os.ttyname(far), "resume", "exec", "print(6 * 7, 'by mpremote')")
        assert done == "42 by mpremote"
    finally:
        asyncio.get_running_loop().remove_reader(near)
        if bridge:
            bridge.cancel()
            await asyncio.gather(bridge, return_exceptions=True)
        await transport.close()
        os.close(near)
        os.close(far)


def _forward(near, transport):
    os.write(transport._process.stream._fd, os.read(near, 4096))


async def _backward(transport, near):
    while data := await transport.read():
        os.write(near, data)


async def _mpremote(port, *words):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "mpremote", "connect", port, *words, stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode().strip()
