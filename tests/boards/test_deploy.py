"""`boardwarden deploy` as its user runs it, on a real MicroPython with a file system of its own."""

import asyncio
import contextlib
import hashlib
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tty
from dataclasses import replace

import pytest
import tiny_agent
from cli_process import CommandOnTerminal
from cli_process import run_and_wait as run
from places import REPO
from quiet import Quiet
from repl_board import ReplBoard

from boardwarden.cli import setup
from boardwarden.deploy import compiler, deploying, programs, starting
from boardwarden.deploy.choosing import Heap
from boardwarden.deploy.parts import room_files
from boardwarden.deploy.repl import Repl
from boardwarden.errors import DeployError, LinkLost
from boardwarden.transport.sim import find_micropython

ASYNCIO_APP = b"""\
import asyncio
print("application runs")
async def main():
    while True:
        await asyncio.sleep_ms(100)
asyncio.run(main())
"""
pytestmark = pytest.mark.timeout(120)


def sentence_of(done):
    """Return the one sentence of a command that failed."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("boardwarden: ")
    assert done.stderr.endswith(".\n") or done.stderr.endswith("?\n")
    return done.stderr


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Have a tiny agent deployed, of which no hello is awaited."""
    folder = tiny_agent.write(tmp_path / "tiny", 2)
    monkeypatch.setattr(compiler, "board_files", lambda: (folder,) * 3)
    monkeypatch.setattr(deploying, "await_hello", lambda address, talk: None)
    return folder


@pytest.fixture
def board(tmp_path):
    """Return a board that is off."""
    folder = tmp_path / "board"
    folder.mkdir()
    return ReplBoard(folder)


def test_remove_takes_away_what_the_agent_kept_and_says_who_still_imports_it(board, tiny):
    own = b"import warden\n\nwarden.start()\n"
    board.put({"main.py": own, "warden.policy": b"x", "warden.resets.new": b"x", "mine": b"x",
               "warden.policy.aside": b"x", "warden.slow": b"", "warden.budgets": b"x",
               "warden.budgets.new": b"x", "warden.keys": b"x",
               "warden.resets.last": b"x"})  # fmt: skip
    talk = Quiet()
    with board:
        deploying.deploy(board.port, "", Quiet())
        deploying.remove(board.port, talk)
    assert {"main.py": own, "mine": b"x"} == {
        name: data for name, data in board.files().items() if data is not None
    }
    assert any("main.py still imports warden" in said for said in talk.said), talk.said


def test_a_board_that_starts_slowly_answers_all_tries_at_once(board, tmp_path):
    slowly = tmp_path / "slowly"
    slowly.write_text(f'#!/bin/sh\nsleep 2.5\nexec {find_micropython()} "$@"\n')
    slowly.chmod(0o755)
    with ReplBoard(board.folder, program=str(slowly)) as slow, Repl(slow.port) as repl:
        repl.enter()
        assert repl.call("return 1") == 1


# --- the agent itself -----------------------------------------------------------------------------


