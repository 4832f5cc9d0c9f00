#!/usr/bin/env python3
"""Count the heap that the agent takes on a board of 32 bits: `footprint.py [--json] [--rooms]`.

Watching is `warden.start(protect=False)`, deciding `warden.start()`; both with the link that
start() makes on a board by itself. Deployed from files as bytecode, and with the machine code that
a Pico gets; from ROMFS, where bytecode stays; and frozen into the firmware. See tools/heap_count.py
for what is counted.

--target: unix32 (default), the unix port built for 32 bits, which keeps machine code outside of its
heap, so it is added as an RP2040 holds it; qemu, the Cortex-M3. --rooms: each source file by
itself, with its largest functions; that works on files that cannot be joined yet. --accept: write
what `make test` holds the agent to, bench/footprint.json, and the table of boards in README.md.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import board_table
import mpy_file
from boardwarden._program import checked_output
from boardwarden.deploy.compiler import Compiler
from boardwarden.deploy.parts import JoinError, Part, join, read_rooms
from boardwarden.errors import DeployError
from build_firmware import build
from firmware_errors import BuildError, say
from heap_count import Count, Qemu, Unix32

REPO = Path(__file__).resolve().parent.parent
ACCEPTED = REPO / "bench" / "footprint.json"
TOLERANCE = 0.05
_SOURCES = (REPO / "device", REPO / "shared_schema")
_PICO = "armv6m"
# What the agent is allowed to take, and what was hoped for: bytes by way and by state.
TARGETS = {
    ("files", "watching"): (40_000, 32_000),
    ("files", "deciding"): (72_000, 60_000),
    ("romfs", "watching"): (23_000, 20_000),
    ("romfs", "deciding"): (40_000, 34_000),
    ("frozen", "watching"): (15_000, 12_000),
    ("frozen", "deciding"): (27_000, 22_000),
}
# What `warden.run()` and `warden.watchdog()` together may take beside that.
_MORE_TARGETS = {"files": 8000, "frozen": 3000}
_WAYS = {
    "files": "files, machine code",
    "bytecode": "files, bytecode only",
    "romfs": "ROMFS, machine code",
    "frozen": "frozen",
}
_STATES = ("watching", "deciding")
_START = {
    "watching": "warden.start(link={link}, protect=False)",
    "deciding": "warden.start(link={link})",
}
# What was on the C stack is taken for pointers: so modules that were let go would be counted.
_SWEEP = """
def _sweep(depth):
    return depth and _sweep(depth - 1)
_sweep(40)"""
# Beside deciding, one after the other: an application that `warden.run()` runs, the watchdog that
# only tells, and one that interrupts what hangs.
_MORE = {
    "run": "warden.run(lambda: None)" + _SWEEP,
    "watchdog": "warden.watchdog()" + _SWEEP,
    "stop": "warden.crashes.Crashes.current.main = 1\nwarden.watchdog(action='stop')" + _SWEEP,
}
_STDIN = "sys.stdin.buffer"  # unix32: by itself it would take it for a terminal, as no board does


@dataclass(frozen=True)
class Figure:
    """The heap of one state in one way, in bytes; `machine_code` is in `bytes`."""

    bytes: int
    machine_code: int
    made: int  # by start(): the objects
    names: int
    name_bytes: int

    def json(self) -> dict[str, int]:
        return dict(vars(self))


# --- measuring ----------------------------------------------------------------------------------


class Files:
    """The parts, compiled for a machine."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts = parts
        self._compiler = Compiler()
        self._made: dict[str, dict[str, bytes]] = {}

    def of(self, architecture: str) -> dict[str, bytes]:
        if architecture not in self._made:
            with tempfile.TemporaryDirectory(prefix="boardwarden-") as folder:
                made = self._compiler.compile_all(self._parts, Path(folder), architecture)
                self._made[architecture] = {name: f.read_bytes() for name, f in made.items()}
        return self._made[architecture]

    def machine_code(self) -> int:
        """The bytes of heap that machine code takes on a Pico."""
        names = [p.file.replace(".py", ".mpy") for p in self._parts.values() if p.machine_code]
        made = self.of(_PICO)
        return sum(mpy_file.native_bytes(made[name]) for name in names if name in made)


def figures(target: str, parts: Mapping[str, Part]) -> dict[str, dict[str, Figure]]:
    """The figures of a target, by way and state."""
    files = Files(parts)
    bare: Qemu | Unix32
    frozen: Qemu | Unix32
    if target == "qemu":
        bare, frozen = Qemu(build("qemu-bare")), Qemu(build("qemu"))
        architecture, added, link = "armv7m", 0, "None"
    else:
        bare, frozen = Unix32(build("unix32")), Unix32(build("unix32-frozen"))
        architecture, added, link = "x86", files.machine_code(), _STDIN
    found: dict[str, dict[str, Figure]] = {}
    for way in _WAYS:
        board = frozen if way == "frozen" else bare
        shown = files.of("any" if way == "bytecode" else architecture) if board is bare else None
        found[way] = {}
        for state in _STATES:
            steps = {"import": "import warden", "start": _START[state].format(link=link)}
            if state == "deciding":
                steps.update(_MORE)
            counts = board.count(steps, shown, in_place=way == "romfs")
            more = added if way in ("files", "romfs") else 0
            found[way][state] = figure = _figure(counts, more)
        for name in _MORE:
            figure = _added(figure, counts[name])
            found[way][name] = figure
    return found


