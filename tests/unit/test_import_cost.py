"""Importing the package starts nothing and loads nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys

# Of the package's own dependencies and the standard library: what only some commands need.
HEAVY = {
    "hypothesis",
    "multiprocessing",
    "prometheus_client",
    "pydantic",
    "rich",
    "serial",
    "sqlite3",
    "textual",
    "typer",
    "unittest",
}
CODE = """
import json, sys, threading
import boardwarden
print(json.dumps([sorted(sys.modules), threading.active_count()]))
"""


def test_importing_boardwarden_loads_nothing_heavy() -> None:
    # Not measured for coverage, which would load modules of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    run = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, check=True, text=True, env=env
    )
    modules, threads = json.loads(run.stdout)
    assert HEAVY.isdisjoint(module.partition(".")[0] for module in modules)
    assert "boardwarden.testing" not in modules
    assert not [module for module in modules if module.startswith("boardwarden.cli")]
    assert threads == 1
    assert run.stderr == ""
