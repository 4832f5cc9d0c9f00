"""The heap that the agent takes, on 32 bits: counted, and held to what was accepted."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from places import REPO

from boardwarden.deploy.compiler import Compiler, parts, rooms


@pytest.fixture(scope="module")
def tool():
    """Returns a function that imports a module of tools/."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPO / "tools")
        yield importlib.import_module


@pytest.fixture(scope="module")
def footprint(tool) -> ModuleType:
    return tool("footprint")


@pytest.fixture(scope="module")
def bare(tool):
    """The unix port of 32 bits; skip, but never in CI, where it cannot be had."""
    try:
        return tool("heap_count").Unix32(tool("build_firmware").build("unix32"))
    except tool("firmware_errors").BuildError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def compiled(tmp_path: Path):
    """Returns a function of a text and mpy-cross's options that gives what is in its .mpy."""

    def compile_text(text: str, *flags: str) -> bytes:
        (tmp_path / "m.py").write_text(text)
        Compiler().compile("m.py", tmp_path / "m.py", tmp_path / "m.mpy", *flags)
        return (tmp_path / "m.mpy").read_bytes()

    return compile_text


@pytest.mark.timeout(240)  # where the interpreters are not built yet
def test_the_agents_heap_is_within_5_percent_of_what_was_accepted(footprint, bare) -> None:
    """After a change that is meant to cost more or less: make footprint-accept."""
    accepted = json.loads(footprint.ACCEPTED.read_text())
    now = footprint.flat("unix32", footprint.figures("unix32", parts()))
    assert footprint.differences(now, accepted) == []


_START = "    warden.start(link=sys.stdin.buffer, interval_ms=60_000)\n"
_LARGEST = """
import gc
import asyncio
import warden
async def main():
    warden.start(link=sys.stdin.buffer, interval_ms=60_000)
    live = warden.status()["memory"]["live_bytes"]
    for _ in range(3):
        gc.collect()
    free = most = gc.mem_free()
    fits = 0
    while most - fits > 256:
        size = (fits + most) // 2
        try:
            bytearray(size)
            fits = size
        except MemoryError:
            most = size
        gc.collect()
    print("@", free, fits, live, gc.mem_alloc())
import sys
warden.run(main)
"""


@pytest.mark.parametrize("is_started_first", [False, True])
def test_what_start_takes_lies_together_and_is_live(footprint, bare, is_started_first) -> None:
    """What is let go leaves no gaps between what stays: boards fail for want of a large block."""
    program = _LARGEST
    if is_started_first:  # before `warden.run()`, and not in it
        program = program.replace("warden.run(", _START.strip() + "\nwarden.run(")
        program = program.replace(_START, "", 1)
    output = bare.run(program, footprint.Files(parts()).of("x86"))
    assert output.startswith("@ "), output
    free, largest, live, truth = map(int, output.split()[1:])
    assert free - largest < 19_000
    assert abs(live - truth) < 20_000  # what start() lets go was there still


def test_without_a_link_the_agent_takes_7_kb_less(footprint, bare) -> None:
    """What serves a host is a part of its own, and not loaded."""
    files = footprint.Files(parts()).of("x86")
    taken = {}
    for link in ("sys.stdin.buffer", "False"):
        steps = {"import": "import warden", "start": f"warden.start(link={link}, protect=False)"}
        counts = bare.count(steps, files)
        taken[link] = counts["import"].bytes + counts["start"].bytes
    assert 7000 < taken["sys.stdin.buffer"] - taken["False"] < 8500
    output = bare.run(_PARTS, files)
    assert "warden" in output.split()
    assert "warden.host_session" not in output.split()


_PARTS = """
import sys
import warden
warden.start(link=False)
warden.run(print)  # what keeps its resets reads and writes frames' checksums, too
print(*[name for name in sys.modules if name.startswith("warden")])
"""


def test_a_missing_or_deviating_figure_is_reported(footprint) -> None:
    accepted = {"a": 100_000, "b": 100_000, "c": 100_000}
    now = {"a": 105_000, "b": 94_900, "c": 105_100, "d": 1}
    assert footprint.differences(now, accepted) == [
        "b: 94900, accepted 100000",
        "c: 105100, accepted 100000",
        "d: 1, accepted None",
    ]