def _figure(counts: Mapping[str, Count], machine_code: int) -> Figure:
    total = counts["import"] + counts["start"]
    return Figure(
        total.bytes + machine_code, machine_code, counts["start"].bytes, total.names,
        total.name_bytes,
    )  # fmt: skip


def _added(figure: Figure, count: Count) -> Figure:
    """A figure with what a further step takes."""
    return Figure(
        figure.bytes + count.bytes, figure.machine_code, figure.made, figure.names + count.names,
        figure.name_bytes + count.name_bytes,
    )  # fmt: skip


def by_part(parts: Mapping[str, Part]) -> dict[str, dict[str, int]]:
    """What each part is, and takes when it is imported from files and from ROMFS, on unix32."""
    board, files = Unix32(build("unix32")), Files(parts)
    loaded = ["warden", "warden.decide"]
    others = [p.module for p in parts.values() if p.module not in loaded and not p.machine_code]
    modules = [*loaded, *(m for m in others if not m.endswith("_plain"))]
    steps = {"warden": "import warden", "warden.decide": "import warden.decide"}
    steps["start"] = _START["deciding"].format(link=_STDIN)
    steps.update({m: _TRY.format(module=m) for m in modules if m not in loaded})
    counts = {
        way: board.count(steps, files.of("x86"), way == "romfs") for way in ("files", "romfs")
    }
    table = {}
    for part in parts.values():
        made = files.of("any" if not part.machine_code else _PICO).get(f"{part.file[:-3]}.mpy")
        if made is None:  # machine code of others
            continue
        row = {**contents(part.text), "rooms": len(part.rooms), "mpy_bytes": len(made)}
        if part.module in modules:
            row["files"] = counts["files"][part.module].bytes
            row["romfs"] = counts["romfs"][part.module].bytes
        if part.machine_code:
            row["machine_code"] = mpy_file.native_bytes(made)
        table[part.module] = row
    return table


_TRY = """\
try:
    import {module}
except ImportError:
    pass"""


def contents(text: str) -> dict[str, int]:
    """How many lines of code, functions, classes and names of the top level a module has."""
    tree = ast.parse(text)
    lines: set[int] = set()
    functions = classes = 0
    for node in ast.walk(tree):
        functions += isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        classes += isinstance(node, ast.ClassDef)
        lone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not lone:
            last = node.end_lineno or node.lineno
            body = getattr(node, "body", None)
            lines.update(range(node.lineno, (body[0].lineno if body else last + 1)))
            lines.add(node.lineno)
    code = {number for number in lines if _is_code(text.splitlines()[number - 1])}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    names |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    return {"lines": len(code), "functions": functions, "classes": classes, "names": len(names)}


