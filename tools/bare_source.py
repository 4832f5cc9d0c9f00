"""A module's text as small as a board with little heap wants it."""

from __future__ import annotations

import ast


def bare(source: str) -> str:
    """The same without comments and docstrings, which take room on a small board."""
    tree = ast.parse(source)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)
