"""The firmware variants: built, or a line that says why one is left out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import build_firmware
from firmware_errors import BuildError, say

from . import machine
from .catalogue import VARIANTS

COMPARED = ("stock", "asyncio")  # whose figures the tests compare


def built(names: Iterable[str]) -> dict[str, Path]:
    """The firmware of each variant that can be had here; progress and what is skipped to stderr."""
    found = {}
    for name in names:
        target = VARIANTS[name]
        if target not in build_firmware.TARGETS:
            say(f"{name}: skipped, tools/build_firmware.py has no target {target}")
            continue
        try:
            found[name] = build_firmware.build(target)
        except BuildError as error:
            say(f"{name}: skipped, {error}")
    return found


def built_with(firmware: Path) -> dict[str, str]:
    """Versions that counted figures depend on."""
    with machine.board(firmware) as repl:
        program = "import sys\nprint('%d.%d.%d' % sys.implementation.version[:3])"
        micropython = machine.execute(repl, program).strip()
    compiler = shutil.which("arm-none-eabi-gcc")
    version = "unknown"
    if compiler is not None:
        command = [compiler, "-dumpfullversion"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        version = done.stdout.strip()
    return {"micropython": micropython, "arm_none_eabi_gcc": version}
