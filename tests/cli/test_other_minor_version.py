"""An agent of the minor version before, or after: it is read all the same, and said to be."""

import json

import pytest
from cli_process import TerminalBoard, kill_started, run

from boardwarden import connect, testing
from warden_schema import ids

OURS = f"{ids.PROTOCOL_MAJOR}.{ids.PROTOCOL_MINOR}"


@pytest.fixture
async def board():
    """Return a fake board at a terminal; all commands end with the test."""
    terminal = TerminalBoard(testing.FakeBoard())
    terminal.board.interval_s = 0.05
    yield terminal
    terminal.close()
    await kill_started()


def speak(board, minor):
    """Have a board speak another minor version; an older one sends fewer values, a newer more."""
    board.version = (ids.PROTOCOL_MAJOR, minor)
    figures = board._figures

    def of_that_version():
        return figures()[:-1] if minor < ids.PROTOCOL_MINOR else [*figures(), 7]

    board._figures = of_that_version
    return f"{ids.PROTOCOL_MAJOR}.{minor}"


@pytest.mark.parametrize(
    ("step", "word", "advice"),
    [
        (-1, "older", "The agent is older than this host: `boardwarden deploy "),
        (1, "newer", "The agent is newer than this host: `pip install --upgrade boardwarden`"),
    ],
)
async def test_an_agent_of_another_minor_version_works_and_is_said(board, step, word, advice):
    theirs = speak(board.board, ids.PROTOCOL_MINOR + step)
    done = await run("status", "--json", "--board", board.port)
    assert done.status == 0
    status = json.loads(done.out)
    assert (status["board"]["protocol"], status["memory"]["total_bytes"]) == (theirs, 240_000)
    what = {"older": "what it lacks is unknown", "newer": "what is new in it is not shown"}[word]
    note = f"its agent is {word} than this host (protocol {theirs}, not {OURS}): {what}"
    assert done.err == f"boardwarden: {board.port}: {note}\n"
    done = await run("limits", "--max-operations", "2", "--board", board.port)
    assert done.err.startswith(f"boardwarden: {board.port}: its agent is {word}")
    told = await run("doctor", board.port, "--for", "0.5")
    assert advice in " ".join(told.out.split())


async def test_an_agent_of_our_version_needs_no_note(board):
    assert (await run("status", "--board", board.port)).err == ""
    async with connect(board.port) as host:
        assert host.version_note is None
