"""What joining has to know of one source file: what it binds, imports and uses, and where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from .places import PACKAGES, WATCH, is_ours, part_of

_COMPOUND = (ast.Try, ast.If, ast.With, ast.For, ast.While)


class JoinError(Exception):
    """Rooms that cannot be joined; a line for each reason, with the rooms' names and lines."""


@dataclass
class Import:
    """An import of a room: `from target import names`, in the lines first to last."""

    target: str
    names: tuple[str, ...]
    first: int
    last: int
    indent: str
    place: str  # "top", "block" (of a try or if at the module's level) or "function"


@dataclass
class Name:
    """What binds a name at a room's top level. Two bindings with the same `same` are one."""

    name: str
    line: int
    same: object = None
    private_constant: bool = False


@dataclass
class Room:
    name: str
    text: str
    imports: list[Import] = field(default_factory=list)
    bound: list[Name] = field(default_factory=list)
    loads: dict[str, int] = field(default_factory=dict)  # names that are used, with a line
    problems: list[str] = field(default_factory=list)
    machine_code: bool = False
    tree: ast.Module = field(init=False)

    def __post_init__(self) -> None:
        self.tree = ast.parse(self.text, self.file)
        self.lines = self.text.splitlines()
        constants: dict[str, object] = {}
        for statement in self.tree.body:
            self._bind(statement, statement, constants)
        self._walk(self.tree, "top")

    @property
    def file(self) -> str:
        """The name of the file, for messages and comments."""
        return "warden/__init__.py" if self.name == WATCH else self.name.replace(".", "/") + ".py"

    def at(self, line: int) -> str:
        return f"{self.file}:{line}"

    # What is bound at the top level.

    def _bind(self, node: ast.stmt, whole: ast.stmt, constants: dict[str, object]) -> None:
        """Note the names that a statement binds; `whole`: the statement of the top level."""
        block = None if node is whole else ast.dump(whole)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._add(node.name, node.lineno, None)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                self._add(name, node.lineno, block or ("import", alias.name, alias.asname))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                module = part_of(node.module or "") if is_ours(node.module) else node.module
                same = ("from", module, alias.name)
                self._add(alias.asname or alias.name, node.lineno, block or same)
        elif isinstance(node, _COMPOUND):
            for child in _statements(node):
                self._bind(child, whole, constants)
            self._bind_targets(node, block or ast.dump(whole))
        else:
            found = constant(node, constants)
            if found:
                name, value = found
                self.bound.append(Name(name, node.lineno, ("const", value), name.startswith("_")))
            else:
                self._bind_targets(node, block)

    def _bind_targets(self, node: ast.stmt, same: object) -> None:
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.For)):
            targets = [node.target]
        elif isinstance(node, ast.With):
            targets = [item.optional_vars for item in node.items if item.optional_vars]
        for target in targets:
            for child in ast.walk(target):
                if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                    self._add(child.id, node.lineno, same)

    def _add(self, name: str, line: int, same: object) -> None:
        self.bound.append(Name(name, line, same))

    # What it imports and uses.

    def _walk(self, node: ast.AST, place: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = place
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inner = "function"
                self.machine_code |= any(map(_is_machine_code, child.decorator_list))
            elif isinstance(child, ast.ImportFrom):
                self._import(child, place)
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    if is_ours(alias.name):
                        self.problems.append(
                            f"{self.at(child.lineno)}: `import {alias.name}` cannot be joined: "
                            "write `from ROOM import NAME`"
                        )
            elif isinstance(child, ast.Global):
                known = {bound.name for bound in self.bound}
                self.bound += [Name(n, child.lineno) for n in child.names if n not in known]
            elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load):
                self.loads.setdefault(child.id, child.lineno)
            elif isinstance(child, (*_COMPOUND, ast.ClassDef)) and place == "top":
                inner = "block"
            self._walk(child, inner)

    def _import(self, node: ast.ImportFrom, place: str) -> None:
        if node.level:
            self.problems.append(f"{self.at(node.lineno)}: a relative import cannot be joined")
        if node.level or not is_ours(node.module):
            return
        assert node.module is not None
        statement = ast.unparse(node)
        where = f"{self.at(node.lineno)}: `{statement}`"
        if node.module in PACKAGES:
            self.problems.append(f"{where}: name the room, as in `from {node.module}.ROOM import`")
            return
        if any(alias.name == "*" or alias.asname for alias in node.names):
            self.problems.append(f"{where}: `as` and `*` cannot be joined")
            return
        first, last = node.lineno, node.end_lineno or node.lineno
        before = self.lines[first - 1].encode()[: node.col_offset].decode()
        after = self.lines[last - 1].encode()[node.end_col_offset :].decode().strip()
        if before.strip() or (after and not after.startswith("#")):
            self.problems.append(f"{where}: an import must have its lines to itself")
            return
        names = tuple(alias.name for alias in node.names)
        self.imports.append(Import(node.module, names, first, last, before, place))


def _is_machine_code(decorator: ast.expr) -> bool:
    last = getattr(decorator, "attr", getattr(decorator, "id", ""))
    return last in ("viper", "native") or last.startswith("asm_")


def _statements(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statements in the blocks of a compound one."""
    for name in ("body", "orelse", "finalbody"):
        yield from getattr(node, name, ())
    for handler in getattr(node, "handlers", ()):
        yield from handler.body


def constant(node: ast.stmt, known: dict[str, object]) -> tuple[str, object] | None:
    """The name and value of `NAME = const(…)`, by which MicroPython's compiler replaces it."""
    if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
        return None
    target, call = node.targets[0], node.value
    if not (isinstance(call.func, ast.Name) and call.func.id == "const" and call.args):
        return None
    if not isinstance(target, ast.Name):
        return None
    try:
        code = compile(ast.Expression(call.args[0]), "const", "eval")
        value = eval(code, {"__builtins__": {}}, known)
    except Exception:
        value = ast.dump(call.args[0])
    known[target.id] = value
    return target.id, value
