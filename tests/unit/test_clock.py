"""The time of day that is recorded, while somebody sets the clock."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from boardwarden import _clock
from boardwarden._mirror import Mirror
from boardwarden.serve.metrics import METRICS
from boardwarden.serve.watched import Snapshot, updated_at
from boardwarden.testing import SAMPLE
from boardwarden.web.access import Sessions, User
from boardwarden.web.fleet_view import FleetView, Row
from warden_schema import ids


class Clocks:
    """The host's: `set_by` is how far that of the day was set, `passed` how long it ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = self.set_by = 0.0
        begin, passed = time.time(), _clock.passed_s()
        monkeypatch.setattr(_clock, "_offset", begin - passed)
        monkeypatch.setattr(_clock, "_ahead_since", None)
        monkeypatch.setattr(_clock, "passed_s", lambda: passed + self.passed)
        monkeypatch.setattr(time, "time", lambda: begin + self.passed + self.set_by)
        self._begin = begin

    def shown(self) -> float:
        """Return what the time of day is, from the begin on."""
        return _clock.steady_time() - self._begin


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.mark.parametrize("set_by", [2.0, 7200.0, 56 * 365.25 * 86_400])
def test_a_clock_that_is_set_right_after_the_start_is_followed(
    clocks: Clocks, set_by: float
) -> None:
    clocks.passed = 5.0
    assert clocks.shown() == pytest.approx(5.0)
    clocks.set_by = set_by
    for passed in (6.0, 30.0, 65.0):
        clocks.passed = passed
        assert clocks.shown() == pytest.approx(passed)
    clocks.passed = 66.0
    assert clocks.shown() == pytest.approx(66.0 + set_by)


def test_a_clock_that_jumps_moves_nothing(clocks: Clocks) -> None:
    for second in range(200):
        clocks.passed = float(second)
        clocks.set_by = 0.0 if second % 50 == 0 else 94_608_000.0
        assert clocks.shown() == pytest.approx(float(second))


def test_a_clock_that_is_set_back_moves_nothing(clocks: Clocks) -> None:
    clocks.passed, clocks.set_by = 5.0, -7200.0
    assert clocks.shown() == pytest.approx(5.0)
    clocks.passed, clocks.set_by = 8000.0, -3600.0
    assert clocks.shown() == pytest.approx(8000.0)


def test_the_time_that_a_host_sleeps_passes(clocks: Clocks) -> None:
    clocks.passed = 3600.0
    assert clocks.shown() == pytest.approx(3600.0)


@pytest.mark.parametrize("set_by", [-7200.0, 7200.0])
def test_what_is_exported_has_the_clock_as_it_is_set_now(clocks: Clocks, set_by: float) -> None:
    mirror = Mirror()
    mirror.on_message([ids.SAMPLE, 1, [SAMPLE.get(name) for name in ids.SAMPLE_VALUES]])
    clocks.passed, clocks.set_by = 3.0, set_by
    status = mirror.status
    (metric,) = (each for each in METRICS if each.name == "sample.timestamp")
    ((_, exported),) = metric.points(Snapshot("fake", up=True, status=status))
    assert exported == updated_at(status) == pytest.approx(time.time() - 3.0, abs=1.0)


def test_what_came_before_the_clock_was_set_right_is_exported_with_the_right_time(
    clocks: Clocks,
) -> None:
    """Of a board that was lost since, and for one that samples every ten minutes."""
    mirror = Mirror()
    mirror.on_message([ids.SAMPLE, 1, [SAMPLE.get(name) for name in ids.SAMPLE_VALUES]])
    clocks.set_by = 7200.0
    for passed in (5.0, 30.0, 70.0, 200.0):
        clocks.passed = passed
        assert updated_at(mirror.status) == pytest.approx(time.time() - passed, abs=0.1)
    assert clocks.shown() == pytest.approx(7400.0)


def test_the_exported_time_of_a_sample_stays_as_it_is_from_one_export_to_the_next() -> None:
    mirror = Mirror()
    mirror.on_message([ids.SAMPLE, 1, [SAMPLE.get(name) for name in ids.SAMPLE_VALUES]])
    assert len({updated_at(mirror.status) for _ in range(100)}) == 1


def test_what_a_host_shows_grows_older_and_a_sign_in_ends_while_the_host_sleeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("this system's monotonic clock goes on while it sleeps, or nothing tells")
    mirror, sessions = Mirror(), Sessions()
    mirror.on_message([ids.SAMPLE, 1, [SAMPLE.get(name) for name in ids.SAMPLE_VALUES]])
    token = sessions.begin(User("ann", "observe", "", ""))
    assert sessions.user(token) is not None
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + 13 * 3600.0)
    assert mirror.status.age_s == pytest.approx(13 * 3600.0, abs=60.0)
    assert sessions.user(token) is None


def test_the_page_knows_how_long_ago_a_board_restarted_where_the_clock_was_set(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks.passed, clocks.set_by = 3.0, -7200.0
    mirror = Mirror()
    mirror.on_restart()
    mirror.on_synced()
    (restart,) = mirror.restarts
    clocks.passed = 63.0
    judged_at = []

    def row_of(watched: Any, now: float) -> Row:
        judged_at.append(now)
        return Row("sim", "sim", "lost", "")

    monkeypatch.setattr("boardwarden.web.fleet_view.row_of", row_of)
    view = FleetView([SimpleNamespace(address="sim", board=None)])
    view.tick()
    lines = view._everything().splitlines()
    (data,) = (json.loads(line[6:]) for line in lines if line.startswith(b"data: "))
    assert restart.at is not None
    for now in (*judged_at, data["now"]):
        assert now - restart.at.timestamp() == pytest.approx(60.0, abs=0.1)
