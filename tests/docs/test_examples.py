"""The applications in examples/, on real simulated boards: each does what it says that it shows."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from cli_process import LIMIT_S, finish, line_of, run, start
from free_ports import free_port
from places import APPS, REPO
from virtual_time import until

import boardwarden
from boardwarden.transport import transport_for

EXAMPLES = REPO / "examples"
_covered = {"leaky_gateway.py", "fragmenting_gateway.py"}  # by tests/boards/test_demo.py


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What boards write is written here."""
    monkeypatch.chdir(tmp_path)


def runs(name):
    """Note that a test covers an example."""
    _covered.add(name)
    return lambda test: test


def sim(name):
    return f"sim:{EXAMPLES / name}"


def host(name):
    return [sys.executable, "-W", "error", str(EXAMPLES / name)]


async def wait_printed(board, *patterns):
    """Return the matches of the patterns in what the board prints, each after the one before."""
    found, text = [], ""
    async with contextlib.aclosing(board.console()) as console:
        for pattern in patterns:
            while not (match := re.search(pattern, text)):
                text += await asyncio.wait_for(anext(console), LIMIT_S)
            text = text[match.end() :]
            found.append(match)
    return found


def test_every_example_is_run_here_and_listed():
    files = {file.name for file in EXAMPLES.glob("*.py")}
    assert files == _covered
    listed = re.findall(
        r"^\| \[(\w+\.py)\]\((\w+\.py)\) \|", (EXAMPLES / "README.md").read_text(), re.M
    )
    assert sorted(listed) == [(name, name) for name in sorted(files)]


# --- on a board ------------------------------------------------------------------------------


@runs("station.py")
async def test_station_prints_a_mean():
    async with boardwarden.connect("sim") as board:
        (mean,) = await wait_printed(board, r"mean of the last (\d+) readings: (\d+\.\d) °C\n")
        assert 20 < int(mean[1]) <= 60
        assert 21.5 <= float(mean[2]) < 25


@runs("blocking_station.py")
async def test_blocking_station_is_warned_of_and_the_meters_name_its_display():
    async with boardwarden.connect(sim("blocking_station.py")) as board, board.metering():
        await until(
            lambda: any(each.metric == "loop_lag_worst" and each.level for each in board.thresholds)
        )
        await until(
            lambda: any(
                each.name == "display" and (each.worst_s or 0) > 0.1 for each in board.meters
            )
        )


@runs("logger.py")
async def test_logger_stays_within_its_quota_and_survives_a_full_card():
    async with boardwarden.connect(sim("logger.py")) as board:
        by_quota, _, by_card, after = await wait_printed(
            board,
            r"quota:storage: /sd/log-1 removed\n/sd/log-5 begun, 4 kept\n",
            r"the card is full, after \d+ pictures\n",
            r"(?m)^storage: /sd/log-(\d+) removed\n(?:storage:.*\n)*/sd/log-(\d+) begun, [23] kept",
            r"(?m)^storage:.*\n(?:storage:.*\n)*/sd/log-(\d+) begun, [23] kept\n",
        )
        assert by_quota
        assert int(after[1]) > int(by_card[2]) > int(by_card[1])
        assert {"quota:storage", "storage"} >= {
            event.detail for event in board.recent_events if event.kind == "denied"
        }
        assert {(lease.owner, lease.amount, lease.mount) for lease in board.allocations} == {
            ("log", 8192, "/sd")
        }
        assert 2 <= len(board.allocations) <= 4
        await until(lambda: all(lease.committed for lease in board.allocations[:-1]), 5)
        (lines,) = await wait_printed(board, r"(\d+) lines, (\d+) lost\n")
        assert lines[2] == "0"


@runs("cache.py")
async def test_cache_gives_memory_back_without_a_host():
    transport = transport_for(sim("cache.py"))
    await transport.open()
    try:
        output, cycle = (
            b"",
            rb"(\d+) tiles dropped, \d+ kept\n(?:.*\n)*?memory: clear, (\d+) % live\n",
        )
        while len(re.findall(cycle, output)) < 2:
            output += await asyncio.wait_for(transport.read(), LIMIT_S)
    finally:
        await transport.close()
    assert all(int(dropped) > 5 and int(live) <= 35 for dropped, live in re.findall(cycle, output))
    assert re.search(rb"memory: (warn|critical), [4-9]\d % live\n", output)
    assert b"\xc0" not in output  # not a frame: nobody subscribed


async def test_cache_is_measured_by_the_board():
    async with boardwarden.connect(sim("cache.py")) as board:
        async for event in board.events():
            if event.kind == "trim":
                break
        assert (event.subject, event.detail) == ("memory", "drop_tiles")
        assert event.value > 5 * 16_384
        assert board.status.cpu.usage is None  # there is no asyncio


@runs("uploader.py")
async def test_uploader_yields_continues_and_is_cancelled_cleanly():
    async with boardwarden.connect(sim("uploader.py")) as board:
        preempted, resumed, off, again, sent = await wait_printed(
            board,
            r"picture 1: preempted at (\d+) bytes\nalarm sent\n",
            r"picture 1: goes on at (\d+) bytes\n",
            r"radio off, (\d+) of (\d+) bytes are sent\noperations and leases left: \[\] \[\]\n",
            r"^picture 1: goes on at (\d+) bytes\n",
            r"picture 1: sent\n",
        )
        assert 0 < int(preempted[1]) == int(resumed[1]) < int(off[1]) < int(off[2])
        assert off[1] == again[1]
        assert sent
        assert "preempted" in {event.detail for event in board.recent_events}


