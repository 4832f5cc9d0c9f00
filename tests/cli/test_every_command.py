"""What holds for every command: exit statuses, the default board, what is logged, progress."""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import doc_commands
import pytest
from cli_process import (
    COMMAND,
    LIMIT_S,
    SHOWN_SOON,
    SOON,
    CommandOnTerminal,
    finish,
    line_of,
    run,
    start,
)
from places import REPO

from boardwarden import _program
from boardwarden.cli import options
from warden_schema import ids

pytestmark = pytest.mark.usefixtures("no_leftovers")


@pytest.fixture
def silent():
    """Return a terminal at which nothing ever answers."""
    near, far = pty.openpty()
    yield os.ttyname(far)
    os.close(near)
    os.close(far)


# --- exit statuses --------------------------------------------------------------------------------


def test_the_documented_exit_statuses_are_those_of_the_code():
    text = (REPO / "docs" / "host.md").read_text(encoding="utf-8")
    table = text.partition("| exit status |")[2].partition("\n\n")[0]
    told = [int(n) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for n in row.split(",")]
    there = [0, _program.FAILED, _program.DENIED, _program.INTERRUPTED, _program.PIPE_CLOSED]
    assert sorted(told) == sorted(there) == [0, 2, 3, 130, 141]


def test_every_reading_command_has_json():
    options = doc_commands.cli()
    without = [name for name, known in options.items() if name and "--json" not in known]
    assert sorted(without) == ["broker-rules", "key", "serve"]  # rules, a status, and scrapes


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["leases"], 0),
        (["release", "7"], 2),
        (["no-such-command"], 2),
        (["alloc", "memory", "1M"], 3),
    ],
)
async def test_each_error_has_its_exit_status(fake, words, status):
    finished = await run(*words, BOARDWARDEN_BOARD=fake.port)
    assert finished.status == status, finished.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["leases"], ["boards"], ["--help"], ["--version"]])
@pytest.mark.parametrize("how", ["full", "gone", "closed"])
async def test_a_full_or_closed_standard_output_is_one_sentence(fake, words, how):
    shell = {
        "full": '"$@" > /dev/full',
        "gone": 'mkfifo "$PIPE"; : < "$PIPE" & exec 3> "$PIPE"; wait; "$@" >&3',
        "closed": '"$@" >&-',
    }[how]
    with tempfile.TemporaryDirectory() as folder:
        finished = await run(
            *words,
            command=["sh", "-c", shell, "sh", *COMMAND],
            BOARDWARDEN_BOARD=fake.port,
            PIPE=f"{folder}/pipe",
        )
    says = {
        "full": (2, "boardwarden: Cannot write to standard output: no space left on device.\n"),
        "gone": (141, ""),
        "closed": (2, "boardwarden: Standard output is closed.\n"),
    }
    assert (finished.status, finished.err) == says[how]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "<&-", "<&- 2>&-"])
async def test_a_closed_or_full_standard_error_or_input_changes_no_result(fake, streams):
    for words, status, said in (
        (["leases"], 0, "no leases\n"),
        (["-v", "release", "99"], 2, ""),
        (["apply", "--forget"], 2, ""),  # has a question
    ):
        fake.board.policy.stored = 1
        finished = await run(
            *words,
            command=["sh", "-c", f'"$@" {streams}', "sh", *COMMAND],
            BOARDWARDEN_BOARD=fake.port,
        )
        assert (finished.status, finished.out) == (status, said), (words, finished.err)
        assert "Traceback" not in finished.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ("words", "begun", "end"),
    [
        (["top"], b"cpu ", b"\x1b[?25h"),
        (["alloc", "memory", "8k"], b"until Ctrl-C", b"released lease"),
        (["doctor", "--for", "30s"], b"measuring the link", b"\x1b[?25h"),
        (["apply", "--forget"], b"[y/N]", b""),
    ],
    ids=["top", "alloc", "doctor", "apply"],
)
async def test_each_signal_that_ends_a_command_has_it_clean_up(fake, words, begun, end, number):
    fake.board.interval_s = 0.1
    fake.board.policy.stored = 1
    environment = {"BOARDWARDEN_BOARD": fake.port, "TERM": "xterm"}
    terminal = CommandOnTerminal(*words, environment=environment)
    try:
        await terminal.until(begun)
        before = len(terminal.seen)
        if begun.endswith(b"[y/N]"):
            assert await terminal.interrupted(number) == 128 + number
        else:
            terminal.interrupt(number)
            assert await terminal.status() == 128 + number
        assert end in terminal.seen[before:]
        assert b"Traceback" not in terminal.seen
        assert not fake.board.policy.tables[ids.LEASE]
    finally:
        await terminal.close()


