"""The Cortex-M3 firmware in QEMU with counted instructions, driven through its raw REPL.

`-icount shift=5` has each instruction take 2**5 = 32 ns of virtual time, whatever the host does:
31.25 million instructions a second, which is about what a Cortex-M3 of 40 MHz does. The board's
APB timer 0 (CMSDK, 25 MHz) shows that time in steps of 40 ns: a reading is right to 1.25
instructions, and the same in every run. Before the REPL answers, nothing is counted; after that
no interrupt comes but the board's own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from firmware_errors import BuildError
from heap_count import mount_romfs
from rawrepl import RawRepl, ReplError

PROGRAMS = Path(__file__).resolve().parent / "board"
ICOUNT_SHIFT = 5
TICK_NS = 40
INSTRUCTION_NS = 1 << ICOUNT_SHIFT
INSTRUCTIONS_A_SECOND = 1_000_000_000 // INSTRUCTION_NS

_HELPERS = ("meter", "agents")  # modules that the programs import, in the order of their imports
_TIMEOUT_S = 240.0
_OPTIONS = "-M mps2-an385 -nographic -monitor null -semihosting -serial pty -serial null"
_PORT = re.compile(rb"redirected to (\S+) \(label serial0\)")
_ROW = re.compile(r"^= (\S+) (-?\d+) (-?\d+)$", re.MULTILINE)

# A module object cannot be made from Python on MicroPython; a class serves `import` as well.
AS_MODULE = """
import sys
class _module: pass
_names = {{"__name__": {name!r}}}
exec({source!r}, _names)
for _name in _names: setattr(_module, _name, _names[_name])
sys.modules[{name!r}] = _module
"""


# What is asked of a board over the REPL today, the shortest way to do it.
SHORT_QUERY = """import gc, json
free = gc.mem_free()
used = gc.mem_alloc()
print(json.dumps({'total': free + used, 'used': used, 'available': free}))
"""


class ProgramFailed(Exception):
    """A program of the bench raised on the board; the text ends with its traceback."""


@dataclass(frozen=True)
class Rows:
    """What a program printed: ticks and bytes by name."""

    ticks: dict[str, int]
    heap_bytes: dict[str, int]


def instructions(ticks: int) -> int:
    return round(ticks * TICK_NS / INSTRUCTION_NS)


@contextmanager
def board(firmware: Path) -> Iterator[RawRepl]:
    """A freshly booted board at its raw REPL; QEMU is dead at the end, whatever happened.

    What the agent writes to the second serial port is taken at once and dropped.
    """
    program = shutil.which("qemu-system-arm")
    if program is None:
        raise BuildError("qemu-system-arm is missing: apt-get install qemu-system-arm")
    process = subprocess.Popen(
        [program, *_OPTIONS.split(), "-icount", f"shift={ICOUNT_SHIFT}", "-kernel", str(firmware)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C reaches the bench only, which ends QEMU below
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = _PORT.search(line)
        if found is None:
            raise BuildError(f"QEMU did not start: {line.decode(errors='replace').strip()}")
        repl = RawRepl(found[1].decode())
        try:
            repl.enter()
            yield repl
        finally:
            repl.close()
    finally:
        process.kill()
        process.communicate()


def execute(repl: RawRepl, text: str) -> str:
    """Run program text on the board; return what it printed, or raise ProgramFailed."""
    output, error = repl.execute(text, _TIMEOUT_S)
    if error:
        raise ProgramFailed(error.strip())
    return output


def load_helpers(repl: RawRepl, helpers: Sequence[str] = _HELPERS) -> None:
    for name in helpers:
        source = (PROGRAMS / f"{name}.py").read_text()
        execute(repl, AS_MODULE.format(name=name, source=source))


def output_of(
    firmware: Path,
    program: str,
    before: str = "",
    helpers: Sequence[str] = _HELPERS,
    files: Mapping[str, bytes] | None = None,
) -> str:
    """Run one of the programs on a fresh board; `before` is a text that goes first.

    files: what it can import, in a ROMFS.
    """
    with board(firmware) as repl:
        try:
            if files:
                mount_romfs(repl, files)
            load_helpers(repl, helpers)
            return execute(repl, before + (PROGRAMS / f"{program}.py").read_text())
        except (ProgramFailed, ReplError) as error:
            raise ProgramFailed(f"{program}.py on the board: {error}") from error


def run(
    firmware: Path,
    program: str,
    before: str = "",
    helpers: Sequence[str] = _HELPERS,
    files: Mapping[str, bytes] | None = None,
) -> Rows:
    """Run one of the programs, and read the figures that it prints."""
    output = output_of(firmware, program, before, helpers, files)
    rows = [(name, int(ticks), int(count)) for name, ticks, count in _ROW.findall(output)]
    return Rows({name: ticks for name, ticks, _ in rows}, {name: count for name, _, count in rows})