def _is_code(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")


# --- rooms --------------------------------------------------------------------------------------

_ROOM = """
class _Any: pass
class _Package: pass
for _name, _names in {stubs!r}:
    if _name not in sys.modules:
        sys.modules[_name] = type('_Stub', (), {{}})
    for _n in _names:
        setattr(sys.modules[_name], _n, _Any)
"""


def by_room(rooms: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What each source file takes when it is imported by itself, with stand-ins for the others."""
    board, compiler = Unix32(build("unix32")), Compiler()
    table = {}
    for name, text in rooms.items():
        stubs: dict[str, set[str]] = {}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("warden"):
                stubs.setdefault(node.module or "", set()).update(a.name for a in node.names)
        listed: dict[str, set[str]] = {}
        for module, names in stubs.items():
            while module:
                listed.setdefault(module, set()).update(names)
                module, names = module.rpartition(".")[0], set()
        before = _ROOM.format(stubs=[(m, sorted(n)) for m, n in sorted(listed.items())])
        architecture = "x86" if "@micropython.viper" in text else ""
        with tempfile.TemporaryDirectory(prefix="boardwarden-") as folder:
            place = Path(folder)
            (place / "r.py").write_text(text)
            flags = [f"-march={architecture}"] if architecture else []
            try:
                compiler.compile(f"{name}.py", place / "r.py", place / "room.mpy", *flags)
                data = (place / "room.mpy").read_bytes()
                counts = board.count({"stubs": before, "room": "import room"}, {"room.mpy": data})
            except (DeployError, BuildError) as error:
                table[name] = {**contents(text), "error": str(error).strip().splitlines()[-1]}
                continue
        codes = [(c.bytes, path) for path, c in mpy_file.read(data).code.walk()]
        largest = sorted((code for code in codes if code[1] != "<module>"), reverse=True)
        table[name] = {**contents(text), "files": counts["room"].bytes, "largest": largest[:6]}
    return table


# --- telling ------------------------------------------------------------------------------------


def _print_figures(target: str, found: Mapping[str, Mapping[str, Figure]]) -> None:
    print(f"{target}: bytes of heap, after 300 names of an application")
    print(f"{'':22}{'watching':>9}{'target':>8}{'beyond':>8}{'deciding':>10}{'target':>8}"
          f"{'beyond':>8}")  # fmt: skip
    for way, states in found.items():
        line = f"{_WAYS[way]:22}"
        for state, width in (("watching", 9), ("deciding", 10)):
            wanted = TARGETS.get((way, state), ("", ""))
            line += f"{states[state].bytes:{width}}{wanted[0]:>8}{wanted[1]:>8}"
        print(line)
    print(f"\n{'beside deciding':22}{'run':>9}{'+ watchdog':>16}{'target':>8}{'stops':>10}")
    for way, states in found.items():
        run, dog, stops = (states[name].bytes - states["deciding"].bytes for name in _MORE)
        print(f"{_WAYS[way]:22}{run:9}{dog:16}{_MORE_TARGETS.get(way, ''):>8}{stops:10}")
    print()
    print(
        f"{'of which':22}{'made by start()':>16}{'machine code':>14}{'names':>7}{'their bytes':>12}"
    )
    for way, states in found.items():
        for state in _STATES:
            figure = states[state]
            print(f"{_WAYS[way]:21} {state:9}{figure.made:6}{figure.machine_code:14}"
                  f"{figure.names:7}{figure.name_bytes:12}")  # fmt: skip


def _print_parts(table: Mapping[str, Mapping[str, int]]) -> None:
    columns = ("rooms", "lines", "functions", "classes", "names", "files", "romfs", "machine_code")
    print(f"\n{'part':22}" + "".join(f"{name.replace('_', ' '):>13}" for name in columns))
    rows: dict[str, Mapping[str, int]] = dict(table)
    rows["all"] = {name: sum(row.get(name, 0) for row in table.values()) for name in columns[:4]}
    for part, row in rows.items():
        print(f"{part:22}" + "".join(f"{row.get(name, ''):>13}" for name in columns))


def _print_rooms(table: Mapping[str, Mapping[str, Any]]) -> None:
    columns = ("files", "lines", "functions", "classes", "names")
    print(f"{'room':36}" + "".join(f"{name:>10}" for name in columns) + f"{'a line':>8}")
    for room, row in sorted(table.items(), key=lambda item: -item[1].get("files", 0)):
        each = f"{row['files'] / row['lines']:8.1f}" if row.get("files") and row["lines"] else ""
        print(f"{room:36}" + "".join(f"{row.get(name, '-'):>10}" for name in columns) + each)
        if "error" in row:
            print(f"    {row['error']}")
        else:
            print("    " + ", ".join(f"{path} {size}" for size, path in row["largest"]))
    total = {name: sum(row.get(name, 0) for row in table.values()) for name in columns}
    print(f"{'all':36}" + "".join(f"{total[name]:>10}" for name in columns))


def flat(target: str, found: Mapping[str, Mapping[str, Figure]]) -> dict[str, int]:
    """The figures as they are accepted: bytes by target/way/state, names by target/way/state/names.

    `boardwarden deploy` reads them, and says with them what the agent would take of a board.
    """
    table = {}
    for way, states in found.items():
        for state, figure in states.items():
            table[f"{target}/{way}/{state}"] = figure.bytes
            table[f"{target}/{way}/{state}/names"] = figure.names
    return table


def differences(now: Mapping[str, int], accepted: Mapping[str, int]) -> list[str]:
    """What is more than TOLERANCE away from what was accepted; a line for each."""
    lines = []
    for name, size in now.items():
        before = accepted.get(name)
        if before is None or abs(size - before) > before * TOLERANCE:
            lines.append(f"{name}: {size}, accepted {before}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", choices=("unix32", "qemu"), default="unix32")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rooms", action="store_true", help="each source file by itself")
    parser.add_argument("--accept", action="store_true", help="write bench/footprint.json")
    parser.add_argument("--source", type=Path, nargs="*", default=_SOURCES, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        mps2 = [REPO / "device" / "mps2"] if options.target == "qemu" else []
        rooms = read_rooms(*options.source, *mps2)
        if options.rooms:
            table = by_room(rooms)
            print(json.dumps(table, indent=1)) if options.json else _print_rooms(table)
            return 0
        parts = join(rooms)
        found = figures(options.target, parts)
        table = by_part(parts) if options.target == "unix32" else {}
    except (BuildError, DeployError, JoinError) as error:
        say(f"footprint: {error}")
        return 2
    if options.accept:
        kept = json.loads(ACCEPTED.read_text()) if ACCEPTED.exists() else {}
        kept.update(flat(options.target, found))
        ACCEPTED.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
        board_table.write()
    if options.json:
        ways = {w: {s: f.json() for s, f in states.items()} for w, states in found.items()}
        print(json.dumps({"target": options.target, "heap": ways, "parts": table}, indent=1))
    else:
        _print_figures(options.target, found)
        if table:
            _print_parts(table)
    return 0


if __name__ == "__main__":
    with checked_output():
        sys.exit(main())
