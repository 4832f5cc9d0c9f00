"""Reading the heap's table never leaves the heap: around it are pages that end who reads them."""

import os
import signal
import subprocess
import sys

import pytest
from built_firmware import built
from places import REPO, SUPPORT

FIRMWARE_TESTS = REPO / "firmware_tests"
sys.path.insert(0, str(FIRMWARE_TESTS))
from boards import UnixBoard, joined  # noqa: E402
from run import run_file  # noqa: E402

_SOURCES = [REPO / "device", REPO / "shared_schema"]
_TESTS = ("test_heap_table", "test_fragmentation")  # hostile heaps, random ones, whole agents
_BOARD = """
import gc
from uctypes import addressof, bytearray_at
from warden.sensors.find_table import find_table

class Board:
    heap_grows = False
    mem_free = gc.mem_free
    mem_alloc = gc.mem_alloc
"""
_READS_A_BYTE = f"""{_BOARD}
state = find_table(Board)[1]
print(bytearray_at(addressof(state) - state[14] + OFFSET, 1)[0] is not None)
"""
# One hole in the first area takes the first probe; the second one comes to be in another area.
_TWO_AREAS = f"""{_BOARD}
BLOCK = 32
gc.disable()
kept = [bytearray(80 * BLOCK)]
while abs(addressof(kept[-1]) - addressof(kept[0])) < len(kept) * 100 * BLOCK:
    kept.append(bytearray(80 * BLOCK))
kept[-3] = None
gc.collect()
probes = bytearray(71 * BLOCK), bytearray(97 * BLOCK)
assert abs(addressof(probes[0]) - addressof(probes[1])) > 1000 * BLOCK
del probes
gc.collect()
print(isinstance(find_table(Board), int))
"""


class Guarded:
    """A MicroPython of the unix port with its heap between pages that must not be touched."""

    def __init__(self, target, folder):
        self._program = built(target)
        self._library = folder / "guarded_heap.so"
        self._path = [] if target != "unix32" else _SOURCES  # the agent is frozen in, or is not
        self.is_joined = target != "unix32"
        bits = ["-m32"] if target == "unix32" else []
        options = [*bits, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
        source = SUPPORT / "guarded_heap.c"
        subprocess.run(["gcc", *options, "-o", self._library, source], check=True)

    def board(self, heap):
        """Return a board for the firmware tests with a heap of so many KB."""
        script = self._library.with_name(f"micropython-{heap}")
        script.write_text(
            f'#!/bin/sh\nLD_PRELOAD={self._library} exec {self._program} -X heapsize={heap}k "$@"\n'
        )
        script.chmod(0o755)
        return UnixBoard(str(script), self._path, self.is_joined)

    def run(self, code):
        """Run a program on a heap of 256 KB; return the process that has ended."""
        board = self.board(256)
        path = ":".join([*map(str, self._path), ".frozen"])
        return subprocess.run(
            [board.program, "-c", joined(code) if self.is_joined else code],
            env={**os.environ, "MICROPYPATH": path},
            capture_output=True,
            text=True,
            timeout=20,
        )


@pytest.fixture(scope="module", params=["unix", "unix32"])
def guarded(request, tmp_path_factory):
    return Guarded(request.param, tmp_path_factory.mktemp("guarded"))


def test_a_read_outside_ends_the_process(guarded):
    inside = guarded.run(_READS_A_BYTE.replace("OFFSET", "0"))
    assert (inside.returncode, inside.stdout) == (0, "True\n"), inside.stderr
    outside = guarded.run(_READS_A_BYTE.replace("OFFSET", "-1"))
    assert (outside.returncode, outside.stdout) == (-signal.SIGSEGV, "")


@pytest.mark.parametrize("name", _TESTS)
def test_nothing_is_read_outside(guarded, name):
    result = run_file(guarded.board(1024), FIRMWARE_TESTS / f"{name}.py", 100)
    assert result.passed, result.output
    assert not result.failed, result.output


def test_probes_that_fall_into_two_areas_lead_nowhere(tmp_path):
    split = Guarded("unix-probe", tmp_path).run(_TWO_AREAS)
    assert (split.returncode, split.stdout) == (0, "True\n"), split.stderr
