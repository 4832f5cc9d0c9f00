"""What holds for every command: exit statuses, completion, what is logged, progress."""

import asyncio
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import doc_commands
import pytest
from cli_process import (
    COMMAND,
    LIMIT_S,
    CommandOnTerminal,
    TerminalBoard,
    finish,
    kill_started,
    line_of,
    run,
    start,
)
from command_environment import of_command
from places import REPO

from boardwarden import _program, testing
from boardwarden.cli import options
from warden_schema import ids


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


@pytest.fixture
def silent():
    """Return a terminal at which nothing ever answers."""
    near, far = pty.openpty()
    yield os.ttyname(far)
    os.close(near)
    os.close(far)


# --- exit statuses --------------------------------------------------------------------------------


def test_the_documented_exit_statuses_are_those_there_are():
    text = (REPO / "docs" / "host.md").read_text(encoding="utf-8")
    table = text.partition("| exit status |")[2].partition("\n\n")[0]
    told = [int(n) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for n in row.split(",")]
    there = [0, _program.FAILED, _program.DENIED, _program.INTERRUPTED, _program.PIPE_CLOSED]
    assert sorted(told) == sorted(there) == [0, 2, 3, 130, 141]


def test_every_command_that_reads_has_json():
    options = doc_commands.cli()
    without = [name for name, known in options.items() if name and "--json" not in known]
    assert sorted(without) == ["deploy", "serve"]  # of which one changes, and one answers scrapes


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["leases"], 0),
        (["release", "7"], 2),
        (["no-such-command"], 2),
        (["alloc", "memory", "1M"], 3),
    ],
)
async def test_how_a_command_ends(fake, words, status):
    finished = await run(*words, BOARDWARDEN_BOARD=fake.port)
    assert finished.status == status, finished.err


async def test_ctrl_c_and_a_reader_that_has_enough(fake):
    fake.board.interval_s = 0.05
    for how, status in (("interrupt", 130), ("close", 141)):
        process = await start("watch", "--json", "--board", fake.port)
        await line_of(process)
        if how == "interrupt":
            process.send_signal(signal.SIGINT)
        else:
            process.stdout._transport.close()
        assert await asyncio.wait_for(process.wait(), LIMIT_S) == status


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["leases"], ["boards"], ["--help"], ["--version"]])
@pytest.mark.parametrize("how", ["full", "gone", "closed"])
async def test_standard_output_that_takes_nothing_is_one_sentence(fake, words, how):
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


async def test_ctrl_c_while_the_command_is_still_loading():
    """As soon as the package itself is imported, which a library's import may not change."""
    code = (
        "import os, signal, sys; import boardwarden.cli as cli; "
        "sys.addaudithook(lambda name, args: name == 'import' and args[0] == 'typer' "
        "and os.kill(os.getpid(), signal.SIGINT)); sys.argv = ['boardwarden', 'boards']; cli.main()"
    )
    finished = await run(command=[sys.executable, "-W", "error", "-c", code])
    assert (finished.status, finished.out, finished.err) == (130, "", "")


# --- completion -----------------------------------------------------------------------------------


# By shell: a program that prints, one a line, what is offered for the words that it is given.
OFFERS = {
    "bash": '''
eval "$(boardwarden --show-completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_boardwarden_completion boardwarden; printf '%s\\n' "${COMPREPLY[@]}"''',
    # What _arguments and _files would show: only a line editor has them.
    "zsh": """
compdef() { }; _files() { }
_arguments() { print -r -- "$1" | sed 's/^[^(]*//' | grep -o '[( ]"[^"]*"' | tr -d '(" ' }
eval "$(boardwarden --show-completion zsh)"; words=("$@"); CURRENT=$#
_boardwarden_completion""",
    "fish": """
boardwarden --show-completion fish | source
complete --do-complete "$argv" | string replace --regex "\\t.*" ""
true""",
}


@pytest.mark.parametrize("shell", OFFERS)
async def test_each_shell_completes_commands_options_addresses_and_words(shell, tmp_path):
    program = shutil.which(shell)
    if program is None and os.environ.get("CI") != "true":
        pytest.skip(f"no {shell} here (Debian: apt-get install {shell})")
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"

    async def offers(*words):
        script = tmp_path / "offers"
        script.write_text(OFFERS[shell])
        command = [program, script, "boardwarden", *words]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            capture_output=True,
            text=True,
            env=of_command(PATH=path, HOME=str(tmp_path)),
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    assert await offers("serv") == ["serve"]
    assert await offers("status", "--js") == ["--json"]
    assert await offers("status", "--board", "si") == ["sim"]
    assert await offers("serve", "--board", "si") == ["sim"]
    assert await offers("doctor", "si") == ["sim"]
    assert await offers("alloc", "net") == ["network-bandwidth"]
    assert await offers("thresholds", "loop_lag_w") == ["loop_lag_worst"]


def test_the_serial_ports_that_are_here_are_offered(monkeypatch):
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
        "from boardwarden.cli import main; sys.argv[0] = 'boardwarden'; main()"
    )
    return [sys.executable, "-c", code]


async def test_the_board_at_the_only_usb_port_need_not_be_named(fake):
    command = only_port(("/dev/ttyS0", None), (fake.port, 0x2E8A), ("/dev/ttyS1", None))
    finished = await run("leases", command=command)
    assert (finished.status, finished.out, finished.err) == (0, "no leases\n", "")


async def test_of_several_ports_or_none_the_board_is_asked_for(fake):
    command = only_port((fake.port, 0x2E8A), ("/dev/ttyACM9", 0x2E8A))
    for words in (["leases"], ["watch"], ["doctor"], ["deploy"]):
        finished = await run(*words, command=command)
        assert (finished.status, finished.out) == (2, "")
        assert finished.err.startswith("boardwarden: Which board? Give ")
        assert finished.err.endswith(f" Boards may be at {fake.port}, /dev/ttyACM9.\n")
    finished = await run("leases", command=only_port((fake.port, None)))  # built in
    assert finished.status == 2
    assert finished.err.endswith("or tcp://host:port.\n")


# --- what is logged -------------------------------------------------------------------------------


async def test_verbose_tells_what_happens_to_the_link(fake):
    finished = await run("--verbose", "leases", "--board", fake.port)
    assert finished.status == 0
    assert finished.err == f"boardwarden: {fake.port}: connected\n"
    quiet = await run("leases", "--board", fake.port)
    assert (quiet.status, quiet.err) == (0, "")


async def test_verbose_tells_that_the_link_is_lost_and_why_it_is_not_back(fake):
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


async def test_a_terminal_is_told_what_takes_long_and_left_clean(silent):
    terminal = CommandOnTerminal("leases", "--board", silent, environment={"TERM": "xterm"})
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
async def test_an_answer_that_takes_long_is_waited_for_with_progress(fake, words, operation):
    def never(asked):
        fake.board.mute = True
        return ids.OK, None

    fake.board.answer[operation] = never
    terminal = CommandOnTerminal(*words, "--board", fake.port, environment={"TERM": "xterm"})
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
async def test_looking_at_ports_takes_long_too(silent, command, what):
    terminal = CommandOnTerminal(command, silent, environment={"TERM": "xterm"})
    try:
        await terminal.until(what)
        terminal.interrupt()
        assert await terminal.status() == 130
        assert terminal.left_as_it_was()
        assert b"Traceback" not in terminal.seen
    finally:
        await terminal.close()


async def test_a_pipe_gets_no_progress(silent):
    finished = await run("leases", "--board", silent)
    assert finished.status == 2
    assert finished.err.count("\n") == 1
    assert "connecting to" not in finished.err
