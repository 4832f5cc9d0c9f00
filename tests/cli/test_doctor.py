"""`boardwarden doctor` and `boards`: an agent, a MicroPython without one, nothing at all."""

import asyncio
import fcntl
import json
import os
import pty
import subprocess
import tty

import pytest
from cli_process import COMMAND, CommandOnTerminal, TerminalBoard, kill_started
from cli_process import run as run_async
from cli_process import run_and_wait as run
from repl_board import ReplBoard

from boardwarden import testing
from boardwarden.deploy.figures import footprint
from boardwarden.doctor import checkup, repl_look, taken
from boardwarden.doctor.link_health import _evaluated
from boardwarden.doctor.repl_look import Firmware
from boardwarden.models import LinkStatus
from boardwarden.render.text import size
from boardwarden.transport.sim import board_path

LIVES = b"async def main():\n    await asyncio.sleep(1000)\nprint('on')\nasyncio.run(main())\n"
LOOPS = b"import time\nprint('application runs')\nwhile True: time.sleep_ms(20)\n"


@pytest.fixture
def silent():
    """Return a port where nothing answers."""
    near, far = pty.openpty()
    tty.setraw(far)
    yield os.ttyname(far)
    os.close(near)
    os.close(far)


def test_an_agent_that_is_well():
    done = run("doctor", "sim", "--for", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["answers"], found["well"]) == ("agent", True)
    assert found["board"]["agent"] == "0.1.0"
    link = found["link"]
    assert link["requests"] >= 3
    assert (link["lost"], link["gaps"], link["bad_frames"], link["problems"]) == (0, 0, 0, [])
    assert 0 < link["latency_s"] <= link["latency_worst_s"]
    assert not found["capabilities"]["largest_free_block"]["available"]
    assert any("boardwarden watch --board sim" in sentence for sentence in found["next"])
    text = run("doctor", "sim", "--for", "0.5").stdout
    assert "healthy" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_board_at_its_prompt_is_asked_without_a_question(tmp_path):
    with ReplBoard(tmp_path) as board:
        done = run("doctor", board.port)
        board.wait_for(b"raw REPL")
    assert (done.returncode, done.stderr) == (2, "")
    assert "not installed" in done.stdout
    assert f"deploy {board.port} --start main.py" in " ".join(done.stdout.split())


def test_a_program_is_stopped_only_when_allowed_and_runs_again(tmp_path):
    board = ReplBoard(tmp_path)
    board.put({"main.py": LOOPS})
    with board:
        board.wait_for(b"application runs")
        done = run("doctor", board.port)
        assert done.returncode == 2
        assert "--yes` asks the REPL" in done.stdout
        assert b"KeyboardInterrupt" not in board.printed
        done = run("doctor", board.port, "--yes", "--json")
        found = json.loads(done.stdout)
        assert (found["answers"], found["repl"]["restarted"]) == ("nothing", True)
        assert found["repl"]["machine"].startswith("linux")
        assert found["repl"]["free_disk_bytes"] > 0
        board.wait_for(b"application runs", times=2)


def test_nothing_answers(silent):
    done = run("doctor", silent, "--yes")
    assert (done.returncode, done.stderr) == (2, "")
    assert "No MicroPython answers" in done.stdout


@pytest.mark.parametrize(
    ("address", "words"),
    [("/dev/ttyNOPE9", "no port"), ("nope", "not a board address"), ("sim:/no/x.py", "no file")],
)
def test_addresses_that_are_none(address, words):
    done = run("doctor", address)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_boards_tells_what_answers_at_each_port(tmp_path, silent):
    """An agent, a REPL, nothing, no port; a port in use by another program."""
    agent, prompt = tmp_path / "agent", tmp_path / "prompt"
    for folder in (agent, prompt):
        folder.mkdir()
    source = ReplBoard(agent)
    path = board_path().split(os.pathsep)
    text = f"import sys\nsys.path[:] = {path!r}\nimport asyncio, warden\nwarden.start()\n"
    source.put({"main.py": text.encode() + LIVES})
    with ReplBoard(prompt) as at_prompt, source as with_agent:
        with_agent.wait_for(b"on\n")
        busy, far = pty.openpty()
        fcntl.flock(far, fcntl.LOCK_EX)
        ports = [with_agent.port, at_prompt.port, silent, "/dev/ttyNOPE9", os.ttyname(far)]
        done = run("boards", *ports, "--json")
        table = run("boards", *ports)
        os.close(busy)
        os.close(far)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [port["address"] for port in found] == ports
    answers = [port["answers"] for port in found]
    assert answers == ["agent", "REPL", "nothing", "no such port", "busy"]
    assert found[0]["board"]["agent"] == "0.1.0"
    assert table.stdout.splitlines()[0].split() == ["port", "answers", "what", "it", "is"]