async def test_a_signal_that_is_ignored_stays_so_and_others_end_a_command_without_ctrl_c(fake):
    fake.board.interval_s = 0.1
    shell = ["sh", "-c", 'trap "" HUP INT; exec "$@"', "sh", *COMMAND]  # nohup, in the background
    process = await start("watch", "--json", command=shell, BOARDWARDEN_BOARD=fake.port)
    await line_of(process)
    for number in (signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
        await line_of(process)
    process.send_signal(signal.SIGTERM)
    assert (await finish(process)).status == 128 + signal.SIGTERM


@pytest.mark.parametrize("started", ["command", "module"])
@pytest.mark.parametrize("slow", ["boardwarden.board", "typer"])
async def test_ctrl_c_while_the_command_is_loading_has_exit_status_130(started, slow):
    begin = {
        "command": "from boardwarden.__main__ import main; main()",
        "module": "import runpy; runpy.run_module('boardwarden', None, '__main__', True)",
    }[started]
    code = (
        f"import os, signal, sys; sys.addaudithook(lambda name, args: "
        f"name == 'import' and args[0] == {slow!r} and os.kill(os.getpid(), signal.SIGINT)); "
        f"sys.argv = ['boardwarden', 'boards']; {begin}"
    )
    finished = await run(command=[sys.executable, "-W", "error", "-c", code], whole=True)
    assert (finished.status, finished.out, finished.err) == (130, "", "")


def test_nothing_slow_is_imported_before_ctrl_c_is_quiet():
    # Not as a command of the tests: coverage, where it measures those, would be loaded, too.
    code = "import boardwarden.__main__, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    ours = {name for name in loaded if name.partition(".")[0] == "boardwarden"}
    assert ours == {"boardwarden", "boardwarden.__main__"}
    assert {"asyncio", "dataclasses", "logging", "typer"}.isdisjoint(loaded)


# --- completion -----------------------------------------------------------------------------------


def test_completion_offers_the_serial_ports(monkeypatch):
    class Port:
        device = "/dev/ttyACM7"

    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [Port()])
    assert options.addresses("") == ["sim", "/dev/ttyACM7"]
    assert options.addresses("/dev") == ["/dev/ttyACM7"]


# --- which board --------------------------------------------------------------------------------


def only_port(*ports):
    """Return the command where these are the serial ports that there are: (address, vid)."""
    code = (
        "import types, sys, serial.tools.list_ports as known; "
        "known.comports = lambda: [types.SimpleNamespace("
        f"device=device, vid=vid, pid=vid, description='n/a') for device, vid in {ports!r}]; "
        "from boardwarden.__main__ import main; sys.argv[0] = 'boardwarden'; main()"
    )
    return [sys.executable, "-W", "error", "-c", code]


async def test_the_board_at_the_only_usb_port_is_the_default(fake):
    command = only_port(("/dev/ttyS0", None), (fake.port, 0x2E8A), ("/dev/ttyS1", None))
    finished = await run("leases", command=command)
    assert (finished.status, finished.out, finished.err) == (0, "no leases\n", "")


