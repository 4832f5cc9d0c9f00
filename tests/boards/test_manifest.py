"""device/manifest.py, as MicroPython's own manifest tool reads it: what is frozen where."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
from places import REPO

from boardwarden.deploy.compiler import parts

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

    read.files = files
    return read


ALL = set(parts())
LOOPS, PLAIN = {"warden/loops_viper.py"}, {"warden/loops_plain.py"}
THUMB, NOT_THUMB = {"warden/heap_thumb_viper.py"}, {"warden/heap_viper.py"}
VIPER = LOOPS | THUMB | NOT_THUMB


def test_all_files_are_frozen_where_the_port_has_an_architecture(frozen) -> None:
    assert ALL > VIPER | PLAIN
    assert frozen("-f-march=armv7m", "manifest.py") == ALL - PLAIN - NOT_THUMB
    rv32imc = frozen("-f", "-march=rv32imc -march-flags=zcmp", "manifest.py")
    assert rv32imc == ALL - PLAIN - THUMB


def test_viper_is_left_out_where_the_port_has_no_architecture(frozen) -> None:
    """Else mpy-cross would stop the build: it knows no machine to compile for."""
    assert frozen("manifest.py") == ALL - VIPER
    assert frozen("-f-O2", "manifest.py") == ALL - VIPER


def test_viper_is_left_out_for_armv6m(frozen) -> None:
    """MicroPython freezes it wrong for that machine: tools/check_armv6m.py."""
    assert frozen("-f-march=armv6m", "manifest.py") == ALL - LOOPS - NOT_THUMB
    assert frozen("-f", "-march=armv6m", "manifest.py") == ALL - LOOPS - NOT_THUMB


def test_the_qemu_boards_files_are_frozen_for_its_port_only(frozen) -> None:
    places = {f"warden/{file.name}" for file in (REPO / "device/mps2/warden").glob("*.py")}
    viper = frozen("-f-march=armv7m", "-v", "PORT_DIR=/micropython/ports/qemu")
    assert viper - ALL == {name for name in places if not name.endswith("_plain.py")}
    bytecode = frozen("-v", "PORT_DIR=/x/ports/qemu")
    assert bytecode - ALL == {name for name in places if not name.endswith("_viper.py")}


def test_the_terminal_is_frozen_for_the_unix_port_only(frozen) -> None:
    terminal = {"warden/terminal.py"}
    assert frozen("-f-march=x64", "-v", "PORT_DIR=/x/ports/unix") == ALL - PLAIN - THUMB
    assert frozen("-v", "PORT_DIR=/x/ports/rp2") == ALL - VIPER - terminal
    assert not terminal & frozen("-v", "PORT_DIR=/x/ports/qemu")


def test_viper_can_be_left_out(frozen) -> None:
    assert frozen("-f-march=armv7m", viper=False) == ALL - VIPER


def test_the_frozen_files_equal_the_deployed_ones(frozen) -> None:
    files = {result.target_path: Path(result.full_path) for result in frozen.files()}
    joined = parts()
    assert all(file.read_text() == joined[name].text for name, file in files.items())


def test_line_numbers_are_frozen_only_when_asked_for(frozen) -> None:
    assert {result.opt for result in frozen.files()} == {3}
    assert {result.opt for result in frozen.files(lines=True)} == {0}
