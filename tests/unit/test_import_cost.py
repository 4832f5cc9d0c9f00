"""Importing the package starts nothing and loads nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from boardwarden.cli.app import MODULES

# Of the package's own dependencies and the standard library: what only some commands need.
HEAVY = {
    "email",  # which reads what is installed: importlib.metadata
    "hypothesis",
    "multiprocessing",
    "prometheus_client",
    "pydantic",
    "rich",
    "serial",
    "sqlite3",
    "starlette",
    "textual",
    "typer",
    "unittest",
    "uvicorn",
}
CODE = """
import json, sys, threading
import boardwarden
print(json.dumps([sorted(sys.modules), threading.active_count()]))
"""

COMMAND = """
import atexit, sys
atexit.register(lambda: print(*sys.modules))
sys.argv = ["boardwarden", COMMAND, "--board", "/none"]
from boardwarden.__main__ import main
main()
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python, not measured for coverage, which would load modules of its own."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


@pytest.mark.parametrize("command", ["leases", "status", "policy"])
def test_a_command_loads_its_own_module_and_nothing_heavy(command: str) -> None:
    run = python(COMMAND.replace("COMMAND", repr(command)))
    assert run.returncode == 2
    modules = run.stdout.split()
    assert (HEAVY - {"serial", "typer"}).isdisjoint(module.partition(".")[0] for module in modules)
    commands = {f"boardwarden.cli.{module}" for module in MODULES.values()}
    assert commands & {*modules} == {f"boardwarden.cli.{MODULES[command]}"}


def test_importing_boardwarden_loads_nothing_heavy() -> None:
    run = python(CODE)
    assert run.returncode == 0, run.stderr
    modules, threads = json.loads(run.stdout)
    assert HEAVY.isdisjoint(module.partition(".")[0] for module in modules)
    assert "boardwarden.testing" not in modules
    assert not [module for module in modules if module.startswith("boardwarden.cli")]
    assert threads == 1
    assert run.stderr == ""


def test_a_checkup_needs_no_mpremote() -> None:
    """It knows what the agent takes, from where deploy does, which has that extra."""
    run = python('import sys\nsys.modules["mpremote"] = None\nimport boardwarden.cli.doctor')
    assert run.returncode == 0, run.stderr
