"""The commands about what a board grants, in this process, on fake boards."""

import asyncio
import json
import types
from dataclasses import replace

import pytest
from virtual_time import until

from boardwarden import (
    Action,
    Denied,
    Event,
    LinkLost,
    Priority,
    ResourceType,
    _program,
    _quantities,
    policy_file,
    testing,
)
from boardwarden._protocol import diagnosis, subscription
from boardwarden.cli import grants, look, options, terminal
from boardwarden.grants import Lease, Meter, Threshold
from boardwarden.models import Status
from boardwarden.render import tables
from boardwarden.render.status import link_state
from boardwarden.render.text import columns
from warden_schema import ids

LIMIT_S = 10.0
MEMORY = ResourceType.MEMORY
LONG = "a name of twenty-four by"
# Left is half a minute more than what is shown, as that runs.
LEASE = [7, 0, 8192, LONG, 2, 1, 60, 7_230_000, False, None]
STORAGE = [8, 1, 2048, "log", 1, None, 60, None, True, "/sd"]
OPERATION = [5, LONG, 3, 2, 420, "half", 1, 60, 1500, 4096, "preempted"]
SESSION = [1, "host 77", 65536, None, 2, 3_630_000]
METER = [1, LONG, 0, 3, 300, 25, 90, 7]


@pytest.fixture
def board():
    """Return a fake board that has granted a few things."""
    fake = testing.FakeBoard()
    fake.policy.put(ids.LEASE, 0, LEASE)
    fake.policy.put(ids.LEASE, 3, STORAGE)
    fake.policy.put(ids.OPERATION, 0, OPERATION)
    fake.policy.put(ids.SESSION, 0, SESSION)
    fake.policy.put(ids.NEED, 0, ["flash", 12, 4096, 8192])
    fake.policy.put(ids.THRESHOLD, 0, [0, 750, 900, 650, 1000, 1, 2, 912])
    fake.policy.happen("threshold", 0, "critical", 912)
    return fake


@pytest.fixture
def link(board):
    """Return the way to it."""
    return testing.FakeTransport(board)


def lines(capsys):
    """Return the lines that were printed, and check that each fits."""
    printed = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in printed), printed
    return printed


async def json_of(capsys, command):
    """Run a command that prints one JSON object; return that."""
    await command
    return json.loads(capsys.readouterr().out)


# --- lists --------------------------------------------------------------------------------------


async def test_leases_lists_the_leases(link, capsys):
    await grants._leases(link, False)
    head, first, second = lines(capsys)
    assert head.split() == ["id", "resource", "amount", "owner", "priority", "session", "left"]
    assert first.split()[:4] == ["7", "memory", "8.0", "KB"]
    assert LONG in first
    assert first.endswith(" 2 h")
    assert "storage /sd" in second
    found = await json_of(capsys, grants._leases(link, True))
    assert [lease["id"] for lease in found["leases"]] == [7, 8]
    assert found["leases"][0]["resource"] == "memory"


async def test_ops_lists_operations_and_their_memory(link, capsys):
    await grants._operations(link, False)
    printed = lines(capsys)
    assert "stopping" in printed[1]
    assert "42 %" in printed[1]
    assert printed[-1].split() == ["flash", "12", "4.0", "KB", "8.0", "KB"]
    found = await json_of(capsys, grants._operations(link, True))
    assert found["operations"][0]["why"] == "preempted"
    assert found["memory_profiles"][0]["worst_bytes"] == 8192


async def test_sessions_lists_the_sessions(link, capsys):
    await grants._sessions(link, False)
    assert lines(capsys)[1].split() == ["1", "host", "77", "64", "KB", "–", "2", "1", "h"]
    found = await json_of(capsys, grants._sessions(link, True))
    assert found["sessions"][0]["memory_bytes"] == 65536


async def test_events_lists_the_events(link, capsys):
    await look._events(link, False, False)
    assert lines(capsys) == ["    0  up 10 s         threshold memory: critical, 91 %"]
    found = await json_of(capsys, look._events(link, False, True))
    assert (found["subject"], found["value"], found["missed"]) == ("memory", 0.912, 0)


async def test_events_follow_prints_each_new_event(board, link, capsys):
    task = asyncio.create_task(look._events(link, True, False))
    seen = ""

    async def until(text):
        nonlocal seen
        while text not in seen:
            seen += capsys.readouterr().out
            await asyncio.sleep(0.01)

    await asyncio.wait_for(until("critical"), LIMIT_S)
    board.policy.happen("lease", 7, "expired", 8192)
    await asyncio.wait_for(until("lease 7: expired, 8192"), LIMIT_S)
    task.cancel()
    await asyncio.wait([task])


