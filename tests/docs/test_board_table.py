"""README's table of boards is what was counted."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
from places import REPO

from boardwarden.deploy.choosing import STATES, Footprint


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(REPO / "tools")
    return importlib.import_module("board_table")


def test_the_table_is_up_to_date(tool, capsys) -> None:
    """After make footprint-accept, or a change to its boards: python tools/board_table.py."""
    assert tool.main(["--check"]) == 0, capsys.readouterr().out


def test_a_table_that_is_not_is_found(tool, tmp_path, monkeypatch) -> None:
    old = tmp_path / "README.md"
    old.write_text((REPO / "README.md").read_text().replace(" % / ", " %/"))
    monkeypatch.setattr(tool, "README", old)
    assert tool.main(["--check"]) == 1
    assert tool.main([]) == 0
    assert old.read_text() == (REPO / "README.md").read_text()


def test_what_leaves_less_than_a_third_is_too_much(tool) -> None:
    sizes = {"files": (40, 67), "romfs": (20, 66), "frozen": (68, 70)}
    figures = {
        (way, state): Footprint(size, 0)
        for way, both in sizes.items()
        for state, size in zip(STATES, both, strict=True)
    }
    board = tool.Stock("A", 100, "1.0", "https://example.org", romfs=True)
    *_, row = tool.table(figures, [board]).splitlines()
    assert row == (
        "| A | [100 B](https://example.org) (1.0) | 40 % / too much | 20 % / 66 % | too much |"
    )
    *_, row = tool.table(figures, [tool.Stock("A", 10_000, "1.0", "x")]).splitlines()
    assert row.endswith("| < 1 % / < 1 % | no partition | < 1 % / < 1 % |")
