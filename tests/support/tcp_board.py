"""A real board, MicroPython's unix port, that runs before a host comes: it listens for TCP."""

import asyncio

from cli_process import LIMIT_S
from free_ports import free_port
from places import APPS

from boardwarden.transport import transport_for


class TcpBoard:
    """Runs a program of tests/support/apps, which listens on the port that PORT names.

    on() waits until the program has printed `ready`; off() takes the power away.
    """

    def __init__(self, monkeypatch, app, ready):
        port = free_port()
        monkeypatch.setenv("PORT", str(port))
        self.address = f"tcp://127.0.0.1:{port}"
        self._ready = ready
        self._board = transport_for(f"sim:{APPS / app}")

    async def on(self):
        await self._board.open()
        said = b""
        while self._ready not in said:
            said += await asyncio.wait_for(self._board.read(), LIMIT_S)

    async def off(self):
        await self._board.close()

    async def __aenter__(self):
        await self.on()
        return self

    async def __aexit__(self, *_):
        await self.off()
