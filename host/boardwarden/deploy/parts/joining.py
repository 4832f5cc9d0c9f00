"""Joining source files into the modules that a board gets."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .places import DECIDE, SERVE, SESSION, WATCH, file_of, is_ours, is_package, part_of
from .room import Checks, JoinError, Room, constant

_TABLE = 128  # places that take one byte
_OTHERS = 10  # of them are filled before: the file's name, and what modules begin with


def line_for(tree: ast.Module) -> str:
    """Return the line that brings the names a module uses most to the front of its table of names.

    "" where its names all have one byte. Bytecode names an attribute or a global by its place in
    that table: in one byte for the first 128 names, in two for the others. The compiler fills the
    table in the order in which it meets names, the module's own statements first. So a joined
    module begins with a line that mentions the most frequent ones, and that stops at its first word
    when it runs. That saves 1 KB of `warden`, and as much flash.
    """
    counts = _Counts()
    counts.visit(tree)
    if len(counts.names) < _TABLE:
        return ""
    del counts.names["<lambda>"]  # which no line can mention
    names = [name for name, _ in counts.names.most_common(_TABLE - _OTHERS)]
    return (
        f"# What is used most, so that it takes one byte.\n__name__ or __name__.{'.'.join(names)}\n"
    )


class _Counts(ast.NodeVisitor):
    """How often each name stands in the bytecode, nearly."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self._local: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        given = [argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)]
        self.names.update(given)  # the function lists them
        self.names[getattr(node, "name", "<lambda>")] += 2
        outside, self._local = self._local, self._local | set(given) | _bound_in(node)
        self.generic_visit(node)
        self._local = outside

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit_FunctionDef(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names[node.name] += 4
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.names[node.attr] += 1
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg:
            self.names[node.arg] += 1
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        constant = node.id.startswith("_") and node.id.isupper()  # the compiler has its value
        if node.id not in self._local and not constant:
            self.names[node.id] += 1


def _bound_in(node: ast.AST) -> set[str]:
    """The names that are local in a function because something is bound to them there."""
    bound: set[str] = set()
    elsewhere: set[str] = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            bound.add(child.id)
        elif isinstance(child, ast.ExceptHandler) and child.name:
            bound.add(child.name)
        elif isinstance(child, ast.Global):
            elsewhere.update(child.names)
    return bound - elsewhere


@dataclass(frozen=True)
class Part:
    """A module for the board."""

    module: str
    rooms: tuple[str, ...]  # in the order in which they stand in it
    text: str
    machine_code: bool

    @property
    def file(self) -> str:
        """The file's name below the board's lib, which tracebacks show, too."""
        return file_of(self.module)

    @property
    def twin(self) -> str:
        """The file of the same functions in bytecode, for machine code; "" for other parts."""
        return f"{self.file[: -len('_viper.py')]}_plain.py" if self.machine_code else ""


def join(rooms: Mapping[str, str]) -> dict[str, Part]:
    """Return the parts that rooms make, by file; raise JoinError where a rule is broken."""
    parsed = {name: Room(name, text) for name, text in rooms.items()}
    checks = Checks(parsed)
    members: dict[str, list[str]] = {}
    for name in parsed:
        if is_package(name, rooms):
            checks.empty(name)
        else:
            members.setdefault(part_of(name), []).append(name)
            checks.imports(name)
    orders = {}
    for module in sorted(members):
        orders[module] = checks.ordered(module, members[module])
        checks.names(module, orders[module])
    checks.circles_of_parts()
    if checks.problems:
        raise JoinError("\n".join(dict.fromkeys(checks.problems)))
    parts = {}
    for module, order in orders.items():
        joined = [parsed[name] for name in order]
        machine_code = any(room.machine_code for room in joined)
        text = _joined(joined, module in (WATCH, DECIDE, SESSION, SERVE))
        parts[file_of(module)] = Part(module, tuple(order), text, machine_code)
    return parts


def write(parts: Mapping[str, Part], folder: Path) -> dict[str, Path]:
    """Write parts' files below a folder, where they differ; return their paths by file."""
    paths = {}
    for name, part in parts.items():
        paths[name] = path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != part.text:
            path.write_text(part.text, encoding="utf-8")
    return paths


def _joined(rooms: Iterable[Room], binds_builtins: bool) -> str:
    """The text of a part: its rooms' one after another, without what it has already."""
    texts = []
    seen: set[object] = set()
    for room in rooms:
        text = _with_imports(room, seen)
        texts.append(f"# --- {room.file}\n{text.strip()}\n")
    # The compiler folds const() without its name, which would be one more of the module's.
    text = re.sub(r"^from micropython import const\n", "", "\n\n".join(texts), flags=re.MULTILINE)
    text = re.sub(r"^(from micropython import )const, ", r"\1", text, flags=re.MULTILINE)
    text = re.sub(r"\n{4,}", "\n\n\n", text)
    text = _without_class_names(text)
    tree = ast.parse(text)
    for node in ast.walk(tree):  # the compiler drops annotations
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    return line_for(tree) + (_builtins_line(tree) if binds_builtins else "") + text


def _without_class_names(text: str) -> str:
    """Have each class of a module begin by dropping two names that nothing reads.

    MicroPython puts both into each class (py/compile.c), and `__name__` is none of them. Dropped
    first, they make room for methods: 16 to 64 bytes of heap for each class, frozen, too. The line
    itself takes none: it is garbage once the class is made.
    """
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef) and node.body[0].lineno > node.lineno:
            first = node.body[0]  # mostly its docstring
            line = " " * first.col_offset + "del __module__, __qualname__"
            lines[(first.end_lineno or first.lineno) - 1] += "\n" + line
    return "\n".join(lines) + "\n"