# --- boards that are not well ---------------------------------------------------------------------


def with_agent(tmp_path, body):
    """Return a board whose application starts the agent and then does something, over and over."""
    path = board_path().split(os.pathsep)
    text = (
        f"import sys\nsys.path[:] = {path!r}\nimport asyncio, time, warden\nwarden.start()\n"
        f"async def main():\n print('on')\n while True:\n  {body}\nasyncio.run(main())\n"
    )
    board = ReplBoard(tmp_path)
    board.put({"main.py": text.encode()})
    return board


@pytest.mark.parametrize("blocked_ms", [300, 900])
def test_an_application_that_blocks_the_loop_is_told_from_a_bad_line(tmp_path, blocked_ms):
    with with_agent(tmp_path, f"time.sleep_ms({blocked_ms}); await asyncio.sleep(0)") as board:
        board.wait_for(b"on\n")
        found = json.loads(run("doctor", board.port, "--for", "4", "--json").stdout)
        shown = run("status", "--board", board.port, "--json")
    assert (found["answers"], found["well"]) == ("agent", False)
    assert found["link"]["problems"] == [
        "answers are slow: something blocks the board's loop, or the line is slow"
    ]
    assert f"boardwarden top --board {board.port}" in " ".join(found["next"])
    assert json.loads(shown.stdout)["memory"]["total_bytes"] > 0


def test_a_loop_that_is_stuck(tmp_path):
    with with_agent(tmp_path, "time.sleep(1000)") as board:
        board.wait_for(b"on\n")
        done = run("doctor", board.port, "--yes")
    assert done.returncode == 2
    assert "does not answer" in done.stdout
    assert "the application blocks its loop" in " ".join(done.stdout.split())


def test_a_board_that_vanishes_during_the_check(tmp_path):
    with with_agent(tmp_path, "await asyncio.sleep(1)") as board:
        board.wait_for(b"on\n")
        board.at(400, board._off)
        done = run("doctor", board.port, "--for", "4")
    assert (done.returncode, done.stderr) == (2, "")
    text = " ".join(done.stdout.split())
    assert "next The board vanished during the check: look at its power and its cable." in text
    assert "shows the board live" not in text


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"counting 1\r\ncounting 2\r\n", "a program there prints; last: 'counting 2'."),
        (b"\x8f\xfe\x13\x99\xc0\xf1\xff", "neither text nor from an agent"),
    ],
)
async def test_what_else_is_said_there_is_told(says, words):
    class Other:
        def receive(self, data):
            self.send(says)

        def step(self, now):
            pass

    terminal = TerminalBoard(Other())
    try:
        done = await run_async("doctor", terminal.port)
    finally:
        await kill_started()
        terminal.close()
    assert (done.status, done.err) == (2, "")
    assert words in " ".join(done.out.split())


def test_a_port_that_this_user_may_not_open(silent):
    os.chmod(silent, 0)
    drop = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    command = [*(drop if os.geteuid() == 0 else []), *COMMAND]
    done = subprocess.run([*command, "doctor", silent], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"boardwarden: You may not open {silent}: join the group")
    assert done.stderr.count("\n") == 1
    table = subprocess.run([*command, "boards", silent], capture_output=True, text=True)
    assert "no permission" in table.stdout
    assert "join the group" in " ".join(table.stdout.split())


def test_no_board_is_given():
    done = run("doctor")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("boardwarden: Which board? Give its address or set BOARDWARDEN_")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("version", "answers", "words"),
    [
        ((1, 0), "agent", "older than this host: `boardwarden deploy {}` updates it."),
        ((1, 99), "agent", "newer than this host: `pip install --upgrade boardwarden`."),
        ((2, 0), "agent of another version", "`boardwarden deploy {}` puts this version's agent"),
    ],
)
async def test_an_agent_of_another_version(version, answers, words):
    fake = testing.FakeBoard()
    fake.version = version
    terminal = TerminalBoard(fake)
    try:
        done = await run_async("doctor", terminal.port, "--for", "0.5", "--json")
        table = await run_async("boards", terminal.port)
    finally:
        await kill_started()
        terminal.close()
    found = json.loads(done.out)
    assert found["answers"] == answers
    assert words.format(terminal.port) in " ".join(found["next"])
    assert answers in " ".join(table.out.split())
    assert ("speaks protocol 2.0" in table.out) == (version[0] == 2)


async def test_ctrl_c_at_the_question_leaves_the_terminal_as_it_was(silent):
    command = CommandOnTerminal("doctor", silent, environment={"TERM": "xterm"})
    try:
        await command.until(b"[y/N] ")
        assert await command.interrupted() == 130
        assert command.seen.endswith(b"[y/N] \r\n")
        assert command.left_as_it_was()
    finally:
        await command.close()