def test_deploy_installs_starts_and_removes_the_agent_without_a_trace(board):
    files = {"main.py": ASYNCIO_APP, "boot.py": b"X = 1\r\n", "lib/mine.py": b"\xff\x00"}
    board.put(files)
    with board:
        done = run("deploy", board.port, "--start", "main.py", "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert "  +     warden.start()" in done.stdout
        assert "main.py on the board becomes own/main.py" in done.stdout
        assert "import asyncio" in done.stdout
        assert f"answers at {board.port}" in done.stdout
        status = run("status", "--board", board.port)
        assert status.returncode == 0
        again = run("deploy", board.port, "--start", "main.py")
        assert again.returncode == 0, again.stderr
        assert "main.py starts the agent already" in again.stdout
        assert "nothing to copy" in again.stdout
    on_board = board.files()
    assert on_board["own/main.py"] == ASYNCIO_APP
    assert "lib/warden/loops_viper.mpy" in on_board
    board.put({"lib/warden/decide.mpy": b"damaged"})
    with board:
        done = run("deploy", board.port)
        assert "copied 1," in done.stdout, done.stdout + done.stderr
        done = run("deploy", board.port, "--remove")
        assert (done.returncode, done.stderr) == (0, "")
        assert "main.py is as it was." in done.stdout
        again = run("deploy", board.port, "--remove")
        assert "nothing of the agent" in again.stdout
    assert {name: data for name, data in board.files().items() if data is not None} == files


CRASHES = b"""\
import json
def measure():
    raise OSError(5)
if __name__ == "__main__":
    print("application", "runs")
    measure()
"""


def test_an_unchanged_main_that_raises_at_each_boot_ends_in_safe_mode(board, tmp_path, monkeypatch):
    monkeypatch.setattr(starting, "_PROMPT_S", 1.0)
    board.put({"main.py": CRASHES})
    (tmp_path / "main.py").write_bytes(CRASHES)
    ended = b'File "own/main.py", line 3, in measure'  # where the agent ran it
    with board:
        deploying.deploy(board.port, "main.py", Quiet())
        for boot in (1, 2, 3):
            board.wait_for(ended, boot)
            board.wait_for_prompt(ended)
            board.type(b"\x03\x04")  # a reset
        told = run("safe", "--board", board.port)
        assert told.stdout.startswith("in safe mode"), board.printed[-900:]
        assert board.printed.count(ended) == 3
        told = run("crashes", "--board", board.port, "--source", str(tmp_path))
        lines = told.stdout.splitlines()
        assert lines[0].startswith("! reset after boot 3, 3 times: an exception ended the appl")
        at = lines.index("! application ended, 3 times, in an earlier boot or before the agent")
        assert lines[at + 1 :] == [
            "  own/main.py, line 6, in <module>",
            "    measure()",
            "  own/main.py, line 3, in measure",
            "    raise OSError(5)",
            "  OSError: [Errno 5] EIO",
        ]
        assert run("safe", "--leave", "--board", board.port).returncode == 0
        board.wait_for(ended, 4)
        board.wait_for_prompt(ended)
        board.type(b"\x03json.loads('6') * 7\r")  # the REPL has main.py's names
        board.wait_for(b"\n42")
        deploying.remove(board.port, Quiet())
    assert {n: data for n, data in board.files().items() if data is not None} == {
        "main.py": CRASHES
    }


def test_deploy_works_on_a_plain_unix_port_without_a_start_line(tmp_path):
    """No soft reset there; main.py is run by hand, and runs again after the look."""
    board = ReplBoard(tmp_path, "posix")
    board.put({"main.py": b"print('application', 6 * 7)\n"})
    with board:
        board.wait_for(b">>> ")  # Ctrl-C as it starts would end it: it is a program
        done = run("deploy", board.port)
        assert (done.returncode, done.stderr) == (0, "")
        assert "main.py runs again, without the agent" in done.stdout
        board.wait_for(b"application 42")
        assert run("deploy", board.port, "--remove").returncode == 0
    assert set(board.files()) == {"main.py"}


def test_a_board_without_an_application_runs_it_until_the_reset(board, monkeypatch):
    with board:
        talk = Quiet()
        deploying.deploy(board.port, "", talk)
        assert any("until the next reset" in said for said in talk.said)
        assert run("status", "--board", board.port).returncode == 0


def test_an_application_without_a_loop_is_a_note(board, monkeypatch):
    """All that deploy can do is done: that main.py ends at once is no failure of it."""
    monkeypatch.setattr(starting, "_PROMPT_S", 2.0)
    board.put({"main.py": b"print('done')\n"})
    talk = Quiet()
    with board:
        deploying.deploy(board.port, "main.py", talk)
    assert any("at its prompt, where nothing runs it" in said for said in talk.said)


def _restarting(board, every_bytes, times):
    """Have a board restart by itself, as a watchdog has it, after so many bytes from the host."""

    def bite(left=times):
        if left and board._process.poll() is None:
            board._raw = False
            board.at(every_bytes, lambda: bite(left - 1))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(board._process.pid, signal.SIGTERM)

    board.at(every_bytes, bite)


def test_deploy_comes_to_its_end_where_no_file_fits_between_two_restarts(board, tiny):
    """The board restarts each 22 KB from the host, of which looking takes 8, and one file 25."""
    large = random.Random(1).randbytes(14_000)
    (tiny / "warden" / "clock.py").write_text(f"X = {large!r}\n")
    board.put({"main.py": ASYNCIO_APP})
    talk = Quiet()
    with board:
        _restarting(board, 22_000, 1000)
        deploying.deploy(board.port, "main.py", talk)
    assert any("restarted by itself" in said for said in talk.said)
    ends = ("verified.", "begun.")  # a restart may come just before it is said
    assert any(said.endswith(ends) for said in talk.said)
    assert large in board.files()["lib/warden/__init__.mpy"]


def test_a_board_that_always_restarts_ends_deploy_with_the_reason(board, tiny, monkeypatch):
    monkeypatch.setattr(deploying, "_RESTARTS", 2)
    board.put({"main.py": ASYNCIO_APP})
    with board:
        _restarting(board, 2500, 1000)
        with pytest.raises(LinkLost, match=r"restarted 3 times.*a watchdog.*goes on from here"):
            deploying.deploy(board.port, "main.py", Quiet())


def test_a_frozen_agent_takes_precedence(board, tiny, monkeypatch):
    """The unix port that has a raw REPL has no agent in it: it is only said to."""
    ask = deploying.BoardFiles._ask
    monkeypatch.setattr(deploying.BoardFiles, "_ask", lambda self: replace(ask(self), frozen="0.0"))
    board.put({"main.py": tiny_agent.APP})
    with board:
        talk = Quiet()
        deploying.deploy(board.port, "main.py", talk)
        assert any("0.0 is in the firmware: nothing to copy" in said for said in talk.said)
        assert set(board_names(board)) == {"main.py", "own/main.py"}
        deploying.remove(board.port, talk)
    assert board.files()["main.py"] == tiny_agent.APP


def board_names(board):
    """Return the names of the files on a board."""
    return {name for name, data in board.files().items() if data is not None}


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not os.environ.get("CI") and shutil.which("qemu-system-arm") is None,
    reason="QEMU is missing: apt-get install qemu-system-arm",
)
def test_deploy_to_firmware_with_the_agent_and_no_file_system():
    tool = REPO / "tools" / "build_firmware.py"
    built = subprocess.run([sys.executable, tool, "qemu"], capture_output=True, text=True)
    if built.returncode and not os.environ.get("CI"):
        pytest.skip(f"no firmware: {built.stderr.strip().splitlines()[-1]}")
    assert built.returncode == 0, built.stderr
    words = [
        "-M",
        "mps2-an385",
        "-nographic",
        "-monitor",
        "null",
        "-semihosting",
        "-serial",
        "pty",
        "-kernel",
    ]
    qemu = subprocess.Popen(
        ["qemu-system-arm", *words, built.stdout.splitlines()[-1]],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        port = next(word for word in qemu.stdout.readline().split() if word.startswith("/dev/"))
        sentence = sentence_of(run("deploy", port))
        assert "is in this board's firmware" in sentence
    finally:
        qemu.kill()
        qemu.communicate()


# --- what is on the board already -----------------------------------------------------------------


def test_files_installed_by_mip_are_replaced(board, tiny):
    """A .py would be imported instead of the .mpy beside it."""
    board.put({f"lib/{name}": file.read_bytes() for name, file in room_files(tiny).items()})
    with board:
        deploying.deploy(board.port, "", Quiet())
    files = board.files()
    assert not [name for name in files if name.startswith("lib/warden") and name.endswith(".py")]
    assert "lib/warden/decide.mpy" in files


def test_an_agent_of_separate_files_is_replaced(board, tiny):
    """It had two packages, and many files that are there no more."""
    old = {"warden/__init__.mpy": b"M\x06", "warden/hal.mpy": b"M", "warden_schema/fast.mpy": b"M"}
    listed = "".join(f"{hashlib.sha256(data).hexdigest()} {name}\n" for name, data in old.items())
    board.put({f"lib/{name}": data for name, data in old.items()})
    board.put({"lib/warden/deployed.txt": f"# made lib\n{listed}".encode()})
    with board:
        deploying.deploy(board.port, "", Quiet())
        names = {name for name, data in board.files().items() if data is not None}
        assert "lib/warden/decide.mpy" in names
        assert not [name for name in names if "schema" in name or "hal" in name]
        deploying.remove(board.port, Quiet())
    assert not [name for name in board.files() if name.startswith("lib")]


def test_another_package_named_warden_is_left_alone(board, tiny):
    board.put({"lib/warden/__init__.py": b"# a game\n", "lib/warden/agent.py": b"# 007\n"})
    before = board.files()
    with board, pytest.raises(DeployError, match=r"another package.*as it was"):
        deploying.deploy(board.port, "", Quiet())
    assert board.files() == before


def test_an_agent_earlier_in_the_path_is_named(board, tiny):
    board.put({"warden/__init__.py": b""})
    with board, pytest.raises(DeployError, match="/flash/warden on the board would be imported"):
        deploying.deploy(board.port, "", Quiet())


def test_edited_start_lines_are_left_to_the_user(board, tiny):
    with board:
        deploying.deploy(board.port, "main.py", Quiet())
    changed = board.files()["main.py"].replace(b"warden.start()", b"warden.start(500)")
    board.put({"main.py": changed})
    before = board.files()
    with board, pytest.raises(DeployError, match=r"main\.py on the board is not as deploy left it"):
        deploying.remove(board.port, Quiet())
    assert board.files() == before


def test_files_are_read_back_where_the_board_has_no_hashlib(board, tiny, monkeypatch):
    board.put({"boot.py": b"import sys\nclass H: pass\nsys.modules['hashlib'] = H\n"})
    with board:
        deploying.deploy(board.port, "boot.py", Quiet())
    board.put({"lib/warden/decide.mpy": b"x" * len(board.files()["lib/warden/decide.mpy"])})
    with board:
        talk = Quiet()
        deploying.deploy(board.port, "", talk)
        assert any("copied 1," in said for said in talk.said), talk.said


# --- what can go wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize("foreseen", [True, False])
def test_a_full_disk_leaves_the_board_as_it_was(tmp_path, tiny, monkeypatch, foreseen):
    """Foreseen by what is free; else met while writing, as where littlefs needs more than that."""
    board = ReplBoard(tmp_path, blocks=24)
    board.put({"main.py": tiny_agent.APP, "big.bin": bytes(12 * 4096)})
    before = board.files()
    if not foreseen:
        monkeypatch.setattr(deploying.Installation, "_check_room", lambda *_: None)
    else:
        (tiny / "warden" / "requests.py").write_text(f"X = '{os.urandom(30000).hex()}'\n")
    with board, pytest.raises(DeployError, match=r"disk is full.*The board is as it was\."):
        deploying.deploy(board.port, "main.py", Quiet())
    assert board.files() == before


def test_too_old_firmware_is_refused(board, tiny, monkeypatch):
    monkeypatch.setattr(compiler.Compiler, "format", lambda self: (7, 0))
    with (
        board,
        pytest.raises(DeployError, match=r"loads \.mpy version 6 .* takes 7: install Micro"),
    ):
        deploying.deploy(board.port, "", Quiet())


def test_machine_code_of_another_mpy_version_is_left_out(board, tiny, monkeypatch):
    monkeypatch.setattr(compiler.Compiler, "format", lambda self: (6, 2))
    with board:
        talk = Quiet()
        deploying.deploy(board.port, "", talk)
    assert any("bytecode only" in said for said in talk.said)
    assert "lib/warden/loops_viper.mpy" not in board.files()


def test_an_address_that_is_no_serial_port_is_refused():
    assert "no port /dev/ttyNOPE9" in sentence_of(run("deploy", "/dev/ttyNOPE9"))
    assert "no serial port" in sentence_of(run("deploy", "sim"))
    assert "Which board? Give PORT" in sentence_of(run("deploy"))
    assert "not a serial port" in sentence_of(run("deploy", "/etc/passwd"))


def test_a_port_in_use_is_refused(board):
    with board:
        holder = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
        try:
            import fcntl

            fcntl.flock(holder, fcntl.LOCK_EX)
            assert "Another program has" in sentence_of(run("deploy", board.port))
        finally:
            os.close(holder)


def test_a_port_without_micropython_is_refused(monkeypatch):
    monkeypatch.setattr("boardwarden.deploy.repl._ENTER_S", 0.2)
    near, far = pty.openpty()
    tty.setraw(far)
    try:
        with pytest.raises(DeployError, match=r"^No MicroPython answers"):
            deploying.deploy(os.ttyname(far), "", Quiet())
    finally:
        os.close(near)
        os.close(far)


def test_without_a_terminal_a_change_needs_yes(board):
    board.put({"main.py": ASYNCIO_APP})
    with board:
        assert "--yes" in sentence_of(run("deploy", board.port, "--start", "main.py"))
        board.wait_for(b"application runs")
    assert board_names(board) == {"main.py"}


def test_contradictory_options_are_refused():
    assert "main.py or boot.py" in sentence_of(run("deploy", "/dev/x", "--start", "app.py"))
    words = ("deploy", "/dev/x", "--start", "main.py", "--remove")
    assert "without --start" in sentence_of(run(*words))
    assert "files, romfs or bytecode" in sentence_of(run("deploy", "/dev/x", "--as", "zip"))
    assert "--remove goes without" in sentence_of(run("deploy", "/dev/x", "--remove", "--plan"))


def test_without_its_extra_deploy_names_it():
    """As where only the plain package is installed."""
    program = (
        "import sys; sys.modules['mpremote'] = sys.modules['mpremote.transport'] = None\n"
        "sys.argv = ['boardwarden', 'deploy', '/dev/ttyNOPE9']\n"
        "from boardwarden.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'boardwarden[deploy]'" in sentence_of(done)


async def answered(board, answer):
    """Run deploy on a terminal, answer its question; return exit status and what it wrote."""
    words = ("deploy", board.port, "--start", "main.py")
    command = CommandOnTerminal(*words, environment={"TERM": "xterm"})
    try:
        await command.until(b"[y/N]")
        if answer is None:
            return await command.interrupted(), command.seen.decode()
        await command.type(answer)
        return await command.status(), command.seen.decode()
    finally:
        await command.close()


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 2), (None, 130)])
def test_the_question_can_be_answered_with_no(board, answer, status):
    board.put({"main.py": ASYNCIO_APP})
    with board:
        ended, seen = asyncio.run(answered(board, answer))
    assert ended == status, seen
    assert "The board is as it was." in seen
    assert board_names(board) == {"main.py"}


