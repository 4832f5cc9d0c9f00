"""A QEMU process and its two serial ports, which are pseudo-terminals. POSIX only."""

from __future__ import annotations

import asyncio
import os
import re
import tty
from collections.abc import Awaitable, Callable
from pathlib import Path

from boardwarden.errors import ConnectError

from .fd_stream import FdStream
from .pty_process import PtyProcess
from .rawrepl import RawRepl

_ARGUMENTS = (
    *("-M", "mps2-an385", "-nographic", "-monitor", "null", "-semihosting"),
    *("-serial", "pty", "-serial", "pty", "-kernel"),
)
_PORT = re.compile(rb"char device redirected to (\S+) \(label serial([01])\)")


class QemuMachine:
    """Runs `firmware`; the first port is the REPL's, the second the agent's.

    QEMU itself is on a terminal too: if this process dies, the hang-up ends it. `agent_port` is
    there once it has started.
    """

    def __init__(self, program: str, firmware: Path, name: str) -> None:
        self._qemu = PtyProcess([program, *_ARGUMENTS, str(firmware)], os.environ, name)
        self._name = name
        self._repl_port: FdStream | None = None
        self.agent_port: FdStream | None = None
        self._draining: list[asyncio.Task[None]] = []

    async def start(self) -> RawRepl:
        """Open both ports; return the REPL. Raises ConnectError with what QEMU said if it ended."""
        said = b""
        while len(ports := {n: path for path, n in _PORT.findall(said)}) < 2:
            data = await self._qemu.stream.read()
            if not data:
                raise ConnectError(f"QEMU did not start: {_last_line(said)}.", self._name)
            said += data
        self._repl_port = _open_port(ports[b"0"], self._name)
        self.agent_port = _open_port(ports[b"1"], self._name)
        return RawRepl(self._repl_port)

    def drop_prints(self) -> None:
        """Keep the other lines drained: a full one would stop who prints there."""
        for line in (self._qemu.stream, self._repl_port):
            if line:
                self._draining.append(asyncio.create_task(_drain(line.read)))

    async def close(self) -> None:
        """End QEMU and wait for that."""
        for port in (self._repl_port, self.agent_port):
            if port:
                port.close()
        await self._qemu.close()
        await asyncio.gather(*self._draining)


def _open_port(path: bytes, name: str) -> FdStream:
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(fd)
    return FdStream(fd, name)


async def _drain(read: Callable[[], Awaitable[bytes]]) -> None:
    while await read():
        pass


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
