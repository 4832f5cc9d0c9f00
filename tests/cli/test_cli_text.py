"""What people read: figures, aligned rows, the status and the trends."""

import itertools
import re
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from boardwarden.cli.app import MODULES, app, function
from boardwarden.models import (
    Capability,
    Cpu,
    Memory,
    Network,
    Overhead,
    Status,
    Storage,
    SystemHeap,
    Trend,
    Trends,
)
from boardwarden.render.status import aligned, sample_line, status_rows, trend_rows
from boardwarden.render.text import count, duration, percent, size

DASH = "\u2013"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, DASH), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (245760, "240 KB")),
        *((999 * 1024, "999 KB"), (1000 * 1024, "1.0 MB"), (2**41, "2.0 TB")),
        (5000 * 2**40, "5000 TB"),
    ],
)
def test_sizes_are_shown_with_a_unit(value, text):
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, DASH), (0, "0 %"), (0.001, "0.1 %"), (0.0949, "9.5 %"), (0.0996, "10 %"), (1, "100 %")],
)
def test_fractions_are_shown_as_percent(value, text):
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, DASH), (0, "0 ms"), (0.004, "4 ms"), (0.9999, "1000 ms"), (1, "1 s")),
        *((1.04, "1 s"), (1.1, "1.1 s"), (9.94, "9.9 s"), (9.96, "10 s"), (11.4, "11 s")),
        *((59.6, "1 min"), (61, "1 min 1 s"), (7380, "2 h 3 min"), (86400 * 5 + 59, "5 d")),
    ],
)
def test_durations_are_shown_in_at_most_two_units(value, text):
    assert duration(value) == text


def test_counts_have_singular_and_plural():
    assert [count(n, "task") for n in (None, 0, 1, 2)] == [
        *(f"{DASH} tasks", "0 tasks", "1 task", "2 tasks")
    ]


def test_rows_are_aligned_and_wrapped():
    text = aligned([("a", "one two three"), ("", "four"), ("long", "five")], width=13)
    assert text == "a     one two\n      three\n      four\nlong  five"


def test_a_status_without_any_figure_is_all_dashes():
    text = aligned(status_rows(Status(), {"cpu": Capability(False, "why not")}))
    assert f"cpu      {DASH} (why not), loop lag {DASH}" in text
    assert f"network  {DASH}\n" in text
    assert DASH in sample_line(Status())


FULL = Status(
    memory=Memory(240_000, 120_000, 120_000, 60_000, 80_000, 0.5, 0.333, 170_000),
    cpu=Cpu(0.31, 2, 5, 0.004, 0.02, 7380.0),
    storage=(Storage("/", 2**20, 2**19, 2**19, 0.5), Storage("/sd", 2**30, 0, 2**30, 0.0)),
    network=Network(True, -61, 1000, 2000),
    overhead=Overhead(0.004, 70, 1),
    interval_s=1.0,
)


def test_a_status_with_every_figure():
    lines = aligned(status_rows(FULL, {})).splitlines()
    assert lines[1:] == [
        "memory   117 KB of 234 KB used (50 %), 59 KB live",
        "         largest free block 78 KB, fragmentation 33 %",
        "         live bytes left at least 166 KB in each sample",
        "cpu      31 %, loop lag 4 ms, 5 tasks, 2 threads",
        "storage  / 512 KB of 1.0 MB used (50 %)",
        "         /sd 0 B of 1.0 GB used (0 %)",
        "network  connected, -61 dBm, 1000 B sent, 2.0 KB received",
        "agent    0.4 % of the core, 70 B/s, 1 frame dropped, a sample every 1 s",
    ]
    assert len(sample_line(FULL)) <= 80
    assert "frag 33 %" in sample_line(FULL)


