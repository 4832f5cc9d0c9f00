"""What is caught is caught with no memory left, too.

`except (A, B)` makes a tuple each time it is looked at, and where no block of the heap is free that
raises MemoryError out of the handler: the exception ends what the handler was to protect.
"""

from __future__ import annotations

import ast
from pathlib import Path

from places import REPO

# Loaded to set something up, for a call that reads or writes files, or at an import: where there is
# no memory for a tuple they end anyway.
_NEED_MEMORY = {
    *("warden/budgets.py", "warden/extras.py", "warden/last_boot.py", "warden/launch.py"),
    *("warden/link/keys.py", "warden/link/terminal.py"),
    *("warden/policy/publish.py", "warden/sensors/find_table.py", "warden/detect.py"),
    *("warden/policy_setup.py", "warden/runner.py", "warden_schema/loops.py"),
}
# A host's malformed frame in such a heap counts as a fault of the agent instead: nothing is lost.
_A_FAULT = {"warden/host_session.py"}


def _handlers_of_several(file: Path) -> list[int]:
    """Return the lines of the handlers in a file that name several exceptions."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [
        node.lineno
        for node in nodes
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple)
    ]


def test_no_handler_of_what_runs_beside_an_application_needs_the_heap() -> None:
    found = {}
    for root in (REPO / "device", REPO / "shared_schema"):
        for package in ("warden", "warden_schema"):
            for file in sorted((root / package).rglob("*.py")):
                found[str(file.relative_to(root))] = _handlers_of_several(file)
    assert len(found) > 60
    several = {name for name, lines in found.items() if lines}
    assert several - _NEED_MEMORY - _A_FAULT == set()
    assert (_NEED_MEMORY | _A_FAULT) - several == set(), "which are named for nothing"
