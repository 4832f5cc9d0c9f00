"""The library logs to "boardwarden", and never prints."""

from __future__ import annotations

import ast
import logging

import pytest
from places import REPO
from virtual_time import run, until

from boardwarden import connect
from boardwarden.testing import FakeBoard, FakeTransport

HOST = REPO / "host" / "boardwarden"
PRINTS = {"cli", "demo.py", "_program.py"}  # programs


def test_link_changes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        peer = FakeBoard()
        async with connect(FakeTransport(peer)) as board:
            peer.mute = True
            await until(lambda: not board.connected)
            peer.mute = False
            await until(lambda: board.connected)
            peer.restart()
            await until(lambda: board.status.board.boot_id == 2)

    with caplog.at_level(logging.INFO, "boardwarden"):
        run(main())
    said = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert said[:3] == ["connected", "link lost", "connected"]
    assert "the board restarted: power_on" in said[3:]
    assert all(record.name.startswith("boardwarden.") for record in caplog.records)


def test_the_library_never_prints() -> None:
    for file in HOST.rglob("*.py"):
        if file.relative_to(HOST).parts[0] in PRINTS:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id == "print"), file
