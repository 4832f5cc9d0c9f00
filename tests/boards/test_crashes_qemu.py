"""A Cortex-M3 whose processor is reset: what the black box in its spare RAM says afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from built_firmware import built
from cli_process import run_and_wait
from places import REPO

sys.path.insert(0, str(REPO / "tools"))
from rawrepl import RawRepl

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and shutil.which("qemu-system-arm") is None,
    reason="QEMU is missing: apt-get install qemu-system-arm",
)
_PORT = re.compile(rb"redirected to (\S+) \(label serial([01])\)")
_LIMIT_S = 30.0


class Machine:
    """QEMU with the frozen firmware, at its raw REPL."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        ports = {}
        while len(ports) < 2:
            line = process.stdout.readline()
            assert line, "QEMU ended before it opened its serial ports"
            ports.update({number: path for path, number in _PORT.findall(line)})
        self._repl = RawRepl(ports[b"0"].decode())
        self.link = ports[b"1"].decode()
        self._repl.enter()

    def run(self, program: str) -> str:
        output, error = self._repl.execute(program, _LIMIT_S)
        assert not error, error
        return output

    def reset(self) -> None:
        """Reset the processor by AIRCR.SYSRESETREQ: RAM keeps what it has."""
        with contextlib.suppress(Exception):  # the REPL goes away inside it
            self._repl.execute("import machine\nmachine.mem32[0xE000ED0C] = 0x05FA0004", 1.0)
        self._repl.enter()

    def run_until_reset(self, program: str) -> None:
        """Run a program until the board greets anew: something has reset it."""
        self._repl.run_until(program, b"MicroPython v", _LIMIT_S)
        self._repl.enter()

    def resets(self) -> list[dict[str, Any]]:
        found = self.run("import warden, json\nprint(json.dumps(warden.resets()))")
        return list(json.loads(found))

    def serve(self) -> None:
        """Have the agent answer at `link`."""
        self._repl.run_until(_SERVES, b"serves", _LIMIT_S)

    def close(self) -> None:
        self._repl.close()


@pytest.fixture
def machine() -> Iterator[Machine]:
    options = "-M mps2-an385 -nographic -monitor null -semihosting -serial pty -serial pty"
    process = subprocess.Popen(
        ["qemu-system-arm", *options.split(), "-kernel", built("qemu")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        started = Machine(process)
        yield started
        started.close()
    finally:
        process.kill()
        process.communicate()


_SERVES = """
import warden
warden.exceptions()
warden.start(interval_ms=200, budget_permille=1000)
print("serves")
while True:
    warden.poll()
"""
_SAMPLED = """
import warden
warden.exceptions()
warden.start(interval_ms=20, budget_permille=1000, link=False)
op = warden.begin("flash")
from warden.board_mps2 import ticks_ms
began = ticks_ms()
while ticks_ms() - began < 1200:
    warden.poll()
print("ready")
"""
_RAISES = """
import warden
def measure():
    raise OSError(5)
def main():
    measure()
try:
    warden.run(main)
except OSError:
    print("raised")
"""
_OUT_OF_MEMORY = """
import warden
kept = []
def main():
    while True:
        kept.append(bytearray(1000))
try:
    warden.run(main)
except MemoryError:
    del kept[:]
    print("raised")
"""

_WATCHED = """
import warden
warden.start(interval_ms=100, budget_permille=1000, link=False)
"""
_BLOCKS = """
def main():
    warden.watchdog(1000, hardware_ms=1000)
    for _ in range(20):
        warden.poll()
    with warden.operation("flash"):
        while True:
            pass
warden.run(main)
"""
_STOPS_CHECKING_IN = """
def main():
    sensor = warden.checkin("sensor", 300)
    uplink = warden.checkin("uplink", 300)
    warden.watchdog(1000, hardware_ms=1000)
    for turn in range(1000000):
        warden.poll()
        uplink.feed()
        if turn < 100:
            sensor.feed()
warden.run(main)
"""


def test_a_reset_that_nobody_announced_has_the_figures_of_the_last_sample(machine: Machine) -> None:
    assert machine.resets() == []
    assert "ready" in machine.run(_SAMPLED)
    machine.reset()
    (reset,) = machine.resets()
    assert (reset["cause"], reset["inferred"], reset["expected"]) == ("soft", True, False)
    assert (reset["count"], reset["boot"], reset["who"]) == (1, 1, "flash")
    assert reset["uptime_s"] == 1
    assert 10_000 < reset["live_bytes"] < 140_000


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (
            _RAISES,
            """\
! reset after boot 1: an exception ended the application, inferred
  uptime …
  <stdin>, line 6, in main
  <stdin>, line 4, in measure
  OSError: …
! application ended, in an earlier boot or before the agent
  <stdin>, line 6, in main
  <stdin>, line 4, in measure
  OSError: …""",
        ),
        (
            _OUT_OF_MEMORY,
            """\
! reset after boot 1: an exception ended the application, inferred
  uptime …
  <stdin>, line 6, in main
  MemoryError: …
! application ended, in an earlier boot or before the agent
  <stdin>, line 6, in main
  MemoryError: …""",
        ),
        (
            _BLOCKS,
            """\
! reset after boot 1: watchdog, inferred
  uptime …, running flash…""",
        ),
        (
            _STOPS_CHECKING_IN,
            """\
! reset after boot 1: watchdog, inferred
  uptime …, running sensor, live …""",
        ),
    ],
    ids=["raises", "memory", "blocks", "late"],
)
def test_after_the_reset_crashes_names_cause_culprit_file_and_line(
    machine: Machine, program: str, told: str
) -> None:
    if program in (_RAISES, _OUT_OF_MEMORY):
        assert "raised" in machine.run(program)
        machine.reset()
    else:
        machine.run_until_reset(_WATCHED + program)
    machine.serve()
    shown = run_and_wait("crashes", "--board", machine.link)
    assert shown.returncode == 0, shown.stderr
    pattern = re.escape(told).replace("…", "[^\\n]*")
    assert re.fullmatch(pattern, shown.stdout.rstrip()), shown.stdout


def test_noise_in_the_spare_ram_is_no_record(machine: Machine) -> None:
    machine.run(
        "import machine\nfor at in range(256):\n"
        "  machine.mem8[0x21FF0000 + at] = 0xB1 if at == 66 else at * 37 & 0xFF"
    )
    assert machine.resets() == []


def test_a_reset_by_a_threshold_is_an_expected_one(machine: Machine) -> None:
    machine.run(
        "import warden\nwarden.exceptions()\nwarden.start(link=False)\n"
        "from warden import Runner\nboard = Runner.current.agent.board\n"
        "try:\n    board.save_note('cpu critical, 999')\nexcept OSError:\n    pass"
    )
    machine.reset()
    (reset,) = machine.resets()
    assert (reset["cause"], reset["expected"]) == ("threshold", True)