def test_boards_without_arguments_lists_what_there_is():
    done = run("boards", "--json")
    assert done.returncode == 0
    for line in done.stdout.splitlines():
        assert json.loads(line)["address"]


def judged(latencies, **after):
    lost, connected = after.pop("lost", 0), after.pop("connected", True)
    return _evaluated(LinkStatus(), LinkStatus(**after), latencies, lost, 3, 3.0, connected)


def test_what_makes_a_link_unhealthy():
    assert judged([0.01] * 5).problems == ()
    slow = judged([0.4] * 5)  # each was sent again, for nothing
    assert (slow.problems[0][:8], len(slow.problems), slow.lost) == ("answers ", 1, 0)
    lossy = judged([0.01, 0.01, 0.4], lost=2)
    assert (lossy.requests, lossy.lost, lossy.loss) == (5, 3, 0.6)
    assert "lost or damaged" in lossy.problems[0]
    assert judged([0.01], lost=2, connected=False).problems == (
        "the board vanished during the check: look at its power and its cable",
    )
    assert "lost or damaged" in judged([0.01], bad_frames=2).problems[0]
    assert "lost or damaged" in judged([0.01], gaps=1).problems[0]
    assert "drops frames" in judged([0.01], dropped_frames=4).problems[0]
    assert judged([0.01], dropped_frames=1).problems == ()  # overtaken by an event, say
    assert "no request was answered" in judged([]).problems[0]


def test_what_to_do_next_follows_from_what_the_repl_told():
    port = "/dev/ttyACM0"
    told = {
        "puts the agent on the board": (Firmware(), True),
        "nothing starts it": (Firmware(agent="0.1.0"), True),
        "but has ended": (Firmware(agent="0.1.0", started_by=("main.py",)), True),
        "does not answer": (Firmware(agent="0.1.0", started_by=("main.py",)), False),
        "no machine.Timer": (
            Firmware(agent="0.1.0", started_by=("boot.py",), lacks=("machine.Timer",)),
            False,
        ),
    }
    for words, (firmware, at_prompt) in told.items():
        assert words in " ".join(checkup._for_repl(port, firmware, at_prompt)), words
    assert f"deploy {port}" in checkup._for_other_version(port)[0]
    assert "same version" in checkup._for_other_version("tcp://x:1")[0]


# --- what the agent takes -------------------------------------------------------------------------


def test_how_the_agent_is_installed_follows_from_its_place():
    assert taken.way_of("warden/__init__.py") == "frozen"
    assert taken.way_of("/rom/lib/warden/__init__.mpy") == "romfs"
    assert taken.way_of("/lib/warden/__init__.mpy") == "files"
    assert taken.way_of("lib/warden/__init__.mpy") == "files"


@pytest.mark.parametrize("state", ["watching", "deciding"])
def test_what_the_agent_takes_is_what_was_counted(state):
    found = taken.taken("", watching=state == "watching")
    counted = {way: footprint()[way, state].bytes for way in ("files", "romfs", "frozen")}
    assert found.to_dict() == {
        "state": state,
        **{f"{way}_bytes": size for way, size in counted.items()},
    }
    only = taken.taken("romfs", watching=state == "watching")
    assert (only.files_bytes, only.romfs_bytes, only.frozen_bytes) == (None, counted["romfs"], None)


async def test_what_a_running_agent_takes_is_told_for_each_way():
    """The link does not tell which it is. The fake board has no limits, as one that watches."""
    terminal = TerminalBoard(testing.FakeBoard())
    try:
        done = await run_async("doctor", terminal.port, "--for", "0.5")
    finally:
        await kill_started()
        terminal.close()
    text = " ".join(done.out.split())
    files, frozen = (size(footprint()[way, "watching"].bytes) for way in ("files", "frozen"))
    assert f"takes {files} as files or " in text
    assert f"or {frozen} frozen of heap, watching" in text


def test_what_an_installed_agent_takes_is_told_by_its_start_line(tmp_path, monkeypatch):
    """The simulated board has 64 bits, of which nothing is known: here it says that it has 32."""
    probe = repl_look._PROBE
    board = ReplBoard(tmp_path)
    board.put({"lib/warden/__init__.py": b"VERSION = '0.1.0'\n"})
    board.put({"main.py": b"import warden\nwarden.start(protect=False)\n"})
    with board:
        found = asyncio.run(checkup.ask_repl(checkup.Checkup(board.port, checkup.PROMPT)))
        assert found.repl.agent == "0.1.0"
        assert found.repl.takes is None
        assert " >> 1)" in probe
        monkeypatch.setattr(repl_look, "_PROBE", probe.replace(" >> 1)", " >> 1 >> 31)"))
        found = asyncio.run(checkup.ask_repl(checkup.Checkup(board.port, checkup.PROMPT)))
    assert found.repl.takes == taken.taken("files", watching=True)