# --- what it shows before -------------------------------------------------------------------------


def test_the_plan_is_shown_and_nothing_done(board):
    board.put({"main.py": ASYNCIO_APP})
    before = board.files()
    with board:
        done = run("deploy", board.port, "--plan", "--start", "main.py")
        assert (done.returncode, done.stderr) == (0, "")
        board.wait_for(b"application runs", times=2)  # it was stopped, and runs again
        found = run("deploy", board.port, "--plan", "--json")
        assert (found.returncode, found.stderr) == (0, "")
    assert board.files() == before
    assert "not known: its figures are of 32 bits" in done.stdout
    assert "It would be files, deciding." in done.stdout
    assert '  +     warden.run("own/main.py")' in done.stdout
    (line,) = found.stdout.splitlines()
    plan = json.loads(line)
    assert plan["choice"] == plan["options"][0]
    assert (plan["choice"]["way"], plan["choice"]["takes_bytes"]) == ("files", None)
    assert plan["heap_largest_free_block_bytes"] <= plan["heap_free_bytes"]
    assert 300_000 < plan["heap_free_bytes"] < plan["heap_total_bytes"]
    assert (plan["installed"], plan["romfs_bytes"], plan["questions"]) == (None, None, [])
    assert plan["copies_files"] > 15
    assert plan["copies_bytes"] < plan["disk_free_bytes"]


