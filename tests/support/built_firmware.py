"""The path of a firmware that tools/build_firmware.py builds, or has built."""

import os
import subprocess
import sys

import pytest
from places import REPO

TOOL = REPO / "tools" / "build_firmware.py"


def built(target):
    """Return the firmware's path; skip, but never in CI, where it cannot be built."""
    done = subprocess.run([sys.executable, str(TOOL), target], capture_output=True, text=True)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"no firmware: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
