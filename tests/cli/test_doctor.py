"""`boardwarden doctor` and `boards`: fakes, a port where nothing answers, no port at all."""

import asyncio
import json
import os
import subprocess

import pytest
from cli_process import COMMAND, SOON, CommandOnTerminal, TerminalBoard, kill_started, silent_port
from cli_process import run as run_async
from cli_process import run_and_wait as run

from boardwarden import testing
from boardwarden._protocol.link import frame
from boardwarden.crashes import TWO_BOARDS
from boardwarden.deploy import choosing
from boardwarden.deploy.choosing import footprints
from boardwarden.doctor import checkup, repl_look
from boardwarden.doctor.link_health import Counters, RequestCounts, Samples, evaluated
from boardwarden.doctor.repl_look import Firmware
from boardwarden.models import Capability, LinkStatus
from boardwarden.render.text import size
from warden_schema import ids


@pytest.fixture
def silent():
    """Return a port where nothing answers."""
    with silent_port() as port:
        yield port


def test_a_silent_port_is_reported_as_no_micropython(silent):
    done = run("doctor", silent, "--yes", waits=SOON)
    assert (done.returncode, done.stderr) == (2, "")
    assert "No MicroPython answers" in done.stdout


@pytest.mark.parametrize(
    ("address", "words"),
    [("/dev/ttyNOPE9", "no port"), ("nope", "not a board address"), ("sim:/no/x.py", "no file")],
)
def test_an_invalid_or_missing_address_is_one_sentence(address, words):
    done = run("doctor", address)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


class FakePrompt:
    """A fake of a REPL that answers Enter with one of its prompts."""

    def __init__(self, prompt):
        self._prompt = prompt
        self._printed = asyncio.Queue()

    async def write(self, data):
        assert data == b"\r"
        for part in (b"\r\n", self._prompt):
            self._printed.put_nowait(part)

    async def read(self):
        return await self._printed.get()


# What `connect` sends to a REPL may begin a block there: MicroPython indents the next line.
@pytest.mark.parametrize("prompt", [b">>> ", b"... ", b"...     ", b"...         ", b"=== "])
def test_each_prompt_of_a_repl_is_known(prompt):
    assert asyncio.run(repl_look._shows_prompt(FakePrompt(prompt)))


@pytest.mark.parametrize("text", [b">>>", b"name? ", b".... ", b">>> name? "])
def test_what_only_looks_like_a_prompt_is_none(text, monkeypatch):
    monkeypatch.setattr(repl_look, "_PROMPT_S", (0.05, 0.05))
    assert not asyncio.run(repl_look._shows_prompt(FakePrompt(text)))


# --- boards that are not well ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (b"counting 1\r\ncounting 2\r\n", "a program there prints; last: 'counting 2'."),
        (b"\x8f\xfe\x13\x99\xc0\xf1\xff", "neither text nor from an agent"),
        (b"\x1b[32mINFO\x1b[0m\t20 \xc2\xb0C\xff\r\n", "a program there prints; last: 'INFO 20 "),
        (b"\xc0\x93\x01\x02\x03" * 50 + b"\xc0", "neither text nor from an agent"),
        (frame(b"\x92" + bytes(300)), "none that an agent of this version would"),
        (frame(b"\x92\x01\xa1x"), "none that an agent of this version would"),
    ],
)
async def test_doctor_shows_what_another_program_prints(says, words):
    class Other:
        def receive(self, data):
            self.send(says)

        def step(self, now):
            pass

    terminal = TerminalBoard(Other())
    try:
        waits = SOON | {"boardwarden.doctor.checkup:_HELLO_S": 2.0}  # in which it has to print
        done = await run_async("doctor", terminal.port, waits=waits)
    finally:
        await kill_started()
        terminal.close()
    assert (done.status, done.err) == (2, "")
    told = " ".join(done.out.split())
    assert words in told
    is_agent = "an agent of this version" in words
    advice = "puts this version's agent on the board" if is_agent else "--yes` asks the REPL"
    assert advice in told.partition(" next ")[2]


