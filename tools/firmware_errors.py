"""The one error of the firmware tools, and the checks that name a missing Debian package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Of a failing step's log, what fits on a screen: the compiler's message stands at the end.
_TAIL_LINES = 25


class BuildError(Exception):
    """Something the user can put right; its text is one sentence that says how."""


def say(text: str) -> None:
    """Progress. Standard output belongs to the path that the tool prints last."""
    print(text, file=sys.stderr, flush=True)


def need(command: str, package: str) -> str:
    """The path of `command`, or an error naming the Debian package that has it."""
    path = shutil.which(command)
    if path is None:
        raise BuildError(f"{command} is missing: apt-get install {package}")
    return path


def run_logged(
    what: str,
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a step with its output in `log`; when it fails show the log's end and raise."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        status = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env, check=False
        ).returncode
    if status != 0:
        lines = log.read_text(errors="replace").splitlines()
        for line in lines[-_TAIL_LINES:]:
            say("  | " + line)
        raise BuildError(f"{what} failed (exit status {status}); the whole log is in {log}")