def test_heap_is_counted_to_the_byte(tool, bare) -> None:
    """A buffer's bytes and its object; what is garbage is not counted."""
    steps = {
        "nothing": "pass",
        "buffer": "kept = bytearray(1600)",
        "garbage": "bytearray(1600) and None",
    }
    counts = bare.count(steps, None)
    assert counts["nothing"].bytes == counts["garbage"].bytes == 0
    # And a block of 16 bytes for the object; the dict of globals may have to grow.
    assert 1616 <= counts["buffer"].bytes <= 1616 + 96


def test_a_name_costs_its_entry_however_the_pool_grows(tool, bare) -> None:
    """One after the other: somewhere among them the pool is doubled."""
    names = [f"one_more_name_{number}" for number in range(400)]
    steps = {
        name: f"getattr(_Application, 'one_more_' + 'name_{number}', None)"
        for number, name in enumerate(names)
    }
    counts = bare.count(steps, None)
    assert max(count.bytes for count in counts.values()) <= 300  # a chunk for the text of some
    assert {count.names for count in counts.values()} == {1}
    assert {count.name_bytes - len(name) - 1 for name, count in counts.items()} == {7}


def test_bytecode_stays_in_romfs(tool, bare, compiled) -> None:
    body = "\n".join(f"    print(a, {number})" for number in range(200))
    made = {"m.mpy": compiled(f"def f(a):\n{body}\n")}
    copied = bare.count({"import": "import m"}, made)["import"].bytes
    in_place = bare.count({"import": "import m"}, made, in_place=True)["import"].bytes
    code = dict(tool("mpy_file").read(made["m.mpy"]).code.walk())["f"].bytes
    assert code > 1500
    assert abs(copied - in_place - code) < 100


def test_the_size_of_machine_code_comes_from_the_mpy_file(tool, compiled) -> None:
    text = "import micropython\n\n@micropython.viper\ndef f(a: int) -> int:\n    return a + 1\n"
    mpy_file = tool("mpy_file")
    assert 16 <= mpy_file.native_bytes(compiled(text, "-march=armv6m")) <= 128
    assert mpy_file.native_bytes(compiled("def f(a):\n    return a + 1\n")) == 0
    with pytest.raises(mpy_file.NotMpy):
        mpy_file.read(b"import this")


def test_functions_are_listed_by_name(tool, compiled) -> None:
    text = "class A:\n    def read_all(self):\n        return [x for x in self]\n"
    codes = dict(tool("mpy_file").read(compiled(text)).code.walk())
    assert set(codes) == {"<module>", "A", "A.read_all", "A.read_all.<listcomp>"}


def test_objects_of_a_module_are_counted(footprint) -> None:
    text = '"""Doc."""\n\n# why\nimport sys\n\n\nclass A:\n    """Doc\n    string."""\n\n' \
        "    def f(self, a):\n        return sys.b(\n            a\n        )\n"  # fmt: skip
    found = footprint.contents(text)
    assert (found["lines"], found["functions"], found["classes"]) == (6, 1, 1)


def test_each_source_file_can_be_counted_alone(footprint, bare) -> None:
    some = {name: text for name, text in rooms().items() if name.endswith(("clock", "leases"))}
    table = footprint.by_room(some)
    assert len(table) == 2
    assert all(300 < row["files"] < 8000 for row in table.values()), table


@pytest.mark.timeout(240)
def test_the_cortex_m3_counts_the_same(tool, bare, compiled) -> None:
    """Another machine, with a heap of its own: a module takes the same there."""
    if shutil.which("qemu-system-arm") is None and os.environ.get("CI") != "true":
        pytest.skip("qemu-system-arm is missing: apt-get install qemu-system-arm")
    firmware = tool("build_firmware").build("qemu-bare")
    text = "".join(f"def function_{n}(a, b=1):\n    return [a, b, {n}]\n\n\n" for n in range(40))
    made = {"m.mpy": compiled(text)}
    for in_place in (False, True):
        there = tool("heap_count").Qemu(firmware).count({"import": "import m"}, made, in_place)
        here = bare.count({"import": "import m"}, made, in_place)
        assert abs(there["import"].bytes - here["import"].bytes) < 64