def test_a_port_without_permission_says_which_group_to_join(silent):
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


def test_without_a_board_the_error_asks_which():
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
async def test_an_agent_of_another_version_says_which_side_to_update(version, answers, words):
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


async def test_ctrl_c_at_the_question_restores_the_terminal(silent):
    command = CommandOnTerminal("doctor", silent, environment={"TERM": "xterm"}, waits=SOON)
    try:
        await command.until(b"[y/N] ")
        assert await command.interrupted() == 130
        assert command.seen.endswith(b"[y/N] \r\n")
        assert command.left_as_it_was()
    finally:
        await command.close()


def test_boards_without_arguments_lists_all_ports():
    done = run("boards", "--json", waits=SOON)
    assert done.returncode == 0
    for line in done.stdout.splitlines():
        assert json.loads(line)["address"]


def judged(
    latencies,
    unanswered=0,
    refused=0,
    stall_s=None,
    bad_requests=0,
    restarts=0,
    connected=True,
    **after,
):
    ended = Counters(LinkStatus(**after), bad_requests, restarts, connected)
    requests = RequestCounts(latencies, unanswered, refused)
    return evaluated(Counters(), ended, requests, Samples(3, stall_s), 3.0)


def test_each_symptom_of_a_bad_link_is_named():
    assert judged([0.01] * 5).problems == ()
    lossy = judged([0.01, 0.01, 0.4], unanswered=2, gaps=1)
    assert (lossy.requests, lossy.lost, lossy.loss) == (5, 3, 0.6)
    assert "lost or damaged" in lossy.problems[0]
    assert "lost or damaged" in judged([0.01], bad_frames=2).problems[0]
    assert "lost or damaged" in judged([0.01], gaps=1).problems[0]
    assert "lost or damaged" in judged([0.01], bad_requests=1).problems[0]
    assert "drops frames" in judged([0.01], dropped_frames=4).problems[0]
    assert judged([0.01], dropped_frames=1).problems == ()  # overtaken by an event, say
    assert judged([]).problems == ("no request was answered",)
    assert judged([0.01], unanswered=2).problems == ("2 requests got no answer in time",)


def test_the_line_is_not_blamed_for_what_the_board_itself_does():
    (malformed,) = judged([0.01], malformed_frames=3).problems
    assert malformed.startswith("3 frames came whole, and made no sense here")
    restarted = judged([0.01], unanswered=1, restarts=1)
    assert restarted.problems == ("the board restarted 1 time during the check",)
    known = {name: Capability(True) for name in ids.CAPABILITIES}
    assert "`boardwarden crashes --board sim`" in str(
        checkup.Checkup("sim", checkup.AGENT, capabilities=known, link=restarted).next
    )
    (refused,) = judged([], refused=9).problems
    assert refused == "9 requests that every agent does got an error for an answer"


@pytest.mark.parametrize(
    ("latencies", "stall_s", "words"),
    [
        (
            [0.4] * 5,
            None,
            "answers are slow: something blocks the board's loop, or the line is slow",
        ),
        ([0.4] * 5, 0.42, "the board's loop stalls, for 420 ms at worst"),
        ([0.01, 0.01, 0.4], 0.42, "the board's loop stalls, for 420 ms at worst"),
        (
            [0.01, 0.01, 0.4],
            0.01,
            "some answers are late, by 400 ms at worst: the loop or the line stalls",
        ),
    ],
)
def test_a_late_answer_is_not_blamed_on_the_cable(latencies, stall_s, words):
    found = judged(latencies, stall_s=stall_s)
    assert (found.problems, found.lost) == ((words,), 0)


def test_by_a_broker_answers_take_longer_and_the_application_is_why():
    def judged_by_broker(*latencies):
        requests = RequestCounts(latencies)
        return evaluated(Counters(), Counters(), requests, Samples(3), 3.0, True).problems

    assert judged_by_broker(0.15, 0.2, 0.45) == ()  # it reads ten times a second
    assert "seldom reads its messages (check_msg)" in judged_by_broker(0.6, 0.7)[0]


