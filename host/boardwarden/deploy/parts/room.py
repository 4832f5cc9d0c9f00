"""What joining has to know of a source file, and what must hold between those that it joins."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .places import BY_TEXT, HOSTS, PACKAGES, SETUP, SOMETIMES, WATCH, is_ours, part_of

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


class Checks:
    """Finds what keeps rooms from being joined; each finding is a line in `problems`.

    - A room is imported by `from warden.room import name`, never `as`, each on lines of its own.
      What is imported is there, and is no `_X = const(…)`, which has no value outside its file.
    - At the top of a room, unless it is in a part that is loaded when needed.
    - Somebody imports each room, and no two rooms or parts import each other in a circle. What is
      always loaded is imported by more than one part that is not, or by that which makes the agent.
    - In a part a name of the top level is bound in one room only. The same import, the same
      `try: import …` and a `const(…)` of the same value may stand in several.
    - No such name hides a builtin that another room of the part uses, and no name of `warden` is
      that of a module in it, which would take its place when it is imported.
    - Machine code has its part to itself: a board that cannot load it does without the file.
    """

    def __init__(self, rooms: Mapping[str, Room]) -> None:
        self.rooms = rooms
        self.problems = [problem for room in rooms.values() for problem in room.problems]
        self._part_imports: dict[str, dict[str, str]] = {}

    def empty(self, name: str) -> None:
        """Check that a folder's __init__.py has nothing but a docstring."""
        room = self.rooms[name]
        for statement in room.tree.body:
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                where = f"{name.replace('.', '/')}/__init__.py:{statement.lineno}"
                self.problems.append(f"{where}: a board does not get this file: leave it empty")

    def imports(self, name: str) -> None:
        """Check what one room imports of others."""
        room = self.rooms[name]
        for line in room.imports:
            where = f"{room.at(line.first)}: `from {line.target} import {', '.join(line.names)}`"
            target = self.rooms.get(line.target)
            if target is None:
                if line.target in HOSTS:
                    self.problems.append(f"{where}: that is the host's")
                elif line.target not in SOMETIMES:
                    self.problems.append(f"{where}: there is no such room")
                continue
            for wanted in line.names:
                found = [bound for bound in target.bound if bound.name == wanted]
                if not found:
                    self.problems.append(f"{where}: {target.file} has no `{wanted}`")
                elif found[0].private_constant:
                    self.problems.append(
                        f"{where}: `{wanted}` is a private const ({target.at(found[0].line)}), "
                        "which has no value outside its file"
                    )
            mine, theirs = part_of(name), part_of(line.target)
            if mine == theirs and line.place != "top":
                self.problems.append(
                    f"{where}: it is in the same part, so import it at the top of the file"
                )
            elif mine != theirs and line.place != "function":
                self._part_imports.setdefault(mine, {}).setdefault(theirs, where)

    def ordered(self, part: str, members: list[str]) -> list[str]:
        """Return a part's rooms, each after those that it imports."""
        inside = set(members)
        importers: dict[str, set[str]] = {}  # of rooms that other parts import
        for name in sorted(self.rooms):
            for line in self.rooms[name].imports:
                if line.target in inside and part_of(name) != part:
                    importers.setdefault(line.target, set()).add(part_of(name))
        for name in BY_TEXT & inside:
            importers.setdefault(name, set()).add("warden.public")
        order: list[str] = []
        if part == WATCH:  # the public names and what they need, which is all but an odd room
            importers.pop(WATCH, None)
            self._visit(WATCH, inside, [], order)
            for name, others in importers.items():
                if SETUP in others:
                    self._visit(name, inside, [], order)
            for name, others in importers.items():
                if name not in order and len(others) == 1:
                    (other,) = others
                    self.problems.append(
                        f"{self.rooms[name].file}: only {other} imports it, so it belongs there"
                    )
        for root in importers:
            self._visit(root, inside, [], order)
        for name in sorted(inside - set(order)):
            if name in SOMETIMES or not self._in_circle(name, inside):
                self.problems.append(f"{self.rooms[name].file}: nobody imports this room")
        return order

    def _visit(self, name: str, inside: set[str], path: list[str], order: list[str]) -> None:
        if name in order:
            return
        if name in path:
            self._circle([*path[path.index(name) :], name])
            return
        for line in self.rooms[name].imports:
            if line.target in inside and line.place == "top":
                self._visit(line.target, inside, [*path, name], order)
        if name not in order:
            order.append(name)

    def _circle(self, path: list[str]) -> None:
        # From the first in the alphabet: a circle is told of once, wherever it was entered.
        start = path.index(min(path))
        path = [*path[start:-1], *path[:start], path[start]]
        steps = []
        for place in range(len(path) - 1):
            room, target = self.rooms[path[place]], path[place + 1]
            line = next(line for line in room.imports if line.target == target)
            steps.append(f"{room.at(line.first)} imports {target}")
        self.problems.append("rooms import each other in a circle: " + ", ".join(steps))

    def _in_circle(self, name: str, inside: set[str]) -> bool:
        before = len(self.problems)
        self._visit(name, inside, [], [])
        found = len(self.problems) > before
        return found

    def circles_of_parts(self) -> None:
        """Check that no parts import each other while they are being loaded."""
        done: set[str] = set()

        def visit(part: str, path: list[str]) -> None:
            if part in path:
                circle = [*path[path.index(part) :], part]
                steps = [
                    self._part_imports[circle[place]][circle[place + 1]]
                    for place in range(len(circle) - 1)
                ]
                self.problems.append("parts import each other in a circle: " + "; ".join(steps))
            elif part not in done:
                for target in self._part_imports.get(part, {}):
                    visit(target, [*path, part])
                done.add(part)

        for part in sorted(self._part_imports):
            visit(part, [])

    def names(self, part: str, ordered: list[str]) -> None:
        """Check that a part's rooms can share one namespace."""
        owner: dict[str, tuple[Room, Name]] = {}
        for name in ordered:
            room = self.rooms[name]
            for bound in room.bound:
                if self._is_inner_import(room, bound, part):
                    continue
                there = owner.setdefault(bound.name, (room, bound))
                if there[0] is not room and (bound.same is None or bound.same != there[1].same):
                    self.problems.append(
                        f"{room.at(bound.line)}: `{bound.name}` is another one in "
                        f"{there[0].at(there[1].line)}, and both are joined into {part}"
                    )
            if room.machine_code and not room.name.endswith("_viper"):
                self.problems.append(
                    f"{room.file}: machine code takes its whole file along where it cannot be "
                    "compiled: put it into a file named …_viper.py"
                )
        for bound_name, (owning, bound) in owner.items():
            if hasattr(builtins, bound_name):
                for name in ordered:
                    room = self.rooms[name]
                    line = room.loads.get(bound_name)
                    own = {each.name for each in room.bound}
                    if room is not owning and line and bound_name not in own:
                        self.problems.append(
                            f"{owning.at(bound.line)}: `{bound_name}` hides the builtin that "
                            f"{room.at(line)} uses"
                        )
            if part == WATCH:
                self._hidden_by_a_module(owning, bound)

    def _is_inner_import(self, room: Room, bound: Name, part: str) -> bool:
        """Whether a name is bound by an import that is dropped."""
        return any(
            bound.name in line.names
            and line.first <= bound.line <= line.last
            and part_of(line.target) == part
            for line in room.imports
        )

    def _hidden_by_a_module(self, room: Room, bound: Name) -> None:
        for module in {part_of(name) for name in self.rooms}:
            if module == f"{WATCH}.{bound.name}":
                self.problems.append(
                    f"{room.at(bound.line)}: `warden.{bound.name}` would become the module "
                    f"{module} when that is imported"
                )
