"""A policy for the boards of a real broker: in groups, stopped by one that gets worse, undone."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_process import COMMAND, CommandOnTerminal, finish, run, start
from fake_stream import FakeStreamBoard
from mosquitto_server import Mosquitto
from mqtt_boards import MqttBoards
from test_mqtt_board import BrokerBoard, powered
from virtual_time import until

from boardwarden import connect, policy_file, policy_on_board, rollout, undo_file
from boardwarden._program import Failure
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.cli import rollout as rollout_command
from boardwarden.doctor import boards as doctor_boards
from boardwarden.errors import AddressError, KeyRefused, NoPlace, PolicyError
from boardwarden.grants import Event
from boardwarden.models import StoredPolicy
from boardwarden.policy_on_board import Before, Health
from boardwarden.rollout import (
    BoardResult,
    Progress,
    Rollout,
    State,
    Summary,
    Wanted,
    find,
    group_sizes,
    parse_pattern,
    undo,
)
from boardwarden.transport import mqtt_broker
from boardwarden.transport.address import parse_mqtt
from boardwarden.undo_file import UndoFile
from warden_schema import ids

FILE = """\
[limits]
max_operations = 2
[[threshold]]
metric = "cpu"
warn = "75 %"
"""
_CPU = THRESHOLD_METRICS.index("cpu")
_CRITICAL_CPU = [
    _CPU,
    750,
    None,
    750,
    0,
    0,
    2,
    990,
]  # its row


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "warden.toml"
    path.write_text(FILE)
    return path


def boards(*names: str) -> dict[str, FakeStreamBoard]:
    """Return fake boards that sample ten times a second."""
    made = {name: FakeStreamBoard() for name in names}
    for board in made.values():
        board.interval_s = 0.1
        board.policy.used = True
    return made


class Seen(Progress):
    """Keeps what a roll-out reports; `on` is called with each group that is watched."""

    def __init__(self, on: Callable[[Sequence[str]], None] = lambda names: None) -> None:
        super().__init__()
        self.results: list[BoardResult] = []
        self.groups: list[list[str]] = []
        self._on = on

    def on_result(self, result: BoardResult) -> None:
        self.results.append(result)

    def on_watch(self, names: Sequence[str], passed_s: float, total_s: float) -> None:
        if [*names] not in self.groups:
            self.groups.append([*names])
            self._on(names)

    @property
    def states(self) -> dict[str, State]:
        """The last state of each board."""
        return {each.board: each.state for each in self.results}


class Connected(Seen):
    """Counts how many boards a host is connected to at most when there is a result."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.most = 0
        self._place = parse_mqtt(address)[0]

    def on_result(self, result: BoardResult) -> None:
        super().on_result(result)
        topics = mqtt_broker.shared(self._place)._receivers
        self.most = max(self.most, sum(topic.endswith("/up") for topic in topics))


async def roll_out(
    broker: Mosquitto, path: Path, seen: Seen, watch_s: float = 0.3, pattern: str = "*"
) -> Summary:
    """Roll FILE out, with the file that undoes it at `path`."""
    wanted = Wanted(policy_file.loads(FILE), watch_s=watch_s)
    found = await find(parse_pattern(f"{broker.address}/{pattern}"))
    with UndoFile(path) as written:
        return await Rollout(wanted, seen, written).run(found)


def test_the_first_boards_come_alone_and_groups_grow_to_64() -> None:
    sizes = group_sizes()
    assert [next(sizes) for _ in range(10)] == [1, 1, 2, 4, 8, 16, 32, 64, 64, 64]


