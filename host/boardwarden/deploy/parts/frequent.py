"""The names that a module uses most, brought to the front of its table of names.

Bytecode names an attribute or a global by its place in that table: in one byte for the first 128
names, in two for the others. The compiler fills the table in the order in which it meets names, the
module's own statements first. So a joined module begins with a line that mentions the most frequent
ones, and that stops at its first word when it runs. That saves 1 KB of `warden`, and as much flash.
"""

from __future__ import annotations

import ast
from collections import Counter

_TABLE = 128  # places that take one byte
_OTHERS = 10  # of them are filled before: the file's name, and what modules begin with


def line_for(tree: ast.Module) -> str:
    """Return the line for a module's beginning, and why; "" where its names all have one byte."""
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
