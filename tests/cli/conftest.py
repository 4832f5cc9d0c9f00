"""What several files of this room use: a board at a terminal, and an end for commands."""

import pytest
from cli_process import TerminalBoard, kill_started

from boardwarden import testing


@pytest.fixture
async def no_leftovers():
    """End every command with its test, however that went."""
    yield
    await kill_started()


@pytest.fixture
async def fake():
    """Return a fake board, up for 10 s, that samples when told to, at a terminal."""
    terminal = TerminalBoard(testing.FakeBoard())
    yield terminal
    terminal.close()