def test_a_system_heap_has_a_row():
    heap = SystemHeap(62_480, 31_744, 41_012)
    rows = dict(status_rows(replace(FULL, system_heap=heap), {}))
    assert rows["system heap"] == "61 KB free, at least 40 KB, largest block 31 KB"
    assert "system heap" not in dict(status_rows(FULL, {}))


def test_each_kind_of_trend_has_its_row():
    rows = dict(
        trend_rows(
            Trends(
                period_s=60.0,
                memory=Trend(1024.0, 17.0, 60, True, 200.0),
                storage=Trend(0.1, 1.0, 60, False),
                cpu=Trend(-0.001, 0.0001, 30, True),
                loop_lag=Trend(points=1),
            )
        )
    )
    assert rows == {
        "period": "the last 1 min",
        "memory": "rising by 60 KB a minute, exhausted in 3 min 20 s (± 1020 B, 60 points)",
        "storage": "no clear trend (60 points)",
        "cpu": "falling by 6.0 % a minute (± 0.6 %, 30 points)",
        "loop lag": f"{DASH} (1 point: too few)",
        "fragmentation": f"{DASH} (0 points: too few)",
    }


@pytest.mark.parametrize(
    ("actual", "wanted", "says"),
    [
        (1.1, 1.0, "every 1.1 s (1 s was asked for, and takes more than its budget of 1.0 %)"),
        (1.4, 0.1, "every 1.4 s (100 ms was asked for, and takes more than its budget of 1.0 %)"),
        (1.01, 1.0, "every 1 s"),
        (0.25, 1.0, "every 250 ms"),  # near a limit the board looks more often
    ],
)
def test_the_sample_interval_has_the_decimals_that_make_it_true(actual, wanted, says):
    overhead = replace(FULL.overhead, budget=0.01)
    status = replace(FULL, interval_s=actual, wanted_interval_s=wanted, overhead=overhead)
    rows = dict(status_rows(status, {}))
    assert rows["agent"].endswith(f", a sample {says}")


# --- durations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["alloc", "memory", "8k", "--for"],
        ["limits", "--operation-timeout"],
        ["limits", "--overrun"],
        ["thresholds", "cpu", "--warn", "50%", "--hold"],
        ["trends", "--period"],
        ["doctor", "--for"],
        ["record", "x.sqlite", "--for"],
        ["record", "x.sqlite", "--interval"],
        ["record", "x.sqlite", "--rotate-age"],
        ["plot", "x.sqlite", "--last"],
        ["replay", "x.sqlite", "--policy", "x.toml", "--last"],
    ],
)
def test_every_option_that_takes_a_duration_says_how_to_write_one(words):
    # A board that is none: an option that was not looked at first would end with its error.
    done = CliRunner().invoke(app, [*words, "soon"], env={"BOARDWARDEN_BOARD": "none"})
    assert done.exit_code == 2
    expected = f"{words[-1]} must be a duration, such as 500ms, 2s, 1m or plain seconds, not 'soon'"
    assert expected in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("limits --operation-timeout 400d", "must be from 1 ms to 12 d 10 h, not '400d'"),
        ("limits --overrun 11m", "must be from 0 ms to 10 min, not '11m'"),
        ("thresholds cpu --warn 50% --hold 11m", "must be from 0 ms to 10 min, not '11m'"),
        ("alloc memory 8k --for 400d", "must be from 1 ms to 12 d 10 h, not '400d'"),
        ("record x.sqlite --rotate-age 100ms", "must be from 1 s to 3650 d, not '100ms'"),
    ],
)
def test_a_duration_that_is_too_long_or_short_is_answered_in_its_own_units(words, says):
    option = next(word for word in reversed(words.split()) if word.startswith("--"))
    done = CliRunner().invoke(app, words.split(), env={"BOARDWARDEN_BOARD": "none"})
    assert done.exit_code == 2
    assert f"{option} {says}" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        "record x.sqlite --for 30d",
        "record x.sqlite --rotate-age 30d",
        "plot none.sqlite --last 30d",
        "replay none.sqlite --policy x.toml --last 30d",
    ],
)
def test_a_time_of_the_hosts_may_be_longer_than_a_board_counts(words):
    done = CliRunner().invoke(app, words.split(), env={"BOARDWARDEN_BOARD": "none"})
    assert done.exit_code == 2  # of what comes next: there is no such board, or recording
    assert "30d" not in done.stderr


