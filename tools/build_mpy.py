#!/usr/bin/env python3
"""Compile agent and schema for boards that have no room to compile: `build_mpy.py [ARCH …]`.

Writes build/mpy/ARCH/{warden,warden_schema}/*.mpy, for all architectures when none is named, and
prints what each takes. Only `fast.mpy` differs between them: the rest is bytecode, the same for
every board. `any` is without it, for architectures that are not here. A board that is given another
one's falls back to bytecode. `boardwarden deploy` compiles by itself, with the same code.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from boardwarden.deploy.compiler import ARCHITECTURES, VIPER, Compiler, sources
from boardwarden.errors import DeployError
from firmware_errors import say

REPO = Path(__file__).resolve().parent.parent
OUT = REPO / "build" / "mpy"


def build(architectures: Sequence[str] = ARCHITECTURES, out: Path = OUT) -> dict[str, Path]:
    """Compile for each architecture; return the folders that go to a board's `/lib`."""
    compiler = Compiler()
    shared = out / ".bytecode"
    shutil.rmtree(shared, ignore_errors=True)
    compiler.compile_all(sources(), shared, "any")
    viper = {VIPER: sources()[VIPER]}
    for architecture in architectures:
        aside = out / f".{architecture}"
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(shared, aside)
        compiler.compile_all(viper, aside, architecture)
        shutil.rmtree(out / architecture, ignore_errors=True)
        aside.rename(out / architecture)
    shutil.rmtree(shared)
    return {architecture: out / architecture for architecture in architectures}


def _report(name: str, folder: Path) -> str:
    sizes = [file.stat().st_size for file in folder.rglob("*.mpy")]
    viper = folder / VIPER.replace(".py", ".mpy")
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
        say(Compiler().version())
        built = build(wanted or ARCHITECTURES)
    except DeployError as error:
        say(f"build_mpy: {error}")
        return 2
    print(f"{'':10} {'files':>5} {'bytes':>7} {'fast.mpy':>8}")
    for name, folder in built.items():
        print(_report(name, folder))
    print(f"in {OUT.relative_to(REPO)}/ARCH, which goes to a board's /lib")
    return 0


if __name__ == "__main__":
    sys.exit(main())
