"""The commands about leases, operations and limits, as processes, with fakes at terminals."""

import asyncio
import json
import signal

import pytest
from cli_process import (
    LIMIT_S,
    SILENT_SOON,
    CommandOnTerminal,
    finish,
    line_of,
    one_sentence,
    run,
    start,
)

from warden_schema import ids

pytestmark = pytest.mark.usefixtures("no_leftovers")


async def test_ctrl_c_releases_the_lease_of_alloc(fake):
    process = await start("alloc", "memory", "8k", "--board", fake.port, "--json")
    lease = json.loads(await line_of(process))["lease"]
    assert fake.board.policy.tables[ids.LEASE][0][2] == lease["amount"] == 8192
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert (done.status, done.err) == (130, "")
    assert json.loads(done.out) == {"released": lease["id"]}
    assert (ids.RELEASE, [lease["id"]]) in fake.board.done


async def test_alloc_names_the_file_systems_where_it_is_asked_for_another(fake):
    words = ("alloc", "storage", "8k", "--mount", "/sd", "--board", fake.port)
    assert one_sentence(await run(*words)).endswith("no file system /sd; it has /.\n")
    assert fake.board.done == []


async def test_each_command_without_a_board_is_one_sentence():
    for words in (["leases"], ["alloc", "memory", "8k"], ["top"], ["thresholds", "cpu", "--off"]):
        assert "--board" in one_sentence(await run(*words))
        gone = one_sentence(await run(*words, "--board", "/dev/ttyNOPE9"))
        assert "plugged in" in gone


async def test_an_old_agent_is_one_sentence(fake):
    del fake.board.answer[ids.TELL_METERS], fake.board.answer[ids.SET_LIMITS]
    for words in (["top", "--once"], ["limits"], ["thresholds"]):
        assert "newer agent" in one_sentence(await run(*words, "--board", fake.port))


async def test_alloc_reports_a_lost_link_and_ends_with_status_2(fake):
    process = await start("alloc", "memory", "8k", "--board", fake.port, waits=SILENT_SOON)
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


async def test_events_follow_reports_a_lost_link(fake):
    process = await start("events", "--follow", "--board", fake.port)
    await asyncio.sleep(0.5)
    fake.board.policy.happen("lease", 7, "expired", 8192)
    assert "lease 7: expired" in await line_of(process)
    fake.vanish()
    said = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
    assert b"link lost" in said
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130


async def test_top_redraws_at_80_by_24_and_restores_the_terminal(fake):
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
