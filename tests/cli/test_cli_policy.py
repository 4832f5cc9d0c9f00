"""boardwarden policy and apply, as real processes, with fakes at real terminals."""

from __future__ import annotations

import json
import sys

import pytest
from cli_process import SILENT_SOON, CommandOnTerminal, TerminalBoard, kill_started, run
from virtual_time import until

from boardwarden import policy_file
from boardwarden.testing import FakeBoard
from warden_schema import ids

FILE = """\
interval = "0.5 s"
[limits]
max_operations = 2
[[threshold]]
metric = "cpu"
warn = "75 %"
[session.upload]
memory = "16k"
operations = 2
"""
NO_ROOM = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
runpy.run_module("boardwarden", run_name="__main__")
"""
ROWS = ["interval", "limits.max_operations", "threshold.memory", "threshold.cpu", "session.upload"]


@pytest.fixture
async def started():
    yield
    await kill_started()


@pytest.fixture
async def board(started):
    board = TerminalBoard(FakeBoard())
    yield board
    board.close()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "warden.toml"
    path.write_text(FILE)
    return path


def changing(board):
    """Return the requests that changed something on a fake board."""
    asking = {ids.QUOTA}
    return [
        (operation, asked)
        for operation, asked in board.board.done
        if operation not in asking
        and (operation, asked) not in [(ids.KEEP, [0]), (ids.SET_LIMITS, [None] * 4)]
    ]


async def test_policy_example_needs_no_board_and_can_be_loaded(started, tmp_path):
    printed = await run("policy", "--example")
    assert (printed.status, printed.err) == (0, "")
    path = tmp_path / "warden.toml"
    path.write_text(printed.out)
    policy = policy_file.load(path)
    assert policy.interval_s == 1.0
    assert policy.limits.max_operations == 2
    assert [each.metric for each in policy.thresholds] == ["memory", "storage"]
    settings = [line for line in printed.out.splitlines() if "=" in line]
    assert sum("  # " in line for line in settings) >= len(settings) / 2
    refused = await run("policy", "--example", "--json")
    assert (refused.status, refused.out) == (2, "")


async def test_a_dry_run_shows_the_changes_and_makes_none(board, file):
    shown = await run("apply", str(file), "--dry-run", "--board", board.port)
    assert (shown.status, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines[:-1] if line[0] != " "] == ROWS
    assert "1 s → 0.5 s" in lines[0]
    assert "not watched → warn 75 %, clear 75 %, tell" in shown.out
    assert "none → memory 16k, operations 2" in shown.out
    assert all(len(line) <= 80 for line in lines)
    told = await run("apply", str(file), "--dry-run", "--json", "--board", board.port)
    found = json.loads(told.out)
    assert [each["key"] for each in found["differences"]] == ROWS
    assert found["differences"][3]["after"]["warn"] == 0.75
    assert (found["applied"], found["stored_policy"]) == (False, "nothing")
    assert changing(board) == []


async def test_a_policy_is_applied_stored_and_undone(board, file, tmp_path):
    backup = tmp_path / "old.toml"
    done = await run("apply", str(file), "--yes", "--backup", str(backup), "--board", board.port)
    assert (done.status, done.err) == (0, "")
    assert f"to undo: boardwarden apply {backup}" in done.out
    assert "boardwarden apply --forget" in done.out
    assert [operation for operation, _ in changing(board)] == [
        ids.START_MONITORING,
        ids.SET_LIMITS,
        *(ids.SET_THRESHOLD, ids.SET_THRESHOLD),
        ids.SET_QUOTA,
        ids.KEEP,
    ]
    fake = board.board.policy
    assert (fake.stored, fake.quotas, fake.limits[0]) == (1, {"upload": [16384, None, 2, None]}, 2)
    again = await run("apply", str(file), "--board", board.port)  # which need not ask
    assert again.out == "The board has this policy already.\nstored again\n"
    shown = await run("policy", "--board", board.port)
    wanted = policy_file.loads(FILE)
    found = policy_file.loads(shown.out)
    assert "a stored one is in force" in shown.out
    assert (found.thresholds, found.quotas) == (wanted.thresholds, wanted.quotas)
    told = json.loads((await run("policy", "--json", "--board", board.port)).out)
    assert (told["stored_policy"], told["interval_s"], told["quotas"][0]["operations"]) == (
        "in_force",
        0.5,
        2,
    )
    undone = await run("apply", str(backup), "--yes", "--json", "--board", board.port)
    assert [each["key"] for each in json.loads(undone.out)["differences"]] == [
        *("interval", "limits.max_operations"),
        *("threshold.cpu", "threshold.memory", "session.upload"),
    ]
    assert (fake.quotas, fake.limits[0]) == ({}, 4)
    exists = await run("apply", str(file), "--yes", "--backup", str(backup), "--board", board.port)
    assert (exists.status, "exists; nothing was changed" in exists.err) == (2, True)
    forgotten = await run("apply", "--forget", "--yes", "--board", board.port)
    assert (forgotten.status, fake.stored) == (0, 0)
    none = await run("apply", "--forget", "--board", board.port)
    assert none.out == "The board stores no policy.\n"


async def test_a_backup_that_cannot_be_written_changes_nothing_and_leaves_no_part(
    board, file, tmp_path
):
    backup = tmp_path / "old.toml"
    options = ("apply", str(file), "--yes", "--backup", str(backup), "--board", board.port)
    failed = await run(*options, command=(sys.executable, "-c", NO_ROOM))
    assert failed.status == 2
    assert "file too large; nothing was changed" in failed.err
    assert not backup.exists()
    assert changing(board) == []


@pytest.mark.parametrize(("answer", "status"), [(b"y\n", 0), (b"\n", 2), (None, 130)])
async def test_apply_on_a_terminal_asks_first(board, file, answer, status):
    command = CommandOnTerminal(
        *("apply", str(file), "--board", board.port), environment={"COLUMNS": "80"}
    )
    try:
        await command.until(b"[y/N] ")
        assert changing(board) == []
        if answer is None:
            assert await command.interrupted() == status
        else:
            await command.type(answer)
            assert await command.status() == status
        assert bool(changing(board)) == (status == 0)
        assert b"Traceback" not in command.seen
        assert b"Fatal" not in command.seen
    finally:
        await command.close()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("none.toml",), "Cannot read none.toml: no such file or directory."),
        (("--json",), "--json asks no question: add --yes or --dry-run."),
        (("x.toml", "--forget"), "--forget deletes the stored policy: it takes no file"),
        (("{wrong}", "--yes"), "wrong.toml:2: limits.max_ops: unknown key 'max_ops'; did you mean"),
        (("{file}",), "There is no terminal to ask on: answer with --yes."),
    ],
)
async def test_an_error_of_policy_or_apply_is_one_sentence(board, file, tmp_path, words, sentence):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[limits]\nmax_ops = 3\n")
    given = [word.format(wrong=wrong, file=file) for word in words]
    failed = await run("apply", *given, "--board", board.port)
    assert failed.status == 2
    assert sentence in failed.err
    assert len(failed.err.splitlines()) == 1
    assert changing(board) == []


async def test_a_board_that_cannot_store_the_policy_gives_the_reason(board, file):
    board.board.policy.store_refused = "keep:full"
    full = await run("apply", str(file), "--yes", "--json", "--board", board.port)
    assert full.status == 3
    assert full.err == (
        "boardwarden: Denied: the board's file system is too full to store a policy. "
        "The policy is in force until the board restarts.\n"
    )
    found = json.loads(full.out)
    assert (found["applied"], found["stored_policy"]) == (True, "nothing")
    board.board.policy.store_refused = "keep:5"
    failed = await run("apply", str(file), "--yes", "--board", board.port)
    assert "refuses to store a policy, with error 5" in failed.err


async def test_a_refused_setting_is_named_and_earlier_ones_are_rolled_back(board, file):
    board.board.answer[ids.SET_QUOTA] = lambda asked: (ids.BAD_ARGUMENTS, None)
    refused = await run("apply", str(file), "--yes", "--board", board.port)
    assert refused.status == 2
    assert "session.upload: The board refuses these arguments" in refused.err
    assert refused.err.endswith("Nothing was changed.\n")
    assert board.board.policy.limits[0] == 4
    assert board.board.policy.tables[ids.THRESHOLD] == {}
    assert board.board.policy.stored == 0


async def test_a_board_lost_while_the_policy_is_applied_is_reported(board, file):
    def vanish(asked):
        board.vanish()
        return ids.OK, None

    board.board.answer[ids.SET_QUOTA] = vanish
    lost = await run("apply", str(file), "--yes", "--board", board.port, waits=SILENT_SOON)
    assert lost.status == 2
    assert "4 of 5 changes had been made, none of them stored. Apply the file again." in lost.err
    assert len(lost.err.splitlines()) == 1


async def test_a_board_lost_while_the_policy_is_stored_is_reported(board, file):
    keep = board.board.answer[ids.KEEP]

    def vanish(asked):
        if asked != [0]:
            board.vanish()
        return keep(asked)

    board.board.answer[ids.KEEP] = vanish
    lost = await run("apply", str(file), "--yes", "--board", board.port, waits=SILENT_SOON)
    assert lost.status == 2
    assert "in force, but perhaps not stored. Apply the file again." in lost.err
    assert len(lost.err.splitlines()) == 1


async def test_a_board_that_restarts_while_apply_asks_is_not_given_half_of_the_policy(board, file):
    fake = board.board
    fake.policy.limits[0] = 2  # as the file has it, so that it is no change; a restart loses it
    command = CommandOnTerminal(
        *("apply", str(file), "--board", board.port), environment={"COLUMNS": "200"}
    )
    try:
        await command.until(b"[y/N] ")
        host_id = fake.host_id
        fake.restart()
        fake._subscribe(1, host_id)  # as soon as the host would, after a silence
        await until(lambda: fake.host_id is not None and fake.seq > 10)
        await command.type(b"y\n")
        assert await command.status() == 2
        assert b"The board restarted meanwhile, and lost what was not stored. 0 of " in command.seen
        assert b"Apply the file again." in command.seen
        assert (changing(board), fake.policy.stored) == ([], 0)
    finally:
        await command.close()


async def test_a_board_that_restarts_while_it_stores_the_policy_has_it_only_if_stored(board, file):
    fake = board.board
    keep = fake.answer[ids.KEEP]

    def restart(asked):
        if asked != [0]:
            host_id = fake.host_id
            fake.restart()
            fake._subscribe(1, host_id)
        return keep(asked)

    fake.answer[ids.KEEP] = restart
    lost = await run("apply", str(file), "--yes", "--board", board.port)
    assert (lost.status, len(lost.err.splitlines())) == (2, 1)
    assert "in force only if it was stored before that. Apply the file again." in lost.err


async def test_a_slow_board_is_waited_for_with_progress(board, file):
    board.board.mute = True
    command = CommandOnTerminal(
        *("apply", str(file), "--yes", "--board", board.port), environment={"TERM": "xterm"}
    )
    try:
        await command.until(b"connecting to")
        board.board.mute = False
        assert await command.status() == 0
        assert command.left_as_it_was()
    finally:
        await command.close()


async def test_an_old_agent_is_one_sentence(board, file):
    for operation in (ids.KEEP, ids.QUOTA, ids.SET_QUOTA):
        del board.board.answer[operation]
    old = await run("apply", str(file), "--yes", "--board", board.port)
    assert (old.status, "install a newer agent" in old.err) == (2, True)
    assert changing(board) == [(ids.KEEP, [0])] or changing(board) == []
    shown = await run("policy", "--board", board.port)
    assert "its agent is too old to store one" in shown.out
    assert policy_file.loads(shown.out).quotas is None


async def test_a_broken_stored_policy_is_reported(board):
    board.board.policy.stored = 2
    shown = await run("policy", "--board", board.port)
    assert "is damaged, and was ignored" in shown.out
    policy_file.loads(shown.out)


async def test_a_policy_that_acts_at_once_is_stored_only_if_one_insists(board, file):
    fake = board.board.policy
    fake.acts_now = True
    refused = await run("apply", str(file), "--yes", "--board", board.port)
    assert (refused.status, fake.stored, fake.limits[0], fake.quotas) == (3, 0, 4, {})
    assert "critical at this moment" in refused.err
    assert "Nothing was changed; --insist stores it all the same." in refused.err
    for answer, stored in ((b"n\n", 0), (b"y\n", 1)):
        command = CommandOnTerminal(
            *("apply", str(file), "--board", board.port), environment={"TERM": "xterm"}
        )
        try:
            await command.until(b"have the board store it?")
            await command.type(b"y\n")
            await command.until(b"store it all the same?")
            await command.type(answer)
            assert await command.status() == (0 if stored else 3)
        finally:
            await command.close()
        assert (fake.stored, fake.limits[0]) == (stored, 2 if stored else 4)
    fake.stored = 0
    done = await run("apply", str(file), "--yes", "--insist", "--board", board.port)
    assert (done.status, fake.stored) == (0, 1)
    fake.stored = 3
    shown = await run("policy", "--board", board.port)
    assert "the board set the stored one aside" in shown.out


async def test_a_policy_that_is_not_stored_though_one_insists_is_in_force_until_a_restart(
    board, file
):
    keep = board.board.answer[ids.KEEP]

    def be_full(asked):
        if asked == [ids.KEEPING.index("insist")]:
            return ids.DENIED, ["keep:full", None, None, []]
        return keep(asked)

    board.board.policy.acts_now = True
    board.board.answer[ids.KEEP] = be_full
    command = CommandOnTerminal(
        *("apply", str(file), "--board", board.port), environment={"COLUMNS": "200"}
    )
    try:
        await command.until(b"have the board store it?")
        await command.type(b"y\n")
        await command.until(b"store it all the same?")
        await command.type(b"y\n")
        assert await command.status() == 3
        assert b"The policy is in force until the board restarts." in command.seen
    finally:
        await command.close()
