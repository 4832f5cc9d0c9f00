"""Libraries that boards are used with: what they take of the heap, beside the agent's figures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from boardwarden.deploy.compiler import Compiler
from build_firmware import build
from firmware_errors import say
from heap_count import Unix32

Figures = dict[str, float]
_MICRODOT = "microdot==2.7.0"


@cache
def microdot() -> dict[str, bytes]:
    """The web framework as a board imports it; nothing, with a line that says so, without PyPI."""
    with tempfile.TemporaryDirectory(prefix="boardwarden-") as place:
        folder = Path(place)
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", place]
        done = subprocess.run([*command, _MICRODOT], capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"{_MICRODOT}: left out, pip does not get it here")
            return {}
        compiled = folder / "microdot.mpy"
        Compiler().compile("microdot.py", folder / "microdot" / "microdot.py", compiled)
        return {"microdot.mpy": compiled.read_bytes()}


def heap() -> Figures:
    """Bytes that it takes when it is imported on a board of 32 bits, from files and from ROMFS."""
    files = microdot()
    if not files:
        return {}
    board = Unix32(build("unix32"))
    steps = {"import": "import microdot"}
    return {
        f"peer_microdot_{way}_bytes": board.count(steps, files, way == "romfs")["import"].bytes
        for way in ("files", "romfs")
    }