async def test_a_policy_goes_over_a_fleet_in_groups_and_back(broker, tmp_path) -> None:
    fakes = boards(*(f"green-{number}" for number in range(7)), "red-1")
    fakes["green-3"].policy.limits[0] = 7  # which it has again afterwards
    fakes["green-3"].policy.stored = 1
    path = tmp_path / "undo.jsonl"
    seen = Seen()
    async with MqttBoards(broker.address, fakes):
        summary = await roll_out(broker, path, seen, pattern="green-*")
        assert (summary.ended, summary.boards) == ("done", {"applied": 7})
        assert [len(group) for group in seen.groups] == [1, 1, 2, 3]
        for name, board in fakes.items():
            assert board.policy.limits[0] == (4 if name == "red-1" else 2)
            assert board.policy.stored == (name != "red-1")
        again = Connected(broker.address)
        await roll_out(broker, tmp_path / "none.jsonl", again, pattern="green-*")
        assert again.most == 1  # one that is not watched does not stay connected
        assert set(again.states.values()) == {State.HAD_IT}
        assert not (tmp_path / "none.jsonl").exists()
        back = Seen()
        summary = await undo(undo_file.read(path), False, back)
        assert (summary.ended, summary.boards) == ("done", {"restored": 7})
        assert back.results[0].board == "green-6"  # the last one first
        for name, board in fakes.items():
            assert board.policy.limits[0] == (7 if name == "green-3" else 4)
            assert board.policy.stored == (name == "green-3")
        twice = Seen()
        await undo(undo_file.read(path), False, twice)
        assert set(twice.states.values()) == {State.HAD_IT}


@pytest.mark.parametrize("state", [StoredPolicy.SET_ASIDE, StoredPolicy.BROKEN])
async def test_a_policy_that_was_not_in_force_is_not_stored_again(broker, tmp_path, state) -> None:
    fakes = boards("a")
    fakes["a"].policy.stored = int(state)
    path = tmp_path / "undo.jsonl"
    async with MqttBoards(broker.address, fakes):
        await roll_out(broker, path, Seen())
        seen = Seen()
        for _ in range(2):
            await undo(undo_file.read(path), False, seen)
    assert [each.state for each in seen.results] == [State.RESTORED, State.HAD_IT]
    assert fakes["a"].policy.stored == StoredPolicy.NOTHING


def test_what_a_board_stores_is_as_before_where_undoing_it_changes_nothing() -> None:
    policy = policy_file.loads(FILE)
    back = {
        (before.name, now.name)
        for before in StoredPolicy
        for now in StoredPolicy
        if Before(policy, before).is_back(Before(policy, now))
    }
    same = {(each.name, each.name) for each in StoredPolicy}
    assert back == same | {("SET_ASIDE", "NOTHING"), ("BROKEN", "NOTHING")}


def _crosses(board: FakeStreamBoard) -> None:
    board.policy.happen("threshold", _CPU, "critical", 990)


def _crosses_unheard(board: FakeStreamBoard) -> None:
    place = next(at for at, row in board.policy.tables[ids.THRESHOLD].items() if row[0] == _CPU)
    board.policy.put(ids.THRESHOLD, place, _CRITICAL_CPU)


def _refuses(board: FakeStreamBoard) -> None:
    board.policy.happen("denied", None, "memory", 4096)


def _hangs(board: FakeStreamBoard) -> None:
    board.policy.happen("hang", 0, "sync", 5000)


def _restarts(board: FakeStreamBoard) -> None:
    board.restart()
    board.policy.used = True
    board.begin_full_state()


TROUBLE = {
    _crosses: "threshold cpu: critical, 99 %",
    _crosses_unheard: "cpu is at its level critical",
    _refuses: "1 refusal; the last: denied: memory, 4.0 KB",
    _hangs: "1 hang; the last: hang begun: sync, 5 s",
    _restarts: "the board restarted: ",
}


@pytest.mark.parametrize("happens", TROUBLE, ids=lambda each: each.__name__)
async def test_a_board_that_gets_worse_stops_it_and_the_others_are_not_reached(
    broker, tmp_path, happens
) -> None:
    fakes = boards("a", "b", "c", "d")

    def on_watch(names: Sequence[str]) -> None:
        if "b" in names:
            happens(fakes["b"])

    seen = Seen(on_watch)
    async with MqttBoards(broker.address, fakes):
        summary = await roll_out(broker, tmp_path / "undo.jsonl", seen, watch_s=0.6)
    assert summary.ended == "stopped"
    assert summary.reason.startswith(f"b: {TROUBLE[happens]}")
    assert summary.boards == {"applied": 1, "worse": 1, "not_reached": 2}
    assert [board.policy.limits[0] for board in fakes.values()][2:] == [4, 4]
    assert len(undo_file.read(tmp_path / "undo.jsonl")) == 2


