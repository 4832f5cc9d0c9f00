"""What must hold between source files that are joined into one module."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping

from .places import BY_TEXT, HOSTS, SETUP, SOMETIMES, WATCH, part_of
from .room import Name, Room


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
                    if room is not owning and line and not _binds(room, bound_name):
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


def _binds(room: Room, name: str) -> bool:
    return any(bound.name == name for bound in room.bound)
