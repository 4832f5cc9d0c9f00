"""A policy on the unix port: applied by a host, in force after restarts without one."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from cli_process import run_and_wait as run
from places import APPS
from repl_board import ReplBoard

import boardwarden
from boardwarden import StoredPolicy, policy_file
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.transport.sim import board_path, find_micropython

APP = APPS / "insists.py"
SIM = f"sim:{APP}"
FILE = """\
interval = "0.25 s"
budget = "5 %"
[limits]
max_operations = 2
[[threshold]]
metric = "memory"
off = true
[[threshold]]
metric = "tasks"
warn = 40
[session.upload]
memory = "16k"
ttl = "1 h"
"""


@pytest.fixture(autouse=True)
def _in_the_boards_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a simulated board's files are in the caller's


def alone():
    """Run the application on the same board, with no host; return what it prints."""
    run = subprocess.run(
        [find_micropython(), str(APP), "alone"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MICROPYPATH": board_path()},
        timeout=30,
    )
    return run.stdout.strip()


async def test_a_stored_policy_holds_after_a_restart_until_it_is_removed(tmp_path):
    wanted = policy_file.loads(FILE)
    own = f"1000 [[{THRESHOLD_METRICS.index('memory')}, 100, 0]] (None, None, None)"
    assert alone() == own
    async with boardwarden.connect(SIM) as board:
        before = await board.policy()
        assert before.limits.max_operations == 7
        assert await board.stored_policy() == StoredPolicy.NOTHING
        await board.apply_policy(wanted)
        assert await board.stored_policy() == StoredPolicy.IN_FORCE
    assert alone() == f"250 [[{THRESHOLD_METRICS.index('tasks')}, 40, 0]] (16384, None, None)"
    async with boardwarden.connect(SIM) as board:  # the board starts anew with the connection
        now = await board.policy()
        assert (now.interval_s, now.budget) == (0.25, 0.05)
        assert (now.thresholds, now.quotas) == (wanted.thresholds, wanted.quotas)
        assert now.limits.max_operations == 2
        assert board.sessions[0].memory_bytes == 16384
        told = [event.detail for event in board.recent_events if event.kind == "policy"]
        assert told == ["in force", "threshold ignored", "limits ignored"]
        assert await board.policy_steps(wanted) == ()
        await board.set_limits(max_operations=3)  # a host may, until the next start
        assert (await board.policy()).limits.max_operations == 3
    async with boardwarden.connect(SIM) as board:
        assert (await board.policy()).limits.max_operations == 2
        await board.forget_policy()
    assert alone() == own
    assert os.listdir(tmp_path) == []


async def test_a_damaged_policy_is_reported_and_the_applications_settings_hold(tmp_path):
    async with boardwarden.connect(SIM) as board:
        await board.apply_policy(policy_file.loads(FILE))
    file = tmp_path / "warden.policy"
    file.write_bytes(file.read_bytes()[:-1])
    async with boardwarden.connect(SIM) as board:
        assert await board.stored_policy() == StoredPolicy.BROKEN
        assert (await board.policy()).limits.max_operations == 7
        assert [event.detail for event in board.recent_events if event.kind == "policy"] == [
            "broken"
        ]


def test_policies_work_with_the_synchronous_api():
    with boardwarden.open(SIM) as board:
        board.apply_policy(policy_file.loads(FILE), save=False)
        assert board.stored_policy() == StoredPolicy.NOTHING
        assert board.policy_steps(board.policy()) == ()
        board.save_policy()
        assert board.stored_policy() == StoredPolicy.IN_FORCE
        board.forget_policy()
    assert alone().startswith("1000 ")


MEMORY, TASKS = (
    f"[{THRESHOLD_METRICS.index(metric)}] files".encode() for metric in ("memory", "tasks")
)
APPLICATION = """\
import sys
sys.path[:] = {path!r}
import asyncio, os, warden
{first}
warden.start()
print([each.metric for each in warden.thresholds()], "files")

async def main():
    while True:
        await asyncio.sleep(1)

asyncio.run(main())
"""
# A large file, then small ones, which a littlefs keeps beside their names.
FILL = """\
for size in (4096, 64):
    number = 0
    try:
        while True:
            with open("fill-%d-%d" % (size, number), "wb") as file:
                file.write(bytes(size))
            number += 1
    except OSError as error:
        print("full", error.errno)
"""


def board_with(tmp_path, first=""):
    """Return a board that does something first, then starts the agent and runs on."""
    board = ReplBoard(tmp_path, blocks=16)
    text = APPLICATION.format(path=board_path().split(os.pathsep), first=first)
    board.put({"main.py": text.encode()})
    (tmp_path / "policy.toml").write_text(FILE)
    return board


def test_a_policy_that_cannot_be_stored_on_a_full_disk_holds_until_the_restart(tmp_path):
    board = board_with(tmp_path, FILL)
    with board:
        board.wait_for(b"] files")
        assert b"full 28" in board.printed
        done = run("apply", str(tmp_path / "policy.toml"), "--yes", "--board", board.port)
        shown = run("policy", "--json", "--board", board.port)
    assert done.returncode == 3
    assert done.stderr == (
        "boardwarden: Denied: the board's file system is too full to store a policy. "
        "The policy is in force until the board restarts.\n"
    )
    found = json.loads(shown.stdout)
    assert (found["stored_policy"], found["limits"]["max_operations"]) == ("nothing", 2)
    assert not [name for name in board.files() if name.startswith("warden.policy")]


def test_apply_stores_a_policy_that_outlives_a_restart(tmp_path):
    """Applied over a terminal; then the power is cut, and the board runs alone."""
    board = board_with(tmp_path)
    with board:
        board.wait_for(MEMORY)
        done = run("apply", str(tmp_path / "policy.toml"), "--yes", "--board", board.port)
        assert (done.returncode, done.stderr) == (0, "")
    again = ReplBoard(tmp_path, blocks=16)
    with again:
        again.wait_for(TASKS)
        done = run("apply", "--forget", "--yes", "--board", again.port)
        assert (done.returncode, done.stderr) == (0, "")
    last = ReplBoard(tmp_path, blocks=16)
    with last:
        last.wait_for(MEMORY)