async def test_with_several_ports_or_none_a_board_must_be_named(fake):
    command = only_port((fake.port, 0x2E8A), ("/dev/ttyACM9", 0x2E8A))
    for words in (["leases"], ["watch"], ["doctor"], ["deploy"]):
        finished = await run(*words, command=command)
        assert (finished.status, finished.out) == (2, "")
        assert finished.err.startswith("boardwarden: Which board? Give ")
        assert finished.err.endswith(f" Boards may be at {fake.port}, /dev/ttyACM9.\n")
    finished = await run("leases", command=only_port((fake.port, None)))  # built in
    assert finished.status == 2
    assert finished.err.endswith("or mqtt://broker/name.\n")


# --- what is logged -------------------------------------------------------------------------------


async def test_verbose_logs_link_changes(fake):
    finished = await run("--verbose", "leases", "--board", fake.port)
    assert finished.status == 0
    assert finished.err == f"boardwarden: {fake.port}: connected\n"
    quiet = await run("leases", "--board", fake.port)
    assert (quiet.status, quiet.err) == (0, "")


async def test_verbose_logs_a_lost_link_and_why_it_is_not_back(fake):
    process = await start("-v", "watch", "--json", "--board", fake.port)
    await line_of(process)
    fake.vanish()
    said = b""
    while b"cannot be opened again" not in said:
        line = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
        assert line, said
        said += line
    assert f"boardwarden: {fake.port}: link lost\n".encode() in said
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130


# --- progress -------------------------------------------------------------------------------------


async def test_progress_is_shown_on_a_terminal_and_removed(silent):
    terminal = CommandOnTerminal(
        "leases", "--board", silent, environment={"TERM": "xterm"}, waits=SOON
    )
    try:
        await terminal.until(b"connecting to")
        assert await terminal.status() == 2
        shown = terminal.seen.decode()
        progress, _, rest = shown.rpartition("\x1b[2K")  # the line is wiped
        assert "connecting to" in progress
        assert "boardwarden: Nothing at" in rest
        assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    finally:
        await terminal.close()


@pytest.mark.parametrize(
    ("words", "operation"),
    [
        (["release", "7"], ids.RELEASE),
        (["cancel", "7"], ids.CANCEL),
        (["limits"], ids.SET_LIMITS),
        (["thresholds"], ids.SET_LIMITS),
        (["alloc", "memory", "8k"], ids.ALLOCATE),
        (["policy"], ids.SET_LIMITS),
        (["trends"], ids.HISTORY_READ),
    ],
)
async def test_progress_is_shown_while_an_answer_is_late(fake, words, operation):
    def never(asked):
        fake.board.mute = True
        return ids.OK, None

    fake.board.answer[operation] = never
    terminal = CommandOnTerminal(
        *words, "--board", fake.port, environment={"TERM": "xterm"}, waits=SHOWN_SOON
    )
    try:
        await terminal.until("\N{HORIZONTAL ELLIPSIS}".encode())
        terminal.interrupt()
        assert await terminal.status() == 130
        assert terminal.left_as_it_was()
        assert b"Traceback" not in terminal.seen
    finally:
        await terminal.close()


@pytest.mark.parametrize(
    ("command", "what"), [("doctor", b"connecting to"), ("boards", b"looking at the ports")]
)
async def test_progress_is_shown_while_ports_are_examined(silent, command, what):
    endless = {
        "boardwarden.doctor.boards:_ANSWER_TIMEOUT_S": 600.0,
        "boardwarden.doctor.checkup:_HELLO_S": 600.0,
    }
    waits = SHOWN_SOON | endless  # it has not ended before it is interrupted
    terminal = CommandOnTerminal(command, silent, environment={"TERM": "xterm"}, waits=waits)
    try:
        await terminal.until(what)
        terminal.interrupt()
        assert await terminal.status() == 130
        assert terminal.left_as_it_was()
        assert b"Traceback" not in terminal.seen
    finally:
        await terminal.close()


async def test_no_progress_is_written_to_a_pipe(silent):
    finished = await run("leases", "--board", silent, waits=SOON)
    assert finished.status == 2
    assert finished.err.count("\n") == 1
    assert "connecting to" not in finished.err