def test_json_is_all_that_is_printed(board):
    board.put({"main.py": ASYNCIO_APP})
    with board:
        done = run("deploy", board.port, "--as", "bytecode", "--start", "main.py", "-y", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        (line,) = done.stdout.splitlines()
        found = json.loads(line)
        assert (found["deployed"], found["choice"]["way"]) == (True, "bytecode")
        assert "lib/warden/loops_viper.mpy" not in board.files()
        removed = run("deploy", board.port, "--remove", "--json")
        assert json.loads(removed.stdout) == {"removed": True}
    assert board_names(board) == {"main.py"}


def test_a_board_that_is_too_small_is_refused_with_figures(board, monkeypatch, capsys):
    """This one has 64 bits, of which nothing is known: its heap is said to be another."""
    small = Heap(60_000, 56_000, 55_000, 32, None)
    monkeypatch.setattr("boardwarden.deploy.choosing.heap", lambda repl: small)
    before = board.files()
    with board:
        with pytest.raises(DeployError, match=r"of the 55 KB .* third; frozen .* board is as it"):
            deploying.deploy(board.port, "", Quiet())
        plan = deploying.plan(board.port, Quiet())
    assert board.files() == before
    assert plan.choice is None
    setup._print_plan(plan)
    printed = capsys.readouterr().out
    assert "too much" in printed
    assert "frozen into firmware" in printed
    assert "--force" in printed


def test_a_read_only_file_system(board, tiny, monkeypatch):
    monkeypatch.setattr(programs, "make_folders", lambda folders: "raise OSError(30)\n")
    with board, pytest.raises(DeployError, match=r"is read-only: .*The board is as it was\."):
        deploying.deploy(board.port, "", Quiet())