# MicroPython looks for a builtin in the whole of the module's names first and then, one after the
# other, through all builtins: 250 to 2 000 instructions each time. As a name of the module, which
# takes 8 bytes, it is found in 100: worth it for one that stands in several places.
_BUILTINS = ("getattr", "hasattr", "int", "isinstance", "len", "max", "min", "str")
_PLACES = 3


def _builtins_line(tree: ast.Module) -> str:
    """Return the line that makes builtins which a module uses names of its own."""
    counts = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    names = [name for name in _BUILTINS if counts[name] >= _PLACES]
    return f"from builtins import {', '.join(names)}\n" if names else ""


def _with_imports(room: Room, seen: set[object]) -> str:
    """The text of a room with its imports as they are among parts.

    seen: what the rooms before it in the part have bound.
    """
    part = part_of(room.name)
    lines = room.text.splitlines()
    for line in room.imports:
        target = part_of(line.target)
        new = f"{line.indent}from {target} import {', '.join(line.names)}"
        _replace(lines, line.first, line.last, [] if target == part else [new])
    for statement in room.tree.body:
        _drop_repeated(statement, lines, seen)
    return "\n".join(line for line in lines if line != _GONE)


_GONE = "\0"


def _replace(lines: list[str], first: int, last: int, new: list[str]) -> None:
    """Exchange lines, and keep the numbers of those that follow."""
    lines[first - 1 : last] = [*new, *[_GONE] * (last - first + 1 - len(new))]


def _drop_repeated(statement: ast.stmt, lines: list[str], seen: set[object]) -> None:
    """Drop what binds names that an earlier room of the part has bound just so."""
    first, last = statement.lineno, statement.end_lineno or statement.lineno
    keys: dict[tuple[str | None, str, str | None], ast.alias]
    if isinstance(statement, ast.Import):
        keys = {(None, alias.name, alias.asname): alias for alias in statement.names}
    elif isinstance(statement, ast.ImportFrom):
        if lines[first - 1] == _GONE:  # of a room in this part
            return
        if is_ours(statement.module):
            statement = ast.parse(lines[first - 1].strip()).body[0]  # as it is among parts
            assert isinstance(statement, ast.ImportFrom)
        keys = {(statement.module, alias.name, alias.asname): alias for alias in statement.names}
    else:
        found = constant(statement, {})
        if found is not None or isinstance(statement, ast.Try):
            key = found[0] if found else ast.dump(statement)
            if key in seen:
                _replace(lines, first, last, [])
            seen.add(key)
        return
    names = [alias for key, alias in keys.items() if key not in seen]
    seen.update(keys)
    if len(names) < len(keys):
        statement.names = names
        _replace(lines, first, last, [ast.unparse(statement)] if names else [])
