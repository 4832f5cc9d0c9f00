"""Ctrl-C at any moment: the application begins again, and the agent goes on with it."""

from __future__ import annotations

import ast
import os
import random
import signal
import subprocess
import time

import pytest
from built_firmware import built
from places import APPS, REPO

APP = APPS / "interrupted.py"
_INTERRUPTS = 150
_SEED = 1

pytestmark = pytest.mark.timeout(300)  # where the first call builds the firmware


def _interrupted(micropython: str, seed: int) -> str:
    """Run the application and interrupt it time and again; return what it found in the end."""
    chance = random.Random(seed)
    path = ":".join(map(str, [REPO / "device", REPO / "shared_schema", ".frozen"]))
    with subprocess.Popen(
        [micropython, APP],
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
                assert process.stdout.read(1) == b"."  # the port ends at a second one before
            return process.communicate(b"\n", timeout=20)[0].decode()
        finally:
            process.kill()


def test_the_agent_goes_on_after_ctrl_c_at_any_moment() -> None:
    """On a unix port where Ctrl-C comes at a jump of the bytecode, as on a board."""
    output = _interrupted(built("unix-probe"), _SEED)
    interrupts, samples, active, running, faults, left, locked = ast.literal_eval(output)
    assert interrupts > _INTERRUPTS // 2
    assert samples > 20
    assert (active, running, faults, left, locked) == (False, True, 0, [0, 0], False)