@pytest.mark.parametrize("words", ["100", "1k", "0"])
def test_a_recording_is_not_rotated_at_a_size_that_it_has_from_its_beginning(words):
    told = ["record", "x.sqlite", "--board", "none", "--rotate-size", words]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 2
    assert f"--rotate-size must be at least 64 KB, such as 100M, not '{words}'" in done.stderr


def test_no_option_takes_a_number_of_seconds_of_its_own():
    numbers = [
        f"{command} {name}"
        for command in MODULES
        for name, hint in get_type_hints(function(command)).items()
        if hint is float or float in get_args(hint)
    ]
    assert numbers == []


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["deploy", "key put fleet.key"])
def test_a_command_for_serial_ports_asks_for_no_other_address(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("boardwarden.doctor.boards.serial_ports", list)
    assert CliRunner().invoke(app, ["key", "new", "fleet.key"]).exit_code == 0
    done = CliRunner().invoke(app, words.split(), env={"BOARDWARDEN_BOARD": ""})
    assert done.exit_code == 2
    assert done.stderr.endswith(" or set BOARDWARDEN_BOARD: /dev/ttyACM0 or COM3.\n")


@pytest.mark.parametrize("words", ["boards --broker green", "apply --boards green"])
def test_a_wrong_broker_is_answered_with_how_a_broker_is_written(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "warden.toml").write_text("")
    done = CliRunner().invoke(app, words.split())
    assert done.exit_code == 2
    assert done.stderr == (
        "boardwarden: 'green' does not name a broker; a broker is mqtt://broker or "
        "mqtts://user@broker:8883.\n"
    )


# --- help ---------------------------------------------------------------------------------------


def test_help_lists_every_command_under_a_heading():
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    heads = re.findall(r"^╭─ (.*?) ─+╮$", done.stdout, re.MULTILINE)
    assert heads[0] == "Options"
    assert "bool" not in done.stdout
    assert "Commands" not in heads  # those that nobody put anywhere
    shown = re.findall(r"^│ ([a-z][a-z-]+) ", done.stdout, re.MULTILINE)
    assert shown == [*MODULES]


@pytest.mark.parametrize("name", [*MODULES])
def test_help_fits_80_columns_and_explains_everything(name):
    done = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80", "BOARDWARDEN_BOARD": ""})
    assert done.exit_code == 0
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    first = function(name).__doc__.splitlines()[0]
    assert first in re.sub(r"\s+", " ", done.stdout)
    assert "bool" not in done.stdout.lower()  # a flag takes no value
    assert "{" not in done.stdout  # which would be a choice of words
    for parameter in get_command(app).commands[name].params:
        assert parameter.name == "help" or getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("name", [*MODULES])
def test_help_breaks_a_line_only_where_the_terminal_ends(name):
    done = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80"})
    lines = [line.strip() for line in done.stdout.partition("╭")[0].splitlines()]
    for line, following in itertools.pairwise(lines):
        if line and following:
            assert len(line) + 1 + len(following.split()[0]) > 78, line


def test_a_key_file_is_given_to_the_commands_that_connect_and_to_no_others():
    without = [
        name
        for name, command in get_command(app).commands.items()
        if not any("--key-file" in each.opts for each in command.params)
    ]
    serial = ["boards", "deploy", "key"]
    assert sorted(without) == sorted([*serial, "broker-rules", "plot", "replay", "users"])


def test_the_help_of_all_gives_the_options_no_long_lists_of_values():
    done = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"})
    assert "--install-completion          SHELL " in done.stdout
