"""`boardwarden doctor` and `boards`: an agent, a MicroPython without one, nothing at all."""

import fcntl
import json
import os
import pty
import tty

import pytest
from cli_process import run_and_wait as run
from repl_board import ReplBoard

from boardwarden.doctor import advice
from boardwarden.doctor.link_health import _judged
from boardwarden.doctor.repl_look import Firmware
from boardwarden.models import LinkStatus
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


def test_boards_without_arguments_lists_what_there_is():
    done = run("boards", "--json")
    assert done.returncode == 0
    for line in done.stdout.splitlines():
        assert json.loads(line)["address"]


def judged(latencies, **after):
    return _judged(LinkStatus(), LinkStatus(**after), latencies, after.pop("lost", 0), 3, 3.0)


def test_what_makes_a_link_unhealthy():
    assert judged([0.01] * 5).problems == ()
    assert "slow" in judged([0.2] * 5).problems[0]
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
        "has ended": (Firmware(agent="0.1.0", started_by=("main.py",)), True),
        "does not answer": (Firmware(agent="0.1.0", started_by=("main.py",)), False),
        "no machine.Timer": (
            Firmware(agent="0.1.0", started_by=("boot.py",), lacks=("machine.Timer",)),
            False,
        ),
    }
    for words, (firmware, at_prompt) in told.items():
        assert words in " ".join(advice.for_repl(port, firmware, at_prompt)), words
    assert f"deploy {port}" in advice.for_other_version(port)[0]
    assert "same version" in advice.for_other_version("tcp://x:1")[0]
