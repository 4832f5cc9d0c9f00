"""What the agent costs is counted again and must not get worse; the documents quote it."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from places import REPO

OTHER_COMPILER_PERMILLE = 300  # what another gcc makes of the same interpreter
HOW = "make bench-accept, and say in the commit what costs more and why"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of tools/bench by name."""
    monkeypatch.syspath_prepend(REPO / "tools")

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"bench.{name}")

    return load


@pytest.fixture
def firmwares(bench):
    """The firmwares whose figures are compared; skip, but never in CI, without them."""
    boards = bench("boards")
    found = boards.built(boards.COMPARED)
    if len(found) < len(boards.COMPARED):
        if not os.environ.get("CI"):
            pytest.skip("no firmware: see make firmware")
        pytest.fail("a firmware cannot be built")
    return found


@pytest.mark.timeout(600)  # a firmware may have to be built first
def test_no_counted_figure_gets_worse(bench, firmwares):
    results = bench("results")
    figures, built_with = results.expected()
    same = built_with == bench("boards").built_with(firmwares["stock"])
    permille = results.TOLERANCE_PERMILLE if same else OTHER_COMPILER_PERMILLE
    worse = results.compare(figures, bench("measuring").quick(firmwares), permille)
    assert not worse, f"{HOW}\n" + "\n".join(map(str, worse))


_WORSE = """
from warden import Clock
_advance = Clock.advance
def _worse(self):
    {what}
    _advance(self)
Clock.advance = _worse
"""


@pytest.mark.timeout(600)
def test_counts_repeat_and_find_what_is_made_worse_on_purpose(bench, firmwares):
    measuring, results = bench("measuring"), bench("results")

    def ticks(before: str = "") -> dict[str, float]:
        return measuring.watching(firmwares["stock"], before)

    before = ticks()
    assert before == ticks()
    for what, name in (
        ("for _ in range(1000): pass", "tick_watching_beyond_instructions"),
        ("bytearray(100)", "tick_watching_heap_bytes"),
    ):
        worse = results.compare(before, ticks(_WORSE.format(what=what)))
        assert name in [one.name for one in worse]
    assert results.compare(before, before) == []


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_qemu(pid: int) -> bool:
    try:
        return b"qemu-system-arm" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
def test_an_interrupt_ends_qemu_and_writes_no_results(firmwares):
    command = [sys.executable, "-m", "bench", "--only", "count", "--variants", "stock"]
    env = {**os.environ, "PYTHONPATH": str(REPO / "tools")}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        qemus: list[int] = []
        while not qemus:
            assert process.poll() is None, process.stderr.read()
            qemus = [pid for pid in _children(process.pid) if _is_qemu(pid)]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output, progress = process.communicate(timeout=20)
    assert (process.returncode, output) == (130, "")
    assert progress.endswith("bench: interrupted, nothing is kept\n")
    assert not [pid for pid in qemus if _is_qemu(pid)]


def test_a_missing_or_new_figure_counts_as_worse(bench):
    compare = bench("results").compare
    assert [str(worse) for worse in compare({"a": 100, "b": 0, "c": 100}, {"b": 1, "c": 105})] == [
        "a: expected 100, not measured any more",
        "b: 1 instead of 0",
    ]
    assert [str(worse) for worse in compare({"c": 100}, {"c": 106})] == [
        "c: 106 instead of 100 (+6.0 %)"
    ]


def test_the_documents_quote_the_results(bench):
    pages = bench("pages")
    figures, _ = bench("results").load()
    assert (REPO / "docs" / "cost.md").read_text(encoding="utf-8") == pages.cost_page(figures)
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    assert pages.BEGIN in readme
    assert readme == pages.with_lines(readme, figures)


def test_every_figure_has_a_description(bench):
    definition = bench("catalogue").definition
    figures, _ = bench("results").load()
    assert [name for name in figures if not definition(name)] == []


def test_a_variant_that_cannot_be_built_is_skipped_with_a_line(bench, monkeypatch, capsys):
    boards = bench("boards")
    monkeypatch.setattr(boards, "VARIANTS", {"other": "qemu-other"})
    assert boards.built(["other"]) == {}
    assert capsys.readouterr().err == (
        "other: skipped, tools/build_firmware.py has no target qemu-other\n"
    )
