"""The commands in this process, on fake boards: what is printed for what a board tells."""

import asyncio
import json
import signal
from dataclasses import replace

import pytest

from boardwarden import StoredPolicy, _program, connect, testing
from boardwarden._program import print_rows
from boardwarden.cli import doctor, look, record, recordings, terminal
from boardwarden.doctor import checkup
from boardwarden.doctor.checkup import find_stored_policy
from boardwarden.errors import BoardError, PortMissing
from warden_schema import ids

LIMIT_S = 10.0


@pytest.fixture
def board():
    """Return a fake board, up for 10 s."""
    return testing.FakeBoard()


async def lines_of(capsys, command, count):
    """Run a command until it has printed `count` lines, then cancel it; return them."""
    task = asyncio.ensure_future(command)
    printed = ""

    async def enough():
        nonlocal printed
        while printed.count("\n") < count and not task.done():
            printed += capsys.readouterr().out
            await asyncio.sleep(0.01)

    await asyncio.wait_for(enough(), LIMIT_S)
    task.cancel()
    await asyncio.wait([task])
    capsys.readouterr()  # the next command's output must not begin with the rest of this one's
    return printed.splitlines()


@pytest.mark.parametrize("as_json", [False, True])
async def test_status_capabilities_and_trends_end_by_themselves(board, capsys, as_json):
    for command in (look._status, look._capabilities):
        await command(testing.FakeTransport(board), as_json)
    await look._trends(testing.FakeTransport(board), 60.0, as_json)
    out = capsys.readouterr().out
    if as_json:
        status, known, trends = map(json.loads, out.splitlines())
        assert status["cpu"]["usage"] == 0.125
        assert known["cpu"]["available"]
        assert trends["period_s"] == 60
    else:
        assert "cpu      12 %" in out
        assert "period         the last 1 min" in out


@pytest.mark.parametrize(
    ("details", "state", "says"),
    [
        ([], "nothing", "none is stored"),
        (["in force"], "in_force", "is in force"),
        (["in force", "forgotten"], "nothing", "none is stored"),
        (["forgotten", "kept"], "in_force", "is in force"),
        (["limits ignored"], "in_force", "is in force"),
        (["broken"], "broken", "is damaged"),
    ],
)
async def test_status_and_doctor_show_the_stored_policy_from_the_events(
    board, capsys, details, state, says
):
    for detail in details:
        board.policy.happen("policy", None, detail)
    board.policy.happen("threshold", 0, "warn", 912)
    transport = testing.FakeTransport(board)
    await look._status(transport, True)
    assert json.loads(capsys.readouterr().out)["stored_policy"] == state
    await look._status(transport, False)
    found = replace(await checkup.examine(transport, 0.1), address="fake")
    print_rows(doctor._rows(found))
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("policy ")]
    assert len(rows) == 2
    assert all(says in row for row in rows)
    assert found.to_dict()["stored_policy"] == state
    assert ids.KEEP not in [operation for operation, _ in board.done]  # which costs it memory


@pytest.mark.parametrize("stored", StoredPolicy)
async def test_the_board_is_asked_for_its_stored_policy_where_events_were_forgotten(board, stored):
    board.policy.stored = stored
    board.policy.happen("policy", None, "broken")
    for _ in range(ids.MAX_EVENTS):
        board.policy.happen("lease", 1, "expired")
    async with connect(testing.FakeTransport(board)) as followed:
        assert followed.recent_events[0].number == 1
        assert await find_stored_policy(followed) is stored
    assert ids.KEEP in [operation for operation, _ in board.done]


async def test_a_board_that_only_measures_is_not_asked_for_its_stored_policy(board):
    board.policy.limits = []
    async with connect(testing.FakeTransport(board)) as followed:
        assert await find_stored_policy(followed) is None
    assert board.done == []


@pytest.mark.parametrize("as_json", [False, True])
async def test_watch_of_several_boards_names_the_board_on_each_line(
    board, capsys, monkeypatch, as_json
):
    board.interval_s = 0.02
    other = testing.FakeBoard()
    other.interval_s = 0.02
    boards = {"one": board, "two": other}
    monkeypatch.setattr(
        look.boards, "connect", lambda name: connect(testing.FakeTransport(boards[name], name))
    )
    lines = await lines_of(capsys, look._print_all(["one", "two"], as_json), count=6)
    if as_json:
        found = {json.loads(line)["address"] for line in lines}
    else:
        found = {line.partition(": up ")[0] for line in lines}
    assert found == {"one", "two"}


async def test_watch_of_several_boards_ends_when_one_cannot_be_opened(board, capsys):
    absent = testing.FakeTransport(testing.FakeBoard(), "two")
    absent.refuse = PortMissing("There is no port two.")
    with pytest.raises(PortMissing):
        await look._print_all([testing.FakeTransport(board, "one"), absent], False)


def test_the_same_address_twice_gets_a_number():
    assert list(look.numbered(["sim", "a", "sim", "sim"])) == ["sim", "a", "sim (2)", "sim (3)"]


async def test_console_prints_text_as_it_arrives(board, capsys):
    async def chat():
        while True:
            board.print("h\u00e9 \u2699\n")
            await asyncio.sleep(0.02)

    chatting = asyncio.create_task(chat())
    for as_json in (False, True):
        lines = await lines_of(
            capsys, look._console(testing.FakeTransport(board), as_json), count=2
        )
    chatting.cancel()
    assert json.loads(lines[0])["text"] == "h\u00e9 \u2699\n"


async def test_a_status_without_a_load_figure_is_shown(board, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "_FULL_INTERVAL_TIMEOUT_S", 0.05)
    board.values["cpu_permille"] = None
    await look._status(testing.FakeTransport(board), True)
    assert json.loads(capsys.readouterr().out)["cpu"]["usage"] is None


def outcome_of(error, capsys):
    """Return the exit status of a command that raises, and what it said."""

    async def command():
        raise error

    with pytest.raises(SystemExit) as caught:
        _program.run(command())
    return caught.value.code, capsys.readouterr().err


def test_every_error_is_one_sentence_and_exit_status_2(capsys):
    assert outcome_of(BoardError("It broke."), capsys) == (2, "boardwarden: It broke.\n")


def test_an_interrupt_has_exit_status_130(capsys):
    assert outcome_of(KeyboardInterrupt(), capsys) == (130, "")


@pytest.mark.parametrize("command", ["plot", "replay", "record --list"])
def test_ctrl_c_ends_a_command_that_reads_a_recording_at_once(command, tmp_path, monkeypatch):
    """It awaits nothing: in an event loop it would go on to its end."""

    def interrupted(path):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it goes on")

    monkeypatch.setattr("boardwarden.recording.reading.Recording", interrupted)
    policy, file = tmp_path / "warden.toml", tmp_path / "a.db"
    policy.write_text("")
    begin = {
        "plot": lambda: recordings.plot(file),
        "replay": lambda: recordings.replay(file, policy),
        "record --list": lambda: record.record(file, list_it=True),
    }
    with pytest.raises(SystemExit) as caught:
        begin[command]()
    assert caught.value.code == 130
