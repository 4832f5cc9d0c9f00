"""device/manifest.py, as MicroPython's own manifest tool reads it: what is frozen where."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
SOURCE = REPO / "build" / "firmware" / "source"


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch):
    """Returns a function of makemanifest's arguments that gives the names that are frozen."""
    (tools,) = list(SOURCE.glob("*/micropython-*/tools")) or [None]
    if tools is None and os.environ.get("CI") != "true":
        pytest.skip("no source of MicroPython yet: python tools/build_firmware.py unix")
    assert tools is not None
    monkeypatch.syspath_prepend(tools)
    manifestfile = importlib.import_module("manifestfile")

    def files(*arguments: str, **options: object) -> list:
        monkeypatch.setattr(sys, "argv", ["makemanifest.py", "-o", "frozen.c", *arguments])
        places = {"MPY_DIR": str(tools.parent), "MPY_LIB_DIR": "", "PORT_DIR": "/nowhere"}
        manifest = manifestfile.ManifestFile(manifestfile.MODE_FREEZE, places)
        manifest.include(str(REPO / "device" / "manifest.py"), base=False, **options)
        return list(manifest.files())

    def read(*arguments: str, **options: object) -> set[str]:
        return {result.target_path for result in files(*arguments, **options)}

    read.levels = lambda **options: [result.opt for result in files(**options)]
    return read


def _all() -> set[str]:
    folders = (REPO / "device" / "warden", REPO / "shared_schema" / "warden_schema")
    found = {f"{folder.name}/{file.name}" for folder in folders for file in folder.glob("*.py")}
    return found - {"warden_schema/ids.py", "warden_schema/frame.py"}  # the host's


FAST = {"warden_schema/fast.py"}
PLAIN = {"warden_schema/plain.py"}


def test_all_is_frozen_where_the_port_names_its_machine(frozen) -> None:
    assert frozen("-f-march=armv7m", "manifest.py") == _all() - PLAIN
    assert frozen("-f", "-march=rv32imc -march-flags=zcmp", "manifest.py") == _all() - PLAIN


def test_viper_is_left_out_where_it_does_not(frozen) -> None:
    """Else mpy-cross would stop the build: it knows no machine to compile for."""
    assert frozen("manifest.py") == _all() - FAST
    assert frozen("-f-O2", "manifest.py") == _all() - FAST


def test_the_registers_of_qemus_board_are_frozen_for_its_port_only(frozen) -> None:
    fast, slow = ({"warden/hal_mps2.py", f"warden/mps2_{twin}.py"} for twin in ("fast", "plain"))
    viper = frozen("-f-march=armv7m", "-v", "PORT_DIR=/micropython/ports/qemu")
    assert viper == _all() - PLAIN | fast
    assert frozen("-v", "PORT_DIR=/x/ports/qemu") == _all() - FAST | slow


def test_viper_can_be_left_out(frozen) -> None:
    assert frozen("-f-march=armv7m", viper=False) == _all() - FAST


def test_line_numbers_are_frozen_only_when_asked_for(frozen) -> None:
    assert set(frozen.levels()) == {3}
    assert set(frozen.levels(lines=True)) == {0}


@pytest.mark.timeout(300)  # in CI the first call builds
def test_a_firmware_without_viper_runs_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPO / "firmware_tests")
    boards, run = importlib.import_module("boards"), importlib.import_module("run")
    missing = shutil.which("qemu-system-arm") is None or not list(SOURCE.glob("*/micropython-*"))
    if missing and os.environ.get("CI") != "true":
        pytest.skip("needs qemu-system-arm, and tools/build_firmware.py to have been run")
    board = boards.QemuBoard(boards.build("qemu-bytecode"))
    for name in ("test_frame", "test_codec", "test_host_session"):
        result = run.run_file(board, boards.HERE / f"{name}.py", 60)
        assert result.failed == 0, result.output
        assert result.passed > 0