async def test_each_list_of_a_board_without_grants_is_empty(capsys):
    link = testing.FakeTransport(testing.FakeBoard())
    for command in (grants._leases, grants._operations, grants._sessions):
        await command(link, False)
    await look._events(link, False, False)
    assert lines(capsys) == ["no leases", "no operations", "no sessions", "no events"]
    assert await json_of(capsys, grants._leases(link, True)) == {"leases": []}


# --- rules --------------------------------------------------------------------------------------

NOTHING = (None, None, None, None)


async def test_limits_are_shown_and_set_with_the_command_to_undo(board, link, capsys):
    await grants._limits(link, NOTHING, False)
    assert lines(capsys)[0] == "operations         at most 4 at once"
    assert board.policy.limits == [4, 300_000, 100, 5000]
    await grants._limits(link, (2, None, 0.05, None), False)
    printed = lines(capsys)
    assert board.policy.limits == [2, 300_000, 50, 5000]
    undo = "to undo: boardwarden limits --max-operations 4 --memory-reserve 0.1"
    assert printed[-1] == undo
    found = await json_of(capsys, grants._limits(link, NOTHING, True))
    assert found["max_operations"] == 2


async def test_an_overrun_of_zero_is_shown_as_what_it_means(link, capsys):
    await grants._limits(link, (None, None, None, 0), False)
    assert "overrun            for ever" in lines(capsys)


async def test_thresholds_are_shown(link, capsys):
    await grants._thresholds(link, None, False)
    cells = ["memory", "critical", "75", "%", "90", "%", "65", "%", "1", "s", "protect", "91", "%"]
    assert lines(capsys)[1].split() == cells
    await grants._thresholds(link, "cpu", False)
    assert lines(capsys) == ["not watched"]
    found = await json_of(capsys, grants._thresholds(link, None, True))
    assert found["thresholds"][0]["warn"] == 0.75


async def test_changing_a_threshold_prints_the_command_to_undo(board, link, capsys):
    def change(before):
        return Threshold("memory", warn=0.5, action=before.action)

    await grants._change_threshold(link, "memory", change, False)
    assert board.policy.tables[ids.THRESHOLD][0][:6] == [0, 500, None, None, 0, 1]
    undo = capsys.readouterr().out.splitlines()[-1]
    assert undo.endswith(
        "thresholds memory --warn 0.75 --critical 0.9 --clear 0.65 --hold 1 --action protect"
    )
    await grants._change_threshold(link, "memory", lambda before: None, False)
    assert board.policy.tables[ids.THRESHOLD] == {}
    assert capsys.readouterr().out.splitlines()[0] == "not watched"
    await grants._change_threshold(link, "cpu", lambda _: Threshold("cpu", 0.9), False)
    assert capsys.readouterr().out.splitlines()[-1].endswith("thresholds cpu --off")


async def test_a_threshold_change_that_contradicts_its_other_levels_is_refused(link):
    def wrong(before):
        return Threshold("memory", warn=0.99, critical=before.critical, clear=before.clear)

    with pytest.raises(_program.Failure, match="one way"):
        await grants._change_threshold(link, "memory", wrong, False)


async def test_a_level_out_of_range_names_the_option(link):
    sentence = "^--warn of memory must be a fraction from 0 to 1, not 80"
    with pytest.raises(_program.Failure, match=sentence):
        await grants._change_threshold(link, "memory", lambda _: Threshold("memory", 80.0), False)


@pytest.mark.parametrize(("metric", "level"), [("tasks", 10.5), ("rssi_dbm", -70.5)])
async def test_a_level_that_the_board_would_round_is_refused(link, metric, level):
    sentence = f"^--warn of {metric} must be a whole number, not {level}"
    with pytest.raises(_program.Failure, match=sentence):
        await grants._change_threshold(link, metric, lambda _: Threshold(metric, level), False)


# --- release, cancel, alloc ---------------------------------------------------------------------


async def test_release_and_cancel_end_a_lease_and_an_operation(board, link, capsys):
    await grants._release(link, 7, False)
    await grants._cancel(link, 5, False)
    assert lines(capsys) == ["released lease 7", "told operation 5 to stop"]
    assert 0 not in board.policy.tables[ids.LEASE]
    assert await json_of(capsys, grants._release(link, 8, True)) == {"released": 8}
    assert await json_of(capsys, grants._cancel(link, 5, True)) == {"cancelled": 5}