async def test_another_roll_out_on_the_same_boards_ends_the_one_that_watches_them(
    broker, tmp_path
) -> None:
    fakes = boards("a", "b", "c")
    other = Wanted(policy_file.loads(FILE.replace("75 %", "60 %")), watch_s=0.1)
    target: list[doctor_boards.BrokerBoard] = []
    began: list[asyncio.Task[Summary]] = []

    async def roll_out_the_other() -> Summary:
        with UndoFile(tmp_path / "other.jsonl") as file:
            return await Rollout(other, Seen(), file).run(target)

    def overtake(names: Sequence[str]) -> None:
        if [*names] == ["b"]:
            began.append(asyncio.create_task(roll_out_the_other()))

    seen = Seen(overtake)
    async with MqttBoards(broker.address, fakes):
        target += await find(parse_pattern(f"{broker.address}/b"))
        summary = await roll_out(broker, tmp_path / "undo.jsonl", seen, watch_s=1.5)
        second = await began[0]
    assert summary.ended == "stopped"
    assert summary.reason == "b: threshold.cpu: changed since, and not by this roll-out"
    assert seen.states == {"a": State.APPLIED, "b": State.CHANGED}
    assert (second.ended, second.boards) == ("done", {"applied": 1})


async def test_a_board_of_which_only_a_state_is_there_is_left_out(
    broker, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(doctor_boards, "_LISTEN_TO_BOARDS_S", 0.5)
    fakes = boards("a", "b")
    fakes["a"].mute = True
    pattern = parse_pattern(f"{broker.address}/*")
    async with MqttBoards(broker.address, fakes) as fleet:
        fleet.publish("boardwarden/c/state", b"\x91\x00", retain=True)
        found = await find(pattern)
        assert rollout_command._matching(found, pattern) == (
            f"3 boards at {broker.address} of the name *; 1 offline, 1 silent for 500 ms, left out"
        )
        seen = Seen()
        summary = await roll_out(broker, tmp_path / "undo.jsonl", seen)
    assert (summary.ended, summary.boards) == (
        "done",
        {"applied": 1, "offline": 1, "unreachable": 1},
    )
    assert seen.results[0].reason == "Within 500 ms nothing came from it that this user may read."


@pytest.mark.parametrize("detail", ["set aside", "forgotten"])
async def test_a_policy_that_a_board_gives_up_stops_it(broker, tmp_path, detail) -> None:
    fakes = boards("a", "b")
    seen = Seen(lambda names: fakes["a"].policy.happen("policy", None, detail))
    async with MqttBoards(broker.address, fakes):
        summary = await roll_out(broker, tmp_path / "undo.jsonl", seen, watch_s=20)
    assert (summary.ended, summary.reason) == ("stopped", f"a: policy: {detail}")
    assert seen.states == {"a": State.WORSE}


async def test_a_board_that_is_lost_stops_it(broker, tmp_path) -> None:
    fakes = boards("a", "b")
    async with MqttBoards(broker.address, fakes) as fleet:

        def on_watch(names: Sequence[str]) -> None:
            asyncio.get_running_loop().call_soon(
                lambda: tasks.append(asyncio.create_task(fleet.set_online("a", False)))
            )

        tasks: list[asyncio.Task[None]] = []
        summary = await roll_out(broker, tmp_path / "undo.jsonl", Seen(on_watch), watch_s=0.6)
    assert summary.ended == "stopped"
    assert summary.reason.startswith("a: link lost; the last sample came")
    assert summary.boards == {"worse": 1, "not_reached": 1}


async def test_what_was_so_before_is_not_worse(broker, tmp_path) -> None:
    fakes = boards("a")
    board = fakes["a"]
    board.interval_s = 0.0  # its uptime stands still: what it refused was just now
    board.policy.put(ids.THRESHOLD, 0, _CRITICAL_CPU)
    for _ in range(3):
        board.policy.happen("denied", None, "memory", 4096)

    def on_watch(names: Sequence[str]) -> None:
        board.policy.happen("threshold", _CPU, "warn", 800)
        board.policy.happen("threshold", _CPU, "critical", 990)
        board.policy.happen("denied", None, "memory", 4096)
        board.policy.happen("hang", 1, "sync", 6000)  # it is over

    async with MqttBoards(broker.address, fakes):
        summary = await roll_out(broker, tmp_path / "undo.jsonl", Seen(on_watch), watch_s=0.5)
    assert summary.boards == {"applied": 1}, summary


def test_what_was_usual_is_scaled_where_a_board_remembers_less() -> None:
    def events(count: int, since: float) -> list[Event]:
        return [Event(number, "denied", since + number / 10) for number in range(count)]

    hangs = [Event(0, "hang", 98.0, "begun"), Event(1, "hang", 99.0, "over")]
    assert policy_on_board._usual(hangs, "hang", 100.0, 60.0) == 1
    assert policy_on_board._usual([], "denied", 100.0, 60.0) == 0
    assert policy_on_board._usual(events(3, 98.0), "denied", 100.0, 60.0) == 3
    assert policy_on_board._usual(events(3, 20.0), "denied", 100.0, 60.0) == 0  # too long ago
    assert policy_on_board._usual(events(3, 98.0), "exception", 100.0, 60.0) == 0
    full = events(ids.MAX_EVENTS, 90.0)  # of ten seconds: there were more before
    assert policy_on_board._usual(full, "denied", 100.0, 60.0) == 6 * ids.MAX_EVENTS


def test_what_happened_longer_ago_than_the_time_of_watching_is_not_compared() -> None:
    board = SimpleNamespace(
        recent_events=[Event(0, "denied", 95.0)],
        status=SimpleNamespace(cpu=SimpleNamespace(uptime_s=100.0)),
        thresholds=(),
        restarts=(),
        restart_count=0,
        connected=True,
    )
    one = Health(board, 10.0)
    # A large group takes longer to be changed: one each ten seconds, as before.
    board.recent_events += [Event(number, "denied", 95.0 + 10 * number) for number in (1, 2, 3)]
    assert one.worse(0.0) is None
    board.recent_events.append(Event(4, "denied", 126.0))
    assert one.worse(0.0).startswith("2 refusals, 1 in 10 s before; the last: ")


async def test_boards_that_refuse_or_are_away_are_passed_over_with_their_reason(
    broker, tmp_path
) -> None:
    fakes = boards("acts", "away", "old", "looks", "well")
    fakes["acts"].policy.acts_now = True
    fakes["old"].version = (1, ids.PROTOCOL_MINOR - 1)
    fakes["old"].answer.pop(ids.KEEP)
    denied = (ids.DENIED, ["needs_control", None, None, []])
    fakes["looks"].answer = dict.fromkeys(fakes["looks"].answer, lambda arguments: denied)
    fakes["well"].version = (1, ids.PROTOCOL_MINOR - 1)
    seen = Seen()
    async with MqttBoards(broker.address, fakes) as fleet:
        await fleet.set_online("away", False)
        summary = await roll_out(broker, tmp_path / "undo.jsonl", seen)
    assert (summary.ended, summary.boards) == ("done", {"applied": 1, "refused": 3, "offline": 1})
    reasons = {each.board: each.reason for each in seen.results}
    assert "under this policy something is critical at this moment" in reasons["acts"]
    assert "Nothing was changed." in reasons["acts"]
    assert "takes the right to control" in reasons["looks"]
    assert "too old for this" in reasons["old"]
    former = f"its agent is older than this host (protocol 1.{ids.PROTOCOL_MINOR - 1}"
    assert reasons["well"].startswith(former)
    assert fakes["acts"].policy.limits[0] == 4
    assert seen.groups == [["well"]]


async def test_a_broker_that_is_gone_ends_it_and_the_others_are_not_reached(
    broker, tmp_path
) -> None:
    fakes = boards("a", "b", "c")
    path = tmp_path / "undo.jsonl"
    seen = Seen(lambda names: broker.kill() if "b" in names else None)
    async with MqttBoards(broker.address, fakes):
        summary = await roll_out(broker, path, seen, watch_s=0.6)
        assert summary.ended == "stopped"
        assert summary.boards == {"applied": 1, "worse": 1, "not_reached": 1}
        summary = await undo(undo_file.read(path), False, Seen())
        assert (summary.ended, summary.boards) == ("stopped", {"not_reached": 2})
        assert "No broker listens" in summary.reason
    found = [
        doctor_boards.BrokerBoard(name, f"{broker.address}/{name}", True) for name in ("a", "b")
    ]
    wanted = Wanted(policy_file.loads(FILE))
    with UndoFile(tmp_path / "other.jsonl") as written:
        summary = await Rollout(wanted, Seen(), written).run(found)
    assert (summary.ended, summary.boards) == ("stopped", {"not_reached": 2})
    assert "No broker listens" in summary.reason


def _hangs_in_a_threshold(board: FakeStreamBoard) -> asyncio.Event:
    """Have a board answer nothing any more from the first threshold on; the event is that."""
    asked, send = asyncio.Event(), board._send

    def lose_replies(kind: int, *fields: object) -> None:
        if kind != ids.REPLY or not asked.is_set():
            send(kind, *fields)

    def hang(arguments: list[object]) -> tuple[int, object]:
        asked.set()
        return ids.OK, None

    board._send = lose_replies
    board.answer[ids.SET_THRESHOLD] = hang
    return asked


async def test_a_board_that_is_lost_in_the_middle_stops_it_and_can_be_undone(
    broker, tmp_path, monkeypatch
) -> None:
    fakes = boards("a", "b")
    set_limits = fakes["a"].answer[ids.SET_LIMITS]

    def be_impatient(arguments: list[object]) -> tuple[int, object]:
        """Answer the last request that is answered: the next one is waited for in vain."""
        monkeypatch.setattr("boardwarden.board._REQUEST_TIMEOUT_S", 0.5)
        return set_limits(arguments)

    fakes["a"].answer[ids.SET_LIMITS] = be_impatient
    _hangs_in_a_threshold(fakes["a"])
    path = tmp_path / "undo.jsonl"
    async with MqttBoards(broker.address, fakes):
        summary = await roll_out(broker, path, Seen())
    assert summary.ended == "stopped"
    assert summary.boards == {"unknown": 1, "not_reached": 1}
    assert summary.reason.endswith("1 of 3 changes had been made, none of them stored.")
    (changed,) = undo_file.read(path)
    assert changed.before.policy.limits.max_operations == 4


def _reserves_too_much(board: FakeStreamBoard) -> None:
    board.policy.limits[2] = 5000


def _acts_as_nobody_knows(board: FakeStreamBoard) -> None:
    board.policy.put(ids.THRESHOLD, 0, [_CPU, 100, 200, 100, 0, 77, 0, 0])


def _watches_what_nobody_knows(board: FakeStreamBoard) -> None:
    board.policy.put(ids.THRESHOLD, 0, [999, 100, 200, 100, 0, 0, 0, 0])


ODD = {
    _reserves_too_much: "memory_reserve must be a fraction from 0 to 0.9, not 5.0.",
    _acts_as_nobody_knows: "What it has could not be put back, so it is left alone: ",
    _watches_what_nobody_knows: "has a threshold on metric 999, which this host does not know",
}


@pytest.mark.parametrize("make_odd", ODD, ids=lambda each: each.__name__)
async def test_a_board_that_could_not_be_undone_is_left_alone(broker, tmp_path, make_odd) -> None:
    fakes = boards("a", "b")
    make_odd(fakes["a"])
    path = tmp_path / "undo.jsonl"
    seen = Seen()
    async with MqttBoards(broker.address, fakes):
        summary = await roll_out(broker, path, seen)
    assert (summary.ended, summary.boards) == ("done", {"applied": 1, "refused": 1})
    assert ODD[make_odd] in seen.results[0].reason
    assert [each.address for each in undo_file.read(path)] == [f"{broker.address}/b"]


async def test_a_board_without_a_place_or_with_another_key_is_passed_over(
    broker, tmp_path, monkeypatch
) -> None:
    fakes = boards("a", "b", "c")
    really = rollout.connect

    def connect(address: str) -> object:
        if address.endswith("/a"):
            raise NoPlace("The board has no place for another host.", address)
        if address.endswith("/b"):
            raise KeyRefused("The board refuses the key.", address)
        return really(address)

    monkeypatch.setattr(rollout, "connect", connect)
    async with MqttBoards(broker.address, fakes):
        summary = await roll_out(broker, tmp_path / "undo.jsonl", Seen())
    assert (summary.ended, summary.boards) == ("done", {"applied": 1, "unreachable": 2})


# --- the file -------------------------------------------------------------------------------------

_BEFORE = """\
{{"boardwarden_rollout": 1}}
{{"before": {{"address": "{}", "stored_policy": "nothing", "policy": ""}}}}
"""


_LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
os.execv(sys.argv[1], sys.argv[1:])
"""


async def test_a_full_disk_ends_it_and_what_was_changed_can_be_undone(
    broker, tmp_path, file, no_leftovers
) -> None:
    fakes = boards("a", "b")
    path = tmp_path / "undo.jsonl"
    words = ("apply", str(file), "--boards", f"{broker.address}/*", "--yes", "--watch", "1s")
    sizes = {60: [], 400: [], 1200: [f"{broker.address}/a"]}
    async with MqttBoards(broker.address, fakes):
        for size, changed in sizes.items():
            limited = [sys.executable, "-c", _LIMITED.format(size=size), *COMMAND]
            done = await run(*words, "--backup", str(path), command=limited, whole=True)
            assert done.status == 2
            assert done.err.count("\n") == 1
            assert f"Cannot write {path}: file too large." in done.err
            assert ("a  applied" in done.out) == ("to undo" in done.out) == bool(changed)
            assert path.exists() == bool(changed)
        assert [each.address for each in undo_file.read(path)] == changed
        assert path.read_text().endswith("\n")
    assert fakes["b"].policy.limits[0] == 4


def test_what_a_board_says_at_length_hides_no_other_in_the_file(tmp_path) -> None:
    path = tmp_path / "undo.jsonl"
    before = undo_file.Before(policy_file.loads(FILE), StoredPolicy.IN_FORCE)
    with UndoFile(path) as written:
        written.add_before("mqtt://b/one", before)
        written.add_result(BoardResult("one", reason="\u20ac" * 60_000).to_dict())
        written.add_before("mqtt://b/two", before)
    assert [each.address for each in undo_file.read(path)] == ["mqtt://b/two", "mqtt://b/one"]


def test_a_file_that_is_cut_off_undoes_what_was_begun(tmp_path) -> None:
    path = tmp_path / "undo.jsonl"
    before = undo_file.Before(policy_file.loads(FILE), StoredPolicy.IN_FORCE)
    with UndoFile(path) as written:
        written.add_before("mqtt://b/one", before)
        written.add_before("mqtt://b/two", before)
    whole = path.read_text()
    path.write_text(whole[:-5])
    assert undo_file.read(path) == [("mqtt://b/one", before)]
    path.write_text(whole)
    assert [each.address for each in undo_file.read(path)] == ["mqtt://b/two", "mqtt://b/one"]
    with pytest.raises(PolicyError, match="exists: name another file"):
        UndoFile(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("interval = 1\n", "is no file that `apply --boards` wrote"),
        ('{"boardwarden_rollout": 9}\n', "of another version"),
        ('{"boardwarden_rollout": 1}\n[]\n', ":2: this is no line"),
        ('{"boardwarden_rollout": 1}\n{"before": {"address": "a"}}\n', ":2: this is no line"),
        ('{"boardwarden_rollout": 1}\n{"before": 1}\n', ":2: this is no line"),
        ("[" * 50_000 + "\n", "is no file that"),
        ("\0" * 1000, "is no file that"),
        ('{"boardwarden_rollout": 1}\n' + "[" * 50_000 + "\n", ":2: this is no line"),
        ('{"boardwarden_rollout": 1}\n{"a": "' + "x" * 100_000 + '"}\n', ":2: this is no line"),
        (_BEFORE.format("sim:program.py"), ":2: this is no line"),  # which would be run
        (_BEFORE.format("mqtt://127.0.0.1/\\u001b[2J"), ":2: this is no line"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path, text, said) -> None:
    path = tmp_path / "undo.jsonl"
    path.write_text(text)
    with pytest.raises(PolicyError, match=said):
        undo_file.read(path)


@pytest.mark.parametrize(
    "text", ["", "sim", "mqtt://b", "mqtt://b/", "tcp://h:1/x*", "mqtt:///x*", "mqtt://a:pw@b/*"]
)
def test_a_pattern_without_a_broker_or_names_is_refused(text) -> None:
    with pytest.raises(AddressError):
        parse_pattern(text)


def test_a_pattern_is_a_broker_and_names() -> None:
    found = parse_pattern("mqtts://ann@[::1]:8884/green-?[ab]*")
    assert str(found) == "mqtts://ann@[::1]:8884/green-?[ab]*"


# --- the command ----------------------------------------------------------------------------------


async def test_the_command_applies_reports_and_undoes(
    broker, tmp_path, file, no_leftovers, monkeypatch
) -> None:
    fakes = boards("a", "b", "c")
    away = {name: board for name, board in fakes.items() if name == "c"}
    pattern = f"{broker.address}/*"
    path = tmp_path / "undo.jsonl"
    async with MqttBoards(broker.address, fakes) as fleet:
        shown = await run("apply", str(file), "--boards", pattern, "--dry-run")
        assert shown.status == 0, shown.err
        assert "limits.max_operations  4 → 2" in shown.out
        assert all(len(line) <= 80 for line in shown.out.splitlines())
        assert fakes["a"].policy.limits[0] == 4
        await fleet.set_online(*away, False)
        words = ("apply", str(file), "--boards", pattern, "--yes", "--watch", "1s")
        done = await run(*words, "--backup", str(path), "--json")
        assert done.status == 3
        assert done.err == (
            "boardwarden: Not all boards have it: the same command, with another --backup, "
            "tries those again.\n"
        )
        lines = [json.loads(line) for line in done.out.splitlines()]
        assert [(each["board"], each["state"]) for each in lines[:-1]] == [
            ("a", "applied"),
            ("b", "applied"),
            ("c", "offline"),
        ]
        assert lines[0]["differences"][0]["after"] == 2
        summary = lines[-1]["summary"]
        assert summary["boards"] == {"applied": 2, "offline": 1}
        assert summary["undo"] == f"boardwarden apply --undo {path}"
        refused = await run(*words, "--backup", str(path))
        assert (refused.status, "exists: name another file" in refused.err) == (2, True)
        back = await run("apply", "--undo", str(path), "--yes")
        assert (back.status, back.err) == (0, "")
        assert back.out.splitlines() == [
            "b  restored: 3 changes",
            "a  restored: 3 changes",
            "2 boards: 2 restored",
        ]
        assert fakes["a"].policy.limits[0] == 4
        fakes["a"].policy.stored = 1
        await fleet.set_online("b", False)
        shown = await run("apply", "--undo", str(path), "--dry-run")
        assert shown.out.splitlines()[-2:] == [
            "a  would be restored: only what it stores",
            "2 boards: 1 would be restored, 1 offline",
        ]
        fakes["a"].policy.stored = 0
        back = await run("apply", "--undo", str(path), "--yes")
        assert back.out.splitlines()[-3:] == [
            "a  is as before",
            "2 boards: 1 is as before, 1 offline",
            f"to undo: boardwarden apply --undo {path}",
        ]
        assert (back.status, back.err) == (
            3,
            "boardwarden: Not all boards were put back: the same command tries those again.\n",
        )
        refused = ("apply", str(file), "--boards", f"{broker.address}/b", "--yes")
        done = await run(*refused, "--backup", str(tmp_path / "none.jsonl"))
        assert (done.status, "have it: the same command tries" in done.err) == (3, True)
    none = await run("apply", str(file), "--boards", f"{broker.address}/x*", "--yes")
    assert (none.status, none.out) == (2, "")
    assert "has a name like 'x*'" in none.err
    for words in (
        ["--boards", pattern, "--board", "sim"],
        ["--boards", pattern, "--forget"],
        ["--boards", "green-*"],
        ["--boards", pattern, "--json"],
        ["--undo", str(path), "--boards", pattern],
        ["--undo", str(tmp_path / "missing")],
    ):
        wrong = await run("apply", *words)
        assert (wrong.status, wrong.out) == (2, ""), words
        assert wrong.err.count("\n") == 1


async def test_before_the_question_a_board_that_would_change_is_looked_for(
    broker, monkeypatch, capsys
) -> None:
    fakes = boards("a", "b", "c", "d")
    asked = []

    async def confirm(question: str) -> bool:
        asked.append(question)
        return True

    monkeypatch.setattr(rollout_command, "confirm", confirm)
    wanted = Wanted(policy_file.loads(FILE))
    async with MqttBoards(broker.address, fakes):
        async with connect(f"{broker.address}/a") as board:
            await policy_on_board.send_and_store(
                board, await policy_on_board.read(board), wanted.policy, insist=False
            )
        fakes["b"].answer.pop(ids.KEEP)
        found = await find(parse_pattern(f"{broker.address}/*"))
        assert await rollout_command._agreed(wanted, found, Path("warden.toml"))
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    assert [line.split(":")[0] for line in lines] == ["a  had it", "b  refused", "c  would change"]
    assert "limits.max_operations  4 → 2" in out
    assert len(asked) == 1
    broker.kill()
    with pytest.raises(Failure, match="No broker listens"):
        await rollout_command._agreed(wanted, found, Path("warden.toml"))
    assert len(asked) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_after_the_board_in_hand_and_says_how_to_undo(
    broker, tmp_path, file, no_leftovers, number
) -> None:
    fakes = boards("a", "b")
    path = tmp_path / "undo.jsonl"
    pattern = f"{broker.address}/*"
    words = ("apply", str(file), "--boards", pattern, "--backup", str(path))
    async with MqttBoards(broker.address, fakes):
        command = CommandOnTerminal(*words, environment={"COLUMNS": "80", "LINES": "24"})
        try:
            await command.until(b"watch each group for 1 min? [y/N]")
            command.press(b"y\n")
            await command.until(b"watching a")
            command.interrupt(number)
            assert await command.status() == 128 + number
            assert command.left_as_it_was()
        finally:
            await command.close()
    text = command.seen.decode()
    assert text.index("limits.max_operations  4 → 2") < text.index("[y/N]")
    assert "ending after the board in hand" in text
    assert "2 boards: 1 applied, 1 not reached" in text
    assert f"to undo: boardwarden apply --undo {path}" in text.replace("\r\n", "")
    assert fakes["b"].policy.limits[0] == 4
    last = json.loads(path.read_text().splitlines()[-1])["result"]
    assert last["ended"] == "interrupted"


async def test_a_second_ctrl_c_ends_at_once(broker, tmp_path, file, no_leftovers) -> None:
    fakes = boards("a", "b")
    asked = _hangs_in_a_threshold(fakes["a"])
    path = tmp_path / "undo.jsonl"
    words = ("apply", str(file), "--boards", f"{broker.address}/*", "--yes", "--backup", str(path))
    async with MqttBoards(broker.address, fakes):
        process = await start(*words)
        await asyncio.wait_for(asked.wait(), 20)
        process.send_signal(2)
        line = (await process.stderr.readline()).decode()
        assert "Ctrl-C once more ends at once" in line
        process.send_signal(2)
        done = await finish(process)
    assert done.status == 130
    assert f"to undo: boardwarden apply --undo {path}" in done.err
    assert [each.address for each in undo_file.read(path)] == [f"{broker.address}/a"]


async def test_a_real_board_follows_and_gets_its_own_policy_back(
    broker, monkeypatch, tmp_path
) -> None:
    path = tmp_path / "undo.jsonl"
    monkeypatch.chdir(tmp_path)  # where a simulated board has its files
    async with powered(BrokerBoard(monkeypatch, broker)) as board:
        seen = Seen()
        summary = await roll_out(broker, path, seen, watch_s=0.6)
        assert summary.boards == {"applied": 1}, seen.results
        async with connect(board.address) as host:
            assert host.limits.max_operations == 2
            assert (await host.stored_policy()).name == "IN_FORCE"
            await undo(undo_file.read(path), False, Seen())
            await until(lambda: host.limits.max_operations == 4)
            assert (await host.stored_policy()).name == "NOTHING"
            assert [each.metric for each in host.thresholds] == ["memory"]
