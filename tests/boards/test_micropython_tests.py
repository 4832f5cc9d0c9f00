"""MicroPython's own tests of asyncio and of threads print beside the agent what they print alone.

They are read from the source that the firmware is built from.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from built_firmware import built
from places import APPS, REPO

_AT_ONCE = 4  # they sleep most of the time
_LIMIT_S = 30  # as MicroPython's run-tests.py has it
# So that none collects garbage but where it asks for it: the unix port's collector does not stop
# the other threads.
_HEAP = ("-X", "heapsize=32m")

TESTS = {"asyncio": "extmod/asyncio*.py", "threads": "thread/*.py"}
# Those of asyncio have the agent as tasks beside theirs. Those of threads use no asyncio; the last
# two of their applications run the program in a thread, and the agent meanwhile.
FORMS = {
    "asyncio": ["task", "tcp", "measures", "without-steps", "run"],
    "threads": ["reruns", "polls", "loop"],
}

_TIMES = "prints whether its sleeps took the right time, which depends on what else has the core"
_NO_GIL = "the unix port has no lock around what its threads change, and run-tests.py skips it, too"
_WELL = "faults: 0\n"
LEFT_OUT = {
    "mutate_bytearray.py": _NO_GIL,
    "mutate_dict.py": _NO_GIL,
    "mutate_instance.py": _NO_GIL,
    "mutate_list.py": _NO_GIL,
    "mutate_set.py": _NO_GIL,
    "stress_aes.py": "a second of computing in each form, which asks nothing of the agent",
    "stress_recurse.py": "without the agent, too, a thread's stack overflows in some of its runs",
    "stress_schedule.py": "prints how many of 10 000 calls ten seconds were enough for, if not all",
    "thread_coop.py": _TIMES,
    "thread_exc2.py": "the traceback of a thread has one line more: the agent runs its function",
    "thread_sleep2.py": _TIMES,
}

# These sleep, some for only 50 ms longer than others, and say who was first, which is another one
# where the machine is busy for so long. Of them the lines are compared, not their order.
_SLEEPING = {
    "asyncio_basic.py",
    "asyncio_cancel_task.py",
    "asyncio_event.py",
    "asyncio_fair.py",
    "asyncio_gather.py",
    "asyncio_gather_notimpl.py",
    "asyncio_heaplock.py",
    "asyncio_lock.py",
    "asyncio_micropython.py",
    "asyncio_task_done.py",
    "asyncio_wait_for.py",
    "asyncio_wait_for_fwd.py",
    "asyncio_wait_task.py",
}
pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]  # the first builds the firmware


def _output(*command: str | Path) -> str:
    """Run a program in an empty folder; return what it prints, and how it ended if not well."""
    with tempfile.TemporaryDirectory(prefix="boardwarden-") as empty:
        try:
            done = subprocess.run(
                command,
                cwd=empty,
                env={**os.environ, "MICROPYPATH": ".frozen"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_LIMIT_S,
            )
        except subprocess.TimeoutExpired as late:
            return f"{(late.stdout or b'').decode(errors='replace')}[not ended]\n"
    ended = f"[ended with {done.returncode}]\n" if done.returncode else ""
    return done.stdout.decode(errors="replace") + ended


def _outputs(files: Sequence[Path], *command: str | Path) -> dict[Path, str]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(files, pool.map(functools.partial(_output, *command), files), strict=True))


@functools.cache
def _alone(kind: str) -> tuple[str, dict[Path, str]]:
    """Return the interpreter, and what each test of a kind prints without the agent."""
    micropython = built("unix")
    source = importlib.import_module("debian_source").downloaded(REPO / "build/firmware/source")
    files = sorted(source.glob(f"tests/{TESTS[kind]}"))
    assert len(files) > 25
    kept = [file for file in files if file.name not in LEFT_OUT]
    outputs = _outputs(kept, micropython, *_HEAP)
    # One for which the build lacks something says so, and run-tests.py takes it for skipped.
    return micropython, {file: text for file, text in outputs.items() if text != "SKIP\n"}


@pytest.mark.parametrize(
    ("kind", "form"), [(kind, form) for kind, forms in FORMS.items() for form in forms]
)
def test_the_tests_print_beside_the_agent_what_they_print_alone(
    kind: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(REPO / "tools")
    micropython, alone = _alone(kind)
    assert len(alone) > 15
    app = (micropython, *_HEAP, APPS / "beside.py", form)
    differences: list[str] = []
    for file, beside in _outputs(list(alone), *app).items():
        lines = [text.splitlines() for text in (alone[file] + _WELL, beside)]
        if file.name in _SLEEPING:
            lines = [sorted(each) for each in lines]
        differences += difflib.unified_diff(*lines, f"{file.name} alone", form, lineterm="")
    assert not differences, "\n".join(differences)
