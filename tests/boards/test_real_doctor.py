"""`boardwarden doctor` and `boards` with real boards: with the agent, at a prompt, stuck, gone."""

import asyncio
import fcntl
import json
import os
import pty
import re

import pytest
from cli_process import SOON, silent_port
from cli_process import run_and_wait as run
from repl_board import ReplBoard

from boardwarden.deploy import choosing
from boardwarden.doctor import checkup, repl_look
from boardwarden.render.text import duration
from boardwarden.transport.sim import board_path

LIVES = b"async def main():\n    await asyncio.sleep(1000)\nprint('on')\nasyncio.run(main())\n"
LOOPS = b"import time\nprint('application runs')\nwhile True: time.sleep_ms(20)\n"


@pytest.fixture
def silent():
    """Return a port where nothing answers."""
    with silent_port() as port:
        yield port


@pytest.mark.alone
def test_a_healthy_agent_is_reported_healthy():
    done = run("doctor", "sim", "--for", "1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["answers"], found["well"]) == ("agent", True)
    assert found["board"]["agent"] == "0.1.0"
    link = found["link"]
    assert link["requests"] >= 3
    assert (link["lost"], link["gaps"], link["bad_frames"], link["problems"]) == (0, 0, 0, [])
    assert 0 < link["latency_s"] <= link["latency_worst_s"]
    assert found["capabilities"]["largest_free_block"]["available"]
    assert not found["capabilities"]["wlan"]["available"]
    assert any("boardwarden watch --board sim" in sentence for sentence in found["next"])
    text = run("doctor", "sim", "--for", "0.5").stdout
    assert "healthy" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_board_at_its_prompt_is_examined_without_confirmation(tmp_path):
    with ReplBoard(tmp_path) as board:
        done = run("doctor", board.port)
        board.wait_for(b"raw REPL")
    assert (done.returncode, done.stderr) == (2, "")
    assert "not installed" in done.stdout
    assert f"deploy {board.port} --start main.py" in " ".join(done.stdout.split())


def test_a_program_is_stopped_only_with_yes_and_restarted(tmp_path):
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


def test_a_program_that_echoes_what_it_reads_is_stopped_only_with_consent(tmp_path):
    board = ReplBoard(tmp_path)
    board.put({"main.py": b"while True:\n line = input('name? ')\n print('hello', len(line))\n"})
    with board:
        board.wait_for(b"name? ")
        done = run("doctor", board.port)
        assert (done.returncode, done.stderr) == (2, "")
        text = " ".join(done.stdout.split())
        assert "comes back, but no REPL prompt is there: a program echoes it." in text
        assert "--yes` asks the REPL; that stops the program" in text
        board.wait_for(b"hello ")
        assert b"KeyboardInterrupt" not in board.printed
        done = run("doctor", board.port, "--yes", "--json")
        found = json.loads(done.stdout)
        assert (found["answers"], found["repl"]["restarted"]) == ("nothing", True)


def test_boards_lists_what_answers_at_each_port(tmp_path, silent):
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


def with_agent(tmp_path, body):
    """Return a board whose application starts the agent and then does something, over and over.

    It prints how long it took at worst: a busy machine makes it longer than it says.
    """
    path = board_path().split(os.pathsep)
    text = (
        f"import sys\nsys.path[:] = {path!r}\nimport asyncio, time, warden\nwarden.start()\n"
        "async def main():\n print('on')\n worst, end = 0, time.ticks_ms()\n"
        f" while True:\n  {body}\n  begin, end = end, time.ticks_ms()\n"
        "  if time.ticks_diff(end, begin) > worst:\n"
        "   worst = time.ticks_diff(end, begin)\n   print('at worst', worst)\n"
        "asyncio.run(main())\n"
    )
    board = ReplBoard(tmp_path)
    board.put({"main.py": text.encode()})
    return board


def check_stall(link, board, blocked_ms):
    """Check that doctor found the stall that was there, and names it."""
    longest_ms = max(int(took) for took in re.findall(rb"at worst (\d+)\r?\n", board.printed))
    assert blocked_ms <= 1000 * link["stall_s"] <= longest_ms
    (problem,) = link["problems"]
    assert problem == f"the board's loop stalls, for {duration(link['stall_s'])} at worst"


@pytest.mark.parametrize("blocked_ms", [300, 900])
def test_a_blocked_event_loop_is_distinguished_from_a_bad_line(tmp_path, blocked_ms):
    with with_agent(tmp_path, f"time.sleep_ms({blocked_ms}); await asyncio.sleep(0)") as board:
        board.wait_for(b"on\n")
        found = json.loads(run("doctor", board.port, "--for", "4", "--json").stdout)
        shown = run("status", "--board", board.port, "--json")
    assert (found["answers"], found["well"]) == ("agent", False)
    check_stall(found["link"], board, blocked_ms)
    assert found["link"]["lost"] == 0
    assert f"boardwarden top --board {board.port}" in " ".join(found["next"])
    assert json.loads(shown.stdout)["memory"]["total_bytes"] > 0


def test_a_stall_now_and_then_is_not_blamed_on_the_cable(tmp_path):
    body = "await asyncio.sleep_ms(900); time.sleep_ms(400)"
    with with_agent(tmp_path, body) as board:
        board.wait_for(b"on\n")
        link = json.loads(run("doctor", board.port, "--for", "4", "--json").stdout)["link"]
    assert (link["late"] >= 1, link["lost"]) == (True, 0), link
    check_stall(link, board, 400)


def test_a_board_without_an_event_loop_is_not_called_slow(tmp_path):
    path = board_path().split(os.pathsep)
    program = (
        f"import sys\nsys.path[:] = {path!r}\nimport time, warden\nwarden.start()\nprint('on')\n"
        "while True: time.sleep_ms(300); warden.poll()\n"
    )
    board = ReplBoard(tmp_path)
    board.put({"main.py": program.encode()})
    with board:
        board.wait_for(b"on\n")
        found = json.loads(run("doctor", board.port, "--for", "4", "--json").stdout)
    assert found["link"]["problems"] == []
    assert found["link"]["latency_s"] > 0.15  # with a loop it would be


def test_a_stuck_event_loop_is_reported(tmp_path):
    with with_agent(tmp_path, "time.sleep(1000)") as board:
        board.wait_for(b"on\n")
        done = run("doctor", board.port, "--yes")
    assert done.returncode == 2
    assert "does not answer" in done.stdout
    assert "the application blocks its loop" in " ".join(done.stdout.split())


def test_an_agent_whose_application_blocks_from_the_start_is_not_said_to_be_missing(tmp_path):
    app = tmp_path / "blocks.py"
    app.write_text("import time, warden\nwarden.start()\ntime.sleep(60)\n")
    done = run("doctor", f"sim:{app}", waits=SOON)
    assert (done.returncode, done.stderr) == (2, "")
    text = " ".join(done.stdout.split())
    assert "If an agent runs there, its application blocks for longer" in text
    assert "If none does, start it with a link at this address" in text
    assert "Start the agent" not in text


@pytest.mark.parametrize(
    ("program", "says"),
    [("", "printed nothing."), ("import nothing_such", "'nothing_such'\".")],
)
def test_a_program_that_ends_is_not_said_to_block(tmp_path, program, says):
    app = tmp_path / "ends.py"
    app.write_text(program)
    done = run("doctor", f"sim:{app}")
    assert (done.returncode, done.stderr) == (2, "")
    text = " ".join(done.stdout.split())
    assert "ended before its agent answered" in text
    assert says in text
    assert text.endswith("calls warden.start(), and does not end by itself.")
    assert "blocks" not in text


def test_a_board_that_vanishes_during_the_check_is_reported(tmp_path):
    with with_agent(tmp_path, "await asyncio.sleep(1)") as board:
        board.wait_for(b"on\n")
        board.at(400, board._off)
        done = run("doctor", board.port, "--for", "4")
    assert (done.returncode, done.stderr) == (2, "")
    text = " ".join(done.stdout.split())
    assert "next The port or connection was lost during the check: look at power and cable." in text
    assert "shows the board live" not in text


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
    assert found.repl.takes == choosing.heap_use("files", watching=True)