@runs("failing_station.py")
async def test_failing_station_recovers_and_its_lines_are_kept():
    async with boardwarden.connect(sim("failing_station.py")) as board:
        await wait_printed(board, r"crashed: OSError", r"reading [57] is", r"reading (9|10) is")
        await until(lambda: {each.kind for each in board.exceptions} == {"application", "hang"}, 5)
        lines = (EXAMPLES / "failing_station.py").read_text().splitlines()
        for each in board.exceptions:
            assert [frame.function for frame in each.frames[-2:]] == ["measure", "read_sensor"]
            assert re.search(r"OSError|readings % 4|pass", lines[each.frames[-1].line - 1])
        told = [event.subject for event in board.recent_events if event.kind == "hang"]
        assert told[:2] == ["begun", "stopped"]


@runs("workers.py")
async def test_workers_are_counted_named_and_preempted():
    async with boardwarden.connect(sim("workers.py")) as board:
        await wait_printed(
            board,
            r"checksum preempted at part \d+\n",
            r"checksum done\n",
            r"settings saved\n3 threads, the last reading is 21.5\n",
        )
        assert board.status.cpu.active_threads == 3
        async with board.metering():
            async for _ in board.changes():
                if len(board.meters) == 2:
                    break
            assert {(each.name, each.kind) for each in board.meters} == {
                ("measure", "thread"),
                ("checksum", "thread"),
            }


# --- on the host -----------------------------------------------------------------------------


@pytest.fixture
def receiver(monkeypatch):
    """The address of a board that receives updates, and where it listens."""
    port = free_port()
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.setenv("EXAMPLES", str(EXAMPLES))
    return f"sim:{APPS / 'busy_receiver.py'}", f"127.0.0.1:{port}"


@runs("host_update.py")
@runs("receiver.py")
async def test_host_update_waits_as_long_as_the_board_says(receiver, monkeypatch):
    monkeypatch.setenv("BUSY", "yes")
    data = os.urandom(200_000)
    Path("new.bin").write_bytes(data)
    began = time.monotonic()
    done = await run(*receiver, "new.bin", command=host("host_update.py"))
    took = time.monotonic() - began
    assert (done.status, done.err) == (0, "")
    refused, granted, answer = done.out.splitlines()
    retry = re.fullmatch(r"Denied: no place .* try again in (\d(?:\.\d+)?) s\. Waiting\.", refused)
    assert 1.0 < float(retry[1]) < took
    assert granted == "granted: sending 200000 bytes"
    assert answer == "the board says: ok"
    assert Path("update.bin").read_bytes() == data
    assert not Path("update.new").exists()


async def test_receiver_stores_nothing_that_arrived_damaged(receiver):
    Path("update.bin").write_bytes(b"old")
    address, _, port = receiver[1].partition(":")
    async with boardwarden.connect(receiver[0]) as board:
        await wait_printed(board, "waiting for updates")
        for sent, answer in (
            (f"5 {hashlib.sha256(b'other').hexdigest()}\nbytes", "damaged"),
            ("five\n", "not understood"),
        ):
            reader, writer = await asyncio.open_connection(address, int(port))
            writer.write(sent.encode())
            said = await asyncio.wait_for(reader.readline(), LIMIT_S)
            writer.close()
            await writer.wait_closed()
            assert said.decode() == answer + "\n"
    assert Path("update.bin").read_bytes() == b"old"
    assert not Path("update.new").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tcp://127.0.0.1:1", "127.0.0.1:1", "new.bin"), r"Nothing listens on port 1 of .*\n"),
        (("sim", "127.0.0.1:1", "new.bin"), r".*Connection refused\n"),
        (("sim", "127.0.0.1:1", "none.bin"), r".*No such file.*\n"),
        (("sim", "127.0.0.1", "new.bin"), r"(?s)usage: .*invalid endpoint value: '127.0.0.1'\n"),
    ],
    ids=["no board", "no receiver", "no file", "no port"],
)
async def test_host_update_reports_each_error(arguments, said):
    Path("new.bin").write_bytes(b"new")
    done = await run(*arguments, command=host("host_update.py"))
    assert done.status == 2
    assert re.fullmatch(said, done.err)


@runs("host_fleet.py")
async def test_host_fleet_alarms_for_memory_and_for_a_lost_board():
    cache, mortal, absent = sim("cache.py"), f"sim:{APPS / 'mortal.py'}", "tcp://127.0.0.1:1"
    boards = (cache, mortal, absent)
    process = await start("--live", "0.3", *boards, command=host("host_fleet.py"))
    seen = []

    async def until(*patterns):
        wanted = [re.compile(pattern) for pattern in patterns]
        while wanted:
            seen.append(await line_of(process))
            assert seen[-1], seen
            wanted = [pattern for pattern in wanted if not pattern.match(seen[-1])]

    name = re.escape(mortal)
    await until(
        rf"ALARM {re.escape(cache)}: \d+% of its memory is live\n",
        rf"ALARM {re.escape(cache)}: threshold memory warn\n",
        rf"ALARM {re.escape(absent)}: Nothing listens on port 1",
        rf"{name} +live +\d+ KB  cpu +\d+%  up \d+ s\n",
        rf"{re.escape(absent)} +not there\n",
    )
    Path("end").touch()
    await until(rf"ALARM {name}: lost\n")
    Path("end").unlink()
    await until(rf"ALARM {name}: back\n")
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert (done.status, done.err) == (130, "")
    assert sum(line.startswith(f"ALARM {absent}") for line in seen) == 1
