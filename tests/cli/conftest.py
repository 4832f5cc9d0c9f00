"""What several files of this room use: a board at a terminal."""

import pytest
from cli_process import TerminalBoard

from boardwarden import testing


@pytest.fixture
async def fake():
    """Return a fake board, up for 10 s, that samples when told to, at a terminal."""
    terminal = TerminalBoard(testing.FakeBoard())
    yield terminal
    terminal.close()