def wanted(size=4096, seconds=0.1):
    return grants.Wanted(MEMORY, size, "ota", Priority.HIGH, None, seconds)


async def test_alloc_holds_a_lease_for_its_time(board, link, capsys):
    await grants._alloc(link, wanted(), False)
    number = board.policy._next_id - 1
    assert lines(capsys) == [
        f"lease {number}: 4.0 KB of memory, for 100 ms",
        f"released lease {number}",
    ]
    asked = next(asked for operation, asked in board.done if operation == ids.ALLOCATE)
    assert asked == [0, 4096, "ota", 2, 100, None]  # it ends without the command, too
    assert (ids.RELEASE, [number]) in board.done


async def test_alloc_ends_well_when_the_board_ends_the_lease_after_its_time(board, link, capsys):
    task = asyncio.create_task(grants._alloc(link, wanted(seconds=60), True))
    await granted(board)
    number = board.policy._next_id - 1
    assert json.loads(capsys.readouterr().out)["lease"]["remaining_s"] == pytest.approx(60, abs=5)
    board.policy._end(ids.LEASE, number, "expired")
    await asyncio.wait_for(task, LIMIT_S)
    assert json.loads(capsys.readouterr().out) == {"released": number}


async def test_a_denied_alloc_prints_the_reason(board, link, capsys):
    board.policy.drop(ids.LEASE, 3)
    with pytest.raises(_program.Failure) as caught:
        await grants._alloc(link, wanted(10**6), True)
    assert caught.value.status == 3
    assert str(caught.value) == (
        "Denied: not enough memory is free; 90 KB are available; "
        f"in the way: lease 7 of {LONG} (8.0 KB); try again in 2 s."
    )
    told = json.loads(capsys.readouterr().out)["denied"]
    assert (told["reason"], told["available"]) == ("memory", 91808)
    assert (told["retry_after_s"], told["blockers"]) == (2.0, [7])


async def granted(board):
    """Wait until the board has granted something, and the command knows."""
    await until(lambda: ids.ALLOCATE in [operation for operation, _ in board.done], LIMIT_S)
    await asyncio.sleep(0.05)


async def test_alloc_ends_when_its_lease_ends(board, link, capsys):
    task = asyncio.create_task(grants._alloc(link, wanted(seconds=60), False))
    await granted(board)
    board.policy._end(ids.LEASE, board.policy._next_id - 1, "preempted")
    with pytest.raises(_program.Failure, match="ended on the board: preempted"):
        await asyncio.wait_for(task, LIMIT_S)


async def test_alloc_ends_when_the_board_restarts(board, link, monkeypatch):
    monkeypatch.setattr(subscription, "KEEPALIVE_S", 0.25)
    monkeypatch.setattr(subscription, "SILENCE_S", 1.0)
    task = asyncio.create_task(grants._alloc(link, wanted(seconds=60), False))
    await granted(board)
    board.restart()
    with pytest.raises(_program.Failure, match="restarted"):
        await asyncio.wait_for(task, LIMIT_S)


async def test_alloc_says_that_the_link_is_lost_while_it_holds(board, link, capsys):
    task = asyncio.create_task(grants._alloc(link, wanted(seconds=60), False))
    await granted(board)
    link.refuse = LinkLost("out")
    link.cut()
    await until(lambda: "link lost; " in capsys.readouterr().err, LIMIT_S)
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize(
    ("address", "is_open", "what"),
    [
        ("/dev/ttyACM0", False, "the port is gone, so look at cable and power"),
        ("sim:app.py", False, "the simulated board has ended"),
        ("tcp://h:1", False, "the connection is gone, so look at the board's power and network"),
        ("tcp://h:1", True, "the line is there, so it hangs or has no power"),
        ("mqtt://h/a", False, "the connection to its broker is gone, so look at the broker"),
        ("mqtts://h/a", True, "its broker is there, so it hangs, or has no power or network"),
    ],
)
def test_why_a_board_may_be_lost_follows_from_its_link(address, is_open, what):
    link = types.SimpleNamespace(open=is_open)
    board = types.SimpleNamespace(
        connected=False, status=Status(), link=link, address=address, asleep=False
    )
    assert f"link lost; waiting for the board: {what}" in link_state(board)


