"""Where a firmware test file runs is what it says itself, whatever was asked of others before."""

from __future__ import annotations

from types import ModuleType

import pytest
from places import REPO


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.delenv("SOAK", raising=False)
    monkeypatch.syspath_prepend(REPO / "firmware_tests")
    return pytest.importorskip("run")


def test_with_the_c_module_run_the_files_that_are_named_for_it(run: ModuleType) -> None:
    own = {"native", "native_agent", "native_table", "heap_table"}
    for target in ("frozen-native", "qemu-native"):
        files = {file.stem.removeprefix("test_") for file in run.test_files(target)}
        assert files == run.WITH_MODULE | own
