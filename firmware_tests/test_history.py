"""Three tiers of fixed size, filled without a host and without allocating."""

from harness import no_heap
from warden.history import History

_NONE = 0xFFFF


def _fill(history, start, count, value):
    for s in range(start, start + count):
        history.row[0] = value(s)
        history.add(s)


def test_a_slot_keeps_least_mean_and_greatest():
    history = History()
    for value in (10, 30, 80):
        history.row[1] = value
        history.add(0)
    history.add(1)
    assert [history.column(0, 1, stat)[-1] for stat in range(3)] == [10, 40, 80]


def test_columns_come_oldest_first_and_forget_what_is_older():
    history = History()
    _fill(history, 0, 75, lambda s: s)
    column = history.column(0, 0, 1)
    assert list(column) == list(range(14, 74))
    assert history.newest_s(0) == 74


def test_seconds_become_minutes_and_these_hours():
    history = History()
    _fill(history, 0, 7201, lambda s: s // 60)
    minutes = history.column(1, 0, 1)
    assert list(minutes) == list(range(60, 120))
    hours = [history.column(2, 0, stat)[-1] for stat in range(3)]
    assert hours == [60, 89, 119]  # the mean of 60 to 119 is 89.5: floored
    assert history.newest_s(2) == 7200


def test_a_gap_has_no_value_and_old_values_do_not_come_back():
    history = History()
    _fill(history, 0, 60, lambda s: 7)
    history.add(90)
    column = history.column(0, 0, 1)
    assert list(column) == [7] * 30 + [_NONE] * 30 or list(column)[-30:] == [_NONE] * 30
    history.add(5000)
    history.add(5001)
    column = list(history.column(0, 0, 1))
    assert column == [_NONE] * 59 + [7]


def test_a_metric_that_cannot_be_had_has_no_value_in_any_tier():
    history = History()
    _fill(history, 0, 3700, lambda s: 5)
    for tier in range(3):
        assert all(value == _NONE for value in history.column(tier, 2, 1))


def test_the_tier_is_the_finest_that_reaches_back():
    history = History()
    tiers = [history.tier_for(s) for s in (1, 60, 61, 3600, 3601, 86_400, 1_000_000)]
    assert tiers == [0, 0, 1, 1, 2, 2, 2]


def test_it_allocates_nothing_whatever_the_time_does():
    history = History()
    for metric in range(4):
        history.row[metric] = 65_534
    times = (0, 0, 1, 59, 60, 61, 3600, 7200, 7260, 500_000, 80_000_000)
    with no_heap():
        for s in times:
            history.add(s)