def test_without_an_event_loop_answers_take_longer():
    def judged_without_loop(*latencies):
        requests = RequestCounts(latencies)
        found = evaluated(Counters(), Counters(), requests, Samples(3), 3.0, has_loop=False)
        return found.problems

    assert judged_without_loop(0.4, 0.5, 1.5) == ()  # a timer calls the agent
    assert "seldom calls warden.poll()" in judged_without_loop(1.2, 1.3)[0]


def test_who_waits_in_vain_for_a_board_behind_a_broker_is_sent_to_the_board_and_the_rules():
    power, rules = checkup._for_silence("mqtt://broker/a", "Nothing came from …")
    assert "power and its network" in power
    assert "boardwarden broker-rules" in rules
    assert "Close what else" in checkup._for_silence("tcp://board", None)[1]


def test_two_boards_at_one_address_are_no_fault_of_the_line():
    ended = Counters(LinkStatus(gaps=9), 0, 7, two_boards=True)
    found = evaluated(Counters(), ended, RequestCounts([0.1], 5, 0), Samples(3), 3.0)
    assert found.problems == (TWO_BOARDS,)
    advice = " ".join(checkup._for_agent(checkup.Checkup("mqtt://b/a", checkup.AGENT), found))
    assert "why it restarted" not in advice


def test_a_lost_port_is_told_from_a_silent_board():
    assert "port or connection was lost" in judged([0.01], connected=False, open=False).problems[0]
    (silent,) = judged([0.01], connected=False).problems
    assert "hangs, sleeps, or lost its power" in silent
    assert "cable" not in silent


@pytest.mark.parametrize("connected", [True, False])
async def test_a_board_that_fell_silent_is_asked_nothing_more(connected, monkeypatch):
    async def measured(*_):
        return judged([0.01], connected=connected)

    monkeypatch.setattr(checkup, "measure", measured)
    peer = testing.FakeBoard()
    peer.answer[ids.SAFE_MODE] = lambda arguments: (ids.OK, True)
    found = await checkup.examine(testing.FakeTransport(peer), 1.0)
    assert found.safe_mode is (True if connected else None)


def test_a_hardware_watchdog_that_nothing_feeds_after_the_application_is_a_warning():
    known = {name: Capability(True) for name in ids.CAPABILITIES}
    words = "nothing feeds the hardware watchdog"
    found = checkup.Checkup("sim", checkup.AGENT, capabilities=known, link=judged([0.01]))
    assert words not in str(found.next)
    known["hang"] = Capability(False, ids.REASONS[ids.NO_TICKER])
    assert words in str(found.next).lower()


def test_the_advice_follows_from_the_repls_answers():
    port = "/dev/ttyACM0"
    told = {
        "puts the agent on the board": (Firmware(), True),
        "neither boot.py nor main.py calls": (Firmware(agent="0.1.0"), True),
        "is at its prompt": (Firmware(agent="0.1.0", started_by=("main.py",)), True),
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
    assert choosing.way_of("warden/__init__.py") == "frozen"
    assert choosing.way_of("/rom/lib/warden/__init__.mpy") == "romfs"
    assert choosing.way_of("/lib/warden/__init__.mpy") == "files"
    assert choosing.way_of("lib/warden/__init__.mpy") == "files"


@pytest.mark.parametrize("state", ["watching", "deciding"])
def test_what_the_agent_takes_is_what_was_counted(state):
    found = choosing.heap_use("", watching=state == "watching")
    counted = {way: footprints()[way, state].bytes for way in ("files", "romfs", "frozen")}
    assert found.to_dict() == {
        "state": state,
        **{f"{way}_bytes": size for way, size in counted.items()},
    }
    only = choosing.heap_use("romfs", watching=state == "watching")
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
    files, frozen = (size(footprints()[way, "watching"].bytes) for way in ("files", "frozen"))
    assert f"takes {files} as files or " in text
    assert f"or {frozen} frozen of heap, watching" in text
