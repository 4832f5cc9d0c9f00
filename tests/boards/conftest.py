"""What several files of this room use: a broker, a fleet's key, boards, a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from mosquitto_server import Mosquitto
from tcp_board import TcpBoard

from boardwarden import keys
from boardwarden._protocol.keys import Secret


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


@pytest.fixture
def secret(tmp_path: Path) -> tuple[Secret, Path]:
    made, file = keys.new_secret("control"), tmp_path / "fleet.key"
    keys.save(file, made)
    return made, file


@pytest.fixture
async def granted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Return the address of a board whose application has granted itself one thing of each kind."""
    async with TcpBoard(monkeypatch, "grants.py", b"granted\n") as board:
        yield board.address
