"""The environment of the commands that tests start; only they are measured, not their boards."""

import os
from pathlib import Path

_CONFIG = "COVERAGE_PROCESS_CONFIG"  # what coverage sets for all processes that Python starts
_measured = {}


def measure_commands_only():
    """Let no process start coverage but those that get `of_command()`."""
    if _CONFIG in os.environ:
        _measured[_CONFIG] = os.environ.pop(_CONFIG)
        _measured["PYTHONPATH"] = str(Path(__file__).with_name("measured"))


def measured():
    """Return whether coverage measures the commands."""
    return bool(_measured)


def of_command(**more):
    """Return the environment of a command: BOARDWARDEN_BOARD is only what is given."""
    env = {name: value for name, value in os.environ.items() if name != "BOARDWARDEN_BOARD"}
    return {**env, **_measured, **more}
