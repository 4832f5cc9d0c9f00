"""The array that the C module fills: its struct, the board's constants and the tests' are one."""

from __future__ import annotations

import re

from places import REPO

SOURCE = (REPO / "device/native/_warden/_warden.c").read_text()


def _fields() -> list[str]:
    """The ints of heap_t, in order; its last member is a struct of its own."""
    body = re.search(r"typedef struct \{\n((?:.*\n)+?)\} heap_t;", SOURCE)
    assert body is not None
    names = []
    for line in re.findall(r"int32_t ([^;]+);", body[1]):
        names += line.replace(" ", "").split(",")
    return names


def _constants(file: str) -> dict[str, int]:
    text = (REPO / file).read_text()
    return {name: int(value) for name, value in re.findall(r"^_(\w+) = const\((\d+)\)", text, re.M)}


def test_the_boards_indices_equal_the_structs_fields() -> None:
    memory = _constants("device/warden/sensors/memory.py")
    for name in ("TOTAL", "FREE", "LARGEST", "COLLECTIONS", "LIVE"):
        assert _fields()[memory[f"HEAP_{name}"]] == name.lower()
    runs = re.search(r"typedef struct \{ int32_t ([^;]+); \} runs_t;", SOURCE)
    assert runs is not None
    memory |= _constants("device/warden/setup.py")
    assert memory["HEAP_STATE_BYTES"] == 4 * (len(_fields()) + len(runs[1].split(",")))


def test_the_document_lists_the_fields_in_order() -> None:
    text = (REPO / "docs/native.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` ", text, re.M)
    assert [(str(place), name) for place, name in enumerate(_fields()[:11])] == rows


def test_the_c_source_has_fewer_than_200_lines() -> None:
    assert len(SOURCE.splitlines()) < 200
