"""Each test file is in a room, and the rooms that `make check` runs start no board."""

from __future__ import annotations

import ast
import re

from places import REPO

TESTS = REPO / "tests"
ROOMS = {"unit", "protocol", "cli", "boards", "docs"}
# The helpers that start a real MicroPython or build a firmware.
STARTS_BOARDS = {"built_firmware", "doc_programs", "find_micropython", "model", "repl_board"}


def _rooms_of_check() -> set[str]:
    match = re.search(r"^FAKES := (.+)$", (REPO / "Makefile").read_text(encoding="utf-8"), re.M)
    assert match is not None
    return {word.removeprefix("tests/") for word in match[1].split()}


def _imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_every_test_file_is_in_a_room() -> None:
    found = {file.relative_to(TESTS).parent.as_posix() for file in TESTS.rglob("test_*.py")}
    assert found == ROOMS


def test_make_check_runs_the_rooms_without_boards() -> None:
    assert _rooms_of_check() == ROOMS - {"boards", "docs"}


def test_no_room_of_make_check_imports_what_starts_a_board() -> None:
    found = {
        f"{room}/{file.name}": sorted(_imported(file.read_text("utf-8")) & STARTS_BOARDS)
        for room in _rooms_of_check()
        for file in (TESTS / room).glob("*.py")
    }
    # It reads the names of the board's functions, and runs none.
    assert found.pop("unit/test_public_names.py") == ["doc_programs"]
    assert {name: names for name, names in found.items() if names} == {}