async def test_console_says_that_nothing_is_printed_over_a_network(board, capsys):
    link = testing.FakeTransport(board, "tcp://h:1")
    task = asyncio.create_task(look._console(link, False))
    await until(lambda: "on its serial port" in capsys.readouterr().err, LIMIT_S)
    task.cancel()
    await asyncio.wait([task])


# --- top ----------------------------------------------------------------------------------------


@pytest.fixture
def metered(board, monkeypatch):
    """Let there be sixteen meters, of which one is a thread."""
    monkeypatch.setattr(look, "_METERS_TIMEOUT_S", LIMIT_S)  # the samples come, sooner or later
    board.interval_s = 0.05
    for place in range(15):
        board.policy.put(ids.METER, place, [place, f"task {place}", 0, 1, place, 5, 9, None])
    board.policy.put(ids.METER, 15, [15, "reader", 1, 1, None, None, None, None])
    board.policy.put(ids.METER, 0, METER)
    return board


async def test_top_once_fits_80_columns_with_the_busiest_task_first(metered, link, capsys):
    await look._top(link, True, False)
    printed = lines(capsys)
    assert len(printed) <= 24
    assert printed[0].startswith("cpu 12 %, loop lag 2 ms, longest step 9 ms")
    assert printed[3].split()[:3] == ["30", "%", "25"]
    assert LONG in printed[3]
    assert "thread" in printed[-1]
    assert metered.policy.metered == [6000, 0]
    found = await json_of(capsys, look._top(link, False, True))
    assert [meter["cpu"] for meter in found["meters"]][:2] == [0.3, 0.014]


async def test_top_in_a_pipe_prints_each_sample(metered, link, capsys):
    task = asyncio.create_task(look._top(link, False, False))
    seen = ""

    async def twice():
        nonlocal seen
        while seen.count("loop lag") < 2:
            seen += capsys.readouterr().out
            await asyncio.sleep(0.01)

    await asyncio.wait_for(twice(), LIMIT_S)
    task.cancel()
    await asyncio.wait([task])


async def test_top_without_meters_names_warden_spawn(board, link, capsys, monkeypatch):
    monkeypatch.setattr(look, "_METERS_TIMEOUT_S", 0.2)
    await look._top(link, True, False)
    assert "warden.spawn()" in lines(capsys)[2]


# --- what people write and read -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8192", 8192),
        ("8k", 8192),
        ("8KB", 8192),
        ("8 KiB", 8192),
        ("1.5M", 1572864),
        ("1G", 2**30),
    ],
)
def test_amounts_are_read_with_their_suffixes(text, value):
    assert options.parse_amount(MEMORY, text) == value


@pytest.mark.parametrize("text", ["", "k", "8q", "-8", "8%", "1e3", "eight", "8k8"])
def test_invalid_amounts_are_refused(text):
    with pytest.raises(ValueError, match="8k or 1M"):
        options.parse_amount(MEMORY, text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("500ms", 0.5), ("2s", 2), ("1m", 60), ("90", 90), ("0.5", 0.5)],
        *[("200 ms", 0.2), ("5 min", 300), ("2h", 7200), ("1d", 86400)],
    ],
)
def test_durations_are_read_the_same_way_in_commands_and_policy_files(text, value):
    assert options.parse_duration("--for", text) == value
    assert policy_file.loads(f'[session.x]\nttl = "{text}"').quotas[0].ttl_s == value


def test_cpu_time_and_levels_are_read_as_fractions_or_percent():
    assert options.parse_amount(ResourceType.CPU_TIME, "25%") == 0.25
    assert options.parse_amount(ResourceType.CPU_TIME, "0.25") == 0.25
    with pytest.raises(ValueError, match="25%"):
        options.parse_amount(ResourceType.CPU_TIME, "8k")
    assert _quantities.level("memory", "--warn", "75%") == 0.75
    assert _quantities.level("live_bytes", "--warn", "64k") == 65536
    assert _quantities.level("rssi_dbm", "--warn", "-70") == -70
    assert _quantities.level("memory", "--warn", "none") is None
    for metric in ("memory", "live_bytes", "tasks"):
        with pytest.raises(ValueError, match="--warn"):
            _quantities.level(metric, "--warn", "much")


def test_enum_words_are_parsed_and_wrong_ones_list_the_choices():
    assert options.parse_member(ResourceType, "resource", "CPU-time") is ResourceType.CPU_TIME
    assert options.parse_member(Priority, "priority", "critical") is Priority.CRITICAL
    with pytest.raises(ValueError, match="There is no action 'no such'; there are tell, protect"):
        options.parse_member(Action, "action", "no such")
    with pytest.raises(ValueError, match="there are "):
        options.parse_metric("no such")


