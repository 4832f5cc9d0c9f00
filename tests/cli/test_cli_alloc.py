"""The commands about what a board grants as processes, with the real unix port and terminals."""

import asyncio
import json
import signal

import pytest
from cli_process import (
    LIMIT_S,
    CommandOnTerminal,
    TerminalBoard,
    finish,
    kill_started,
    line_of,
    run,
    start,
)
from places import APPS

from boardwarden import testing
from warden_schema import ids

GRANTS = f"sim:{APPS / 'grants.py'}"


@pytest.fixture(autouse=True)
async def no_leftovers():
    """End every command with its test, however that went."""
    yield
    await kill_started()


@pytest.fixture
async def fake():
    """Return a fake board at a terminal."""
    terminal = TerminalBoard(testing.FakeBoard())
    yield terminal
    terminal.close()


def sentence(finished, status=2):
    """Check that a command failed with one sentence and nothing else; return it."""
    assert (finished.status, finished.out) == (status, "")
    assert finished.err.startswith("boardwarden: ")
    assert finished.err.count("\n") == 1
    return finished.err


async def test_each_list_of_a_real_board():
    for command, key, name in (
        ("leases", "leases", "owner"),
        ("ops", "operations", "name"),
        ("sessions", "sessions", "name"),
    ):
        done = await run(command, "--board", GRANTS, "--json")
        assert (done.status, done.err) == (0, "")
        assert [row[name] for row in json.loads(done.out)[key]] == ["application"]
        done = await run(command, "--board", GRANTS)
        assert "application" in done.out
        assert all(len(line) <= 80 for line in done.out.splitlines())
    done = await run("events", "--board", GRANTS, "--json")
    kinds = [json.loads(line)["kind"] for line in done.out.splitlines()]
    assert "denied" in kinds


async def test_limits_and_thresholds_of_a_real_board():
    done = await run("limits", "--board", "sim", "--overrun", "2.5", "--json")
    assert json.loads(done.out)["overrun_s"] == 2.5
    done = await run("thresholds", "cpu", "--warn", "90%", "--hold", "3", "--board", "sim")
    assert (done.status, done.err) == (0, "")
    assert "to undo: boardwarden thresholds cpu --off" in done.out
    done = await run("thresholds", "memory", "--off", "--board", "sim")
    assert done.out.startswith("not watched\n")
    assert "to undo: boardwarden thresholds memory --warn 0." in done.out


async def test_alloc_for_a_time():
    done = await run("alloc", "memory", "8k", "--board", "sim", "--owner", "x", "--for", "0.2")
    assert (done.status, done.err) == (0, "")
    assert done.out == "lease 1: 8.0 KB of memory, for 0.2 s\nreleased lease 1\n"


async def test_ctrl_c_releases_the_lease_and_says_so(fake):
    process = await start("alloc", "memory", "8k", "--board", fake.port, "--json")
    lease = json.loads(await line_of(process))["lease"]
    assert fake.board.policy.tables[ids.LEASE][0][2] == lease["amount"] == 8192
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert (done.status, done.err) == (130, "")
    assert json.loads(done.out) == {"released": lease["id"]}
    assert (ids.RELEASE, [lease["id"]]) in fake.board.done


async def test_alloc_that_is_denied():
    said = sentence(await run("alloc", "memory", "900M", "--board", "sim"), status=3)
    assert "Denied: not enough memory is free; 1." in said
    assert "are available" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["alloc", "memory", "8q"], "8192, 8k or 1M"),
        (["alloc", "memory", "0"], "from 1 to"),
        (["alloc", "heat", "8k"], "there are memory"),
        (["alloc", "memory", "8k", "--priority", "urgent"], "there are low"),
        (["alloc", "memory", "8k", "--mount", "/"], "storage only"),
        (["alloc", "memory", "8k", "--for", "-1"], "--for must be"),
        (["alloc", "cpu-time", "2"], "fraction of a core"),
        (["release", "0"], "An id must be"),
        (["limits", "--max-operations", "9"], "1 to 8"),
        (["limits", "--memory-reserve", "much"], "fraction"),
        (["thresholds", "heat"], "there are memory"),
        (["thresholds", "--warn", "5"], "Which metric?"),
        (["thresholds", "cpu", "--off", "--warn", "5"], "--off"),
        (["thresholds", "cpu", "--warn", "much"], "--warn must be"),
        (["thresholds", "cpu", "--action", "panic"], "there are tell"),
        (["thresholds", "cpu", "--warn", "0.5", "--hold", "-1"], "hold must be"),
        (["release", "7"], "it may have ended"),
        (["cancel", "7"], "it may have ended"),
        (["thresholds", "memory", "--warn", "95%"], "one way"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_what_goes_wrong_is_one_sentence(words, says):
    assert says in sentence(await run(*words, "--board", "sim"))


async def test_without_a_board():
    for words in (["leases"], ["alloc", "memory", "8k"], ["top"], ["thresholds", "cpu", "--off"]):
        assert "--board" in sentence(await run(*words))
        gone = sentence(await run(*words, "--board", "/dev/ttyNOPE9"))
        assert "plugged in" in gone


async def test_an_agent_that_is_too_old(fake):
    del fake.board.answer[ids.TELL_METERS], fake.board.answer[ids.SET_LIMITS]
    for words in (["top", "--once"], ["limits"], ["thresholds"]):
        assert "newer agent" in sentence(await run(*words, "--board", fake.port))


async def test_a_board_that_vanishes_while_a_lease_is_held(fake):
    process = await start("alloc", "memory", "8k", "--board", fake.port)
    await line_of(process)
    fake.vanish()

    async def lost():
        while b"link lost" not in await process.stderr.readline():
            assert process.returncode is None

    await asyncio.wait_for(lost(), LIMIT_S)
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert done.status == 2
    assert done.err.count("\n") == 1


async def test_events_that_are_followed_tell_that_the_link_is_lost(fake):
    process = await start("events", "--follow", "--board", fake.port)
    await asyncio.sleep(0.5)
    fake.board.policy.happen("lease", 7, "expired", 8192)
    assert "lease 7: expired" in await line_of(process)
    fake.vanish()
    said = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
    assert b"link lost" in said
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130


@pytest.mark.alone
async def test_top_of_a_real_board():
    done = await run("top", "--json", "--board", GRANTS)
    meters = json.loads(done.out)["meters"]
    assert [meter["name"] for meter in meters] == ["spinner", "sleeper", "reader"]
    spinner = meters[0]
    assert spinner["cpu"] == pytest.approx(0.3, abs=0.1)
    assert 0.02 <= spinner["worst_s"] < 0.1
    assert meters[2]["cpu"] is None


async def test_top_redraws_on_a_terminal_of_80_by_24_and_leaves_it_clean(fake):
    for place in range(16):
        row = [place, "a name of twenty-four by", 0, 1, place, 5, 9, None]
        fake.board.policy.put(ids.METER, place, row)
    fake.board.interval_s = 0.2
    env = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    command = CommandOnTerminal("top", "--board", fake.port, environment=env)
    try:
        await command.until(b"longest")
        up = b"\x1b[1A\x1b[2K"
        await command.until(19 * up + b"/dev/")  # to draw again what is 20 lines, and no more
        assert 20 * up not in command.seen
        command.interrupt()
        await command.until(b"\x1b[?25h")  # the cursor is back
        assert await command.status() == 130
        assert b"Traceback" not in command.seen
        assert "…".encode() not in command.seen  # nothing is cut
    finally:
        await command.close()
