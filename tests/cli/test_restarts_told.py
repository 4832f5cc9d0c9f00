"""A board that restarts, and why, is told by every command that follows one, each in its way."""

import asyncio
import contextlib

import pytest

from boardwarden import connect, testing
from boardwarden.cli import look, record
from boardwarden.recording.store import Rotation
from warden_schema import ids

LIMIT_S = 20.0
BEFORE = [1, "pwron", 3, 1, 11, None, None, None, None, None, None, None]
CRASH = [2, "wdt", 0, 1, 12, 4000, "sync", 51_200, None, 4, 0, None]
TOLD = "the board restarted: watchdog, after 4000 s, sync was running"


@pytest.fixture
def board():
    """Return a board that samples, and keeps its resets."""
    fake = testing.FakeBoard()
    fake.interval_s = 0.02
    fake.policy.used = True
    fake.policy.crash_lists[ids.RESTART] = [BEFORE]
    return fake


@pytest.fixture
def link(board):
    """Return the way to it."""
    return testing.FakeTransport(board)


def crash(board, link, entry=CRASH):
    """Have the board restart, and its list say why, if it does."""
    if entry is not None:
        board.policy.crash_lists[ids.RESTART] = [BEFORE, entry]
    board.restart()
    board.policy.used = True
    link.cut()


def recorded(link, path):
    return record._record(record.Wanted(path / "a.db", [link], Rotation(), None, None), False)


COMMANDS = {
    "watch": lambda link, path: look._print_all([link], False),
    "watch --json": lambda link, path: look._print_all([link], True),
    "events --follow": lambda link, path: look._events(link, True, False),
    "console": lambda link, path: look._console(link, False),
    "top": lambda link, path: look._top(link, False, False),
    "record": recorded,
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_command_that_follows_a_board_tells_once_that_it_restarted_and_why(
    board, link, capsys, tmp_path, monkeypatch, name
):
    monkeypatch.setattr("boardwarden.cli.record.connect", lambda _: connect(link))
    monkeypatch.setattr("boardwarden.cli.terminal._POLL_S", 0.05)
    task = asyncio.create_task(COMMANDS[name]("fake" if name == "record" else link, tmp_path))
    seen = ""

    async def until(true):
        nonlocal seen
        while not true():
            assert not task.done(), task.result()
            await asyncio.sleep(0.01)
            said = capsys.readouterr()
            seen += said.out + said.err

    try:
        await asyncio.wait_for(until(lambda: (board.values["uptime_s"] or 0) > 20), LIMIT_S)
        crash(board, link)
        await asyncio.wait_for(until(lambda: TOLD in seen), LIMIT_S)
        await asyncio.wait_for(until(lambda: (board.values["uptime_s"] or 0) > 20), LIMIT_S)
        assert seen.count("the board restarted") == 1
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_a_restart_was_follows_from_the_list_of_resets(board, link):
    async with connect(link) as followed:
        assert followed.restarts == ()
        assert followed.synced

        async def counted(count):
            async for _ in followed.changes():
                if followed.restart_count == count:
                    return

        async def restart(entry):
            count = followed.restart_count + 1
            crash(board, link, entry)
            await asyncio.wait_for(counted(count), LIMIT_S)
            return followed.restarts[-1]

        found = await restart(CRASH)
        assert (found.cause, found.expected, found.uptime_s) == ("wdt", False, 4000)
        same = await restart(None)  # the agent alone was started anew, say
        assert (same.cause, same.expected) == (None, None)
        assert str(same) == "the board restarted: nobody knows why"
        text = b"main.py:9 main\nOSError: [Errno 5] EIO\n"
        found = await restart([3, "exception", 1, 1, 14, 5, None, None, None, None, 0, text])
        assert str(found) == "the board restarted: OSError: [Errno 5] EIO, after 5 s"
        board.policy.crash_lists[ids.RESTART] = []
        assert (await restart(None)).cause == "power_on"  # the port's word
        assert len(followed.restarts) == followed.restart_count == 4
