"""The firmware tests that can run on CPython, run on CPython, in seconds and with no firmware.

Which files those are is in the `# targets:` line of each. Nothing is imported to collect them:
a file that cannot be imported fails its own tests, and no others.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from places import FAKES, REPO

FIRMWARE_TESTS = REPO / "firmware_tests"

# What a board has on its path, and the stand-in for the one module every file of it imports.
_BOARD_PATH = [FAKES, FIRMWARE_TESTS, REPO / "device", REPO / "shared_schema"]


def _runs_on_cpython(source: str) -> bool:
    for line in source.splitlines()[:5]:
        if line.startswith("# targets:"):
            return "cpython" in line.split()
    return True


def _tests() -> Iterator[object]:
    for file in sorted(FIRMWARE_TESTS.glob("test_*.py")):
        source = file.read_text()
        if not _runs_on_cpython(source):
            continue
        for node in ast.parse(source, str(file)).body:
            name = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else ""
            if name.startswith("test_") and not name.endswith("_on_micropython"):
                yield pytest.param(file, name, id=f"{file.stem}-{name}")


@pytest.fixture(autouse=True)
def board_path(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in reversed(_BOARD_PATH):
        monkeypatch.syspath_prepend(folder)


def _load(file: Path) -> ModuleType:
    """Import a test file once, under a name that no file in tests/ has."""
    name = f"firmware_tests_{file.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


@pytest.mark.parametrize(("file", "name"), list(_tests()))
def test_a_firmware_test_passes_on_cpython(file: Path, name: str) -> None:
    module = _load(file)
    import harness

    try:
        harness.call(getattr(module, name))
    except harness.Skip as why:
        pytest.skip(str(why))
