"""How a board is: the state of its row in the fleet, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from boardwarden.crashes import CaughtException, Reset, Restart
from boardwarden.grants import Limits, Threshold
from boardwarden.models import Cpu, Identity, Level, LinkStatus, Memory, Status
from boardwarden.render.status import board_name
from boardwarden.transport.address import short_names
from boardwarden.tui.feed import overview
from boardwarden.web.fleet_view import STATES, row_of

NOW = 1_800_000_000.0


@dataclass
class StandIn:
    """What a row reads of a board."""

    address: str = "/dev/ttyACM0"
    connected: bool = True
    asleep: bool = False
    status: Status = field(default_factory=Status)
    link: LinkStatus = field(default_factory=LinkStatus)
    limits: Limits = field(default_factory=Limits)
    thresholds: tuple = ()
    restarts: tuple = ()
    resets: tuple = ()
    exceptions: tuple = ()
    operations: tuple = ()


@dataclass
class Followed:
    """What a row reads of a Watched."""

    board: StandIn | None
    problem: str = ""
    address: str = "mqtt://broker/green-1"


def _status(**more):
    return Status(
        memory=Memory(200_000, 60_000, live_bytes=50_000),
        cpu=Cpu(0.25, loop_lag_worst_s=0.009, uptime_s=1000.0),
        interval_s=1.0,
        last_updated=datetime.fromtimestamp(NOW - 1, timezone.utc),
        board=Identity(firmware="1.28.0", **more),
    )


def _at(back_s):
    return datetime.fromtimestamp(NOW - back_s, timezone.utc)


WARNED = Threshold("memory", level=Level.WARN, value=0.8)
CRITICAL = Threshold("loop_lag_worst", level=Level.CRITICAL, value=0.7)


@pytest.mark.parametrize(
    ("board", "state", "note"),
    [
        (StandIn(status=_status()), "well", ""),
        (StandIn(status=_status(), thresholds=(WARNED,)), "warned", "memory 80 %"),
        (
            StandIn(status=_status(), thresholds=(WARNED, CRITICAL)),
            "critical",
            "loop lag worst 700 ms",
        ),
        (
            StandIn(status=_status(), restarts=(Restart(_at(60), "wdt", False),)),
            "crashed",
            "the board restarted: watchdog",
        ),
        (StandIn(status=_status(), restarts=(Restart(_at(60), "hard", True),)), "well", ""),
        (StandIn(status=_status(), restarts=(Restart(_at(1000), "wdt", False),)), "well", ""),
        (
            StandIn(status=_status(crash_free_s=30), resets=(Reset("hang"),)),
            "crashed",
            "the board restarted: the application hung, and the agent reset the board",
        ),
        (
            StandIn(status=_status(crash_free_s=30), resets=(Reset("hard", expected=True),)),
            "well",
            "",
        ),
        (
            StandIn(
                status=_status(),
                exceptions=(CaughtException("task", "upload", 1, 990.0, "OSError: 5"),),
            ),
            "crashed",
            "task upload ended: OSError: 5",
        ),
        (
            StandIn(status=_status(), exceptions=(CaughtException("hang", "main", 1, 990.0, "K"),)),
            "crashed",
            "main hung, and was interrupted",
        ),
        (
            StandIn(status=_status(), exceptions=(CaughtException("task", "a", 1, 50.0, "E"),)),
            "well",
            "",
        ),
        (
            StandIn(connected=False, status=_status()),
            "lost",
            "the line is there, so it hangs or has no power",
        ),
        (
            StandIn(connected=False, asleep=True, status=_status()),
            "asleep",
            "it said that it sleeps",
        ),
    ],
)
def test_a_board_has_its_worst_state_and_why(board, state, note):
    row = row_of(Followed(board), NOW)
    assert (row.state, row.note) == (state, note)
    assert state in STATES


def test_a_board_that_was_never_there_is_connecting_or_lost():
    assert row_of(Followed(None), NOW).state == "connecting"
    lost = row_of(Followed(None, "Nothing \x1b[2Jlistens.\x07"), NOW)
    assert (lost.state, lost.note) == ("lost", "Nothing listens.\N{REPLACEMENT CHARACTER}")


def test_figures_have_their_units_and_what_is_not_known_is_a_dash():
    row = row_of(Followed(StandIn(status=_status())), NOW)
    assert (row.memory, row.memory_share) == ("49 KB of 195 KB", 25)
    assert (row.cpu, row.cpu_share, row.lag) == ("25 %", 25, "9 ms")
    assert (row.operations, row.policy) == ("–", "only measures")
    nothing = row_of(Followed(StandIn()), NOW)
    assert (nothing.memory_share, nothing.cpu, nothing.lag, nothing.started) == (
        None,
        "–",
        "–",
        None,
    )


def test_a_board_is_called_by_its_id_or_its_address():
    assert board_name("mqtt://broker:1883/green-1") == "green-1"
    assert board_name("sim:/home/me/app.py") == "sim:app.py"
    assert board_name("/dev/ttyACM0") == "/dev/ttyACM0"


def test_boards_that_would_have_one_name_are_told_apart():
    one, same, other = "mqtt://a/x", "mqtt://b/x", "mqtt://a-long-name.example.com/y"
    assert short_names([one, same, other], board_name) == [one, same, "y"]
    feeds = [SimpleNamespace(name=f"{other}-{number}", board=None, problem="") for number in (1, 2)]
    _, first, second = overview(feeds, feeds[0], 80)
    assert (first.split()[1], second.split()[0]) == ("y-1", "y-2")
