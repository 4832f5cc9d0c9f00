#!/usr/bin/env python3
"""Compile the agent for boards that have no room to compile: `build_mpy.py [ARCH …]`.

Writes build/mpy/ARCH/warden/*.mpy, for all architectures when none is named, and prints what each
takes; and build/joined/warden/*.py, what they were compiled from: the files that the source files
are joined into, where a function that a traceback names can be looked up. Only machine code
(*_viper.mpy) differs between architectures: the rest is bytecode, the same for every board. `any`
is without it, for architectures that are not here. A board that is given another one's falls back
to bytecode. By build/mpy/ARCH/package.json mip installs them from a web server or a checkout.
`boardwarden deploy` compiles by itself, with the same code.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from boardwarden.deploy.compiler import ARCHITECTURES, Compiler, agent_version, parts
from boardwarden.deploy.parts import write
from boardwarden.errors import DeployError
from firmware_errors import say

REPO = Path(__file__).resolve().parent.parent
OUT = REPO / "build" / "mpy"
JOINED = REPO / "build" / "joined"


def build(architectures: Sequence[str] = ARCHITECTURES, out: Path = OUT) -> dict[str, Path]:
    """Compile for each architecture; return the folders that go to a board's `/lib`."""
    compiler = Compiler()
    shared = out / ".bytecode"
    shutil.rmtree(shared, ignore_errors=True)
    compiler.compile_all(parts(), shared, "any")
    viper = {name: part for name, part in parts().items() if part.machine_code}
    for architecture in architectures:
        aside = out / f".{architecture}"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(shared, aside)
        if architecture != "any":
            compiler.compile_all(viper, aside, architecture)
        (aside / "package.json").write_text(_package(aside), encoding="utf-8")
        shutil.rmtree(out / architecture, ignore_errors=True)
        aside.rename(out / architecture)
    shutil.rmtree(shared)
    return {architecture: out / architecture for architecture in architectures}


def _package(folder: Path) -> str:
    """What mip installs a folder by: https://docs.micropython.org/en/latest/reference/packages.html."""
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.mpy"))
    urls = [[name, name] for name in names]
    return json.dumps({"version": agent_version(), "urls": urls}, indent=1) + "\n"


def _report(name: str, folder: Path) -> str:
    sizes = {file.name: file.stat().st_size for file in folder.rglob("*.mpy")}
    machine_code = sum(size for file, size in sizes.items() if file.endswith("_viper.mpy"))
    return f"{name:10} {len(sizes):5} {sum(sizes.values()):7} {machine_code:12}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("arch", nargs="*", metavar="ARCH", help=" ".join(ARCHITECTURES))
    wanted = parser.parse_args(arguments).arch
    unknown = [arch for arch in wanted if arch not in ARCHITECTURES]
    if unknown:
        parser.error(f"no such architecture: {' '.join(unknown)}")
    try:
        say(Compiler().version())
        write(parts(), JOINED)
        built = build(wanted or ARCHITECTURES)
    except DeployError as error:
        say(f"build_mpy: {error}")
        return 2
    print(f"{'':10} {'files':>5} {'bytes':>7} {'machine code':>12}")
    for name, folder in built.items():
        print(_report(name, folder))
    print(f"in {OUT.relative_to(REPO)}/ARCH, whose folder warden goes to a board's /lib")
    return 0


if __name__ == "__main__":
    sys.exit(main())