def test_columns_are_cut_where_the_terminal_is_narrow():
    table = columns(("a", "name"), [("1", "x" * 30), ("22", "y")], 20)
    assert table == ["a   name", "1   " + "x" * 15 + "…", "22  y"]
    told = columns(("name", "from"), [("x" * 30, "12:00:00")], 20, uncut=("from",))[1]
    assert told == "x" * 9 + "\N{HORIZONTAL ELLIPSIS}  12:00:00"
    assert columns(("a", "b"), [("x", "12:00:00")], 5, uncut=("b",))[1] == "x  12:00:00"
    assert all(len(line) <= 5 for line in columns(("aaaaa", "bbbbb"), [("c" * 9, "d" * 9)], 5))


def test_control_characters_are_not_printed():
    assert columns(("name",), [("\x1b[31mred\n",)], 80)[1] == "red\ufffd"


def test_each_kind_of_event_has_its_line():
    line = tables.event_line
    assert line(Event(3, "lease", 61.0, 7, "expired", 8192, 2)) == (
        "    3  up 1 min 1 s    lease 7: expired, 8192 (2 before it were lost)"
    )
    assert line(Event(4, "collect", 5.0, "memory", None, 5120)).endswith("collect memory: 5.0 KB")
    assert line(Event(5, "overrun", 5.0, 3, "uploader", 0.4)).endswith("uploader, 40 %")
    assert line(Event(6, "denied", 5.0, None, "memory", 60_000)).endswith("denied: memory, 59 KB")
    assert line(Event(6, "denied", 5.0, 2, "quota:storage", 4096)).endswith("storage, 4.0 KB")
    assert line(Event(6, "denied", 5.0, None, "bandwidth", 2048)).endswith("bandwidth, 2.0 KB/s")
    assert line(Event(6, "denied", 5.0, None, "cpu_time", 0.2)).endswith("cpu_time, 20 %")
    assert line(Event(7, "agent", 5.0, None, "late", 2350)).endswith("agent: late, 2.4 s")
    assert line(Event(8, "budget", 5.0, None, "log.csv", 51_200)).endswith("log.csv, 50 KB a day")
    assert line(Event(6, "hang", 5.0, "over", "sensor: upload", 5.2)).endswith(
        "hang over: sensor: upload, 5.2 s"
    )
    assert line(Event(6, "link", 5.0, None, "lost")).endswith("link: lost")
    caught = Event(7, "exception", 5.0, "task", "sensor: OSError", 1)
    assert line(caught).endswith("exception task: sensor: OSError")
    assert line(replace(caught, value=3)).endswith("sensor: OSError, 3 times")
    assert line(Event(7, "a later kind", 5.0)).endswith("a later kind")


def test_each_reason_of_a_denial_has_its_words():
    cpu = diagnosis.refusal(ids.DENIED, ["cpu_time", 150, None, [3, 9]])
    assert isinstance(cpu, Denied)
    holder = Lease(id=3, resource=ResourceType.CPU_TIME, amount=0.5)
    assert tables.denial(cpu, ResourceType.CPU_TIME, [holder]) == (
        "Denied: not enough of the core is free; 15 % are available; in the way: lease 3 (50 %), "
        "lease 9."
    )
    pressure = diagnosis.refusal(ids.DENIED, ["pressure", None, None, []])
    assert isinstance(pressure, Denied)
    assert "only high priorities" in tables.denial(pressure, MEMORY, [])


def test_a_denial_in_any_command_has_exit_status_3(capsys):
    async def command():
        raise diagnosis.denied("operations")

    with pytest.raises(SystemExit) as caught:
        _program.run(command())
    assert caught.value.code == 3


async def test_meters_without_figures_come_last():
    meters = [Meter(id=1, name="b"), Meter(id=2, name="a"), Meter(id=3, cpu=0.1)]
    assert [meter.id for meter in tables.busiest(meters)] == [3, 2, 1]


async def test_paced_yields_none_while_no_item_arrives(monkeypatch):
    monkeypatch.setattr(terminal, "_POLL_S", 0.02)

    async def items():
        yield 1
        await asyncio.sleep(0.05)
        yield 2

    seen = [item async for item in terminal.paced(items())]
    assert [item for item in seen if item] == [1, 2]
    assert seen[0] is None
    assert seen[2] is None
