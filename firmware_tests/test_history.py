"""Three tiers of fixed size, filled without a host and without allocating."""

from harness import no_heap
from warden.columns import column, newest_s, tier_for
from warden.history import History
from warden.sampler import Sampler

_NONE = 0xFFFF
_LIVE_BYTES = 5  # the first metric, and the others
_METRICS = (_LIVE_BYTES, 7, 8, 38)


class Kept:
    """A history, and the sample's words that it files."""

    def __init__(self):
        self.values = Sampler().values
        self.history = History(self.values)
        self.add = self.history.add

    def column(self, tier, metric, stat):
        return column(self.history, tier, metric, stat)

    def newest_s(self, tier):
        return newest_s(self.history, tier)


def _fill(history, start, count, value):
    for s in range(start, start + count):
        history.values[_LIVE_BYTES] = value(s)
        history.add(s)


def test_a_slot_keeps_least_mean_and_greatest():
    history = Kept()
    for value in (10, 30, 80):
        history.values[_METRICS[1]] = value
        history.add(0)
    history.add(1)
    assert [history.column(0, 1, stat)[-1] for stat in range(3)] == [10, 40, 80]


def test_columns_come_oldest_first_and_forget_what_is_older():
    history = Kept()
    _fill(history, 0, 75, lambda s: s)
    column = history.column(0, 0, 1)
    assert list(column) == list(range(14, 74))
    assert history.newest_s(0) == 74


def test_seconds_become_minutes_and_these_hours():
    history = Kept()
    _fill(history, 0, 7201, lambda s: s // 60)
    minutes = history.column(1, 0, 1)
    assert list(minutes) == list(range(60, 120))
    hours = [history.column(2, 0, stat)[-1] for stat in range(3)]
    assert hours == [60, 89, 119]  # the mean of 60 to 119 is 89.5: floored
    assert history.newest_s(2) == 7200


def test_a_gap_has_no_value_and_old_values_do_not_come_back():
    history = Kept()
    _fill(history, 0, 60, lambda s: 7)
    history.add(90)
    column = history.column(0, 0, 1)
    assert list(column) == [7] * 30 + [_NONE] * 30 or list(column)[-30:] == [_NONE] * 30
    history.add(5000)
    history.add(5001)
    column = list(history.column(0, 0, 1))
    assert column == [_NONE] * 59 + [7]


def test_a_metric_that_cannot_be_had_has_no_value_in_any_tier():
    history = Kept()
    _fill(history, 0, 3700, lambda s: 5)
    for tier in range(3):
        assert all(value == _NONE for value in history.column(tier, 2, 1))


def test_the_tier_is_the_finest_that_reaches_back():
    tiers = [tier_for(s) for s in (1, 60, 61, 3600, 3601, 86_400, 1_000_000)]
    assert tiers == [0, 0, 1, 1, 2, 2, 2]


def test_it_allocates_nothing_whatever_the_time_does():
    history = Kept()
    for place in _METRICS:
        history.values[place] = 65_534
    times = (0, 0, 1, 59, 60, 61, 3600, 7200, 7260, 500_000, 80_000_000)
    with no_heap():
        for s in times:
            history.add(s)
