"""The time of day that is recorded, while somebody sets the clock."""

from __future__ import annotations

import time

import pytest

from boardwarden import _clock


class Clocks:
    """The host's: `set_by` is how far that of the day was set, `passed` how long it ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = self.set_by = 0.0
        begin, passed = time.time(), _clock.passed_s()
        monkeypatch.setattr(_clock, "_offset", begin - passed)
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
    clocks.passed = 6.0
    assert clocks.shown() == pytest.approx(6.0 + set_by)


def test_a_clock_that_is_set_back_moves_nothing(clocks: Clocks) -> None:
    clocks.passed, clocks.set_by = 5.0, -7200.0
    assert clocks.shown() == pytest.approx(5.0)
    clocks.passed, clocks.set_by = 8000.0, -3600.0
    assert clocks.shown() == pytest.approx(8000.0)


def test_the_time_that_a_host_sleeps_passes(clocks: Clocks) -> None:
    clocks.passed = 3600.0
    assert clocks.shown() == pytest.approx(3600.0)
