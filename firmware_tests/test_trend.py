"""The line fit: slopes that are there are found, those that are not are not claimed."""

from warden_schema.trend import fit, is_clear, seconds_to


def test_a_straight_line_is_found_exactly():
    points, slope, error = fit([5 + 3 * x for x in range(20)], 2)
    assert points == 20
    assert abs(slope - 1.5) < 1e-6
    assert error < 1e-3
    assert is_clear(slope, error)


def test_gaps_keep_their_place():
    values = [None if x % 3 == 1 else 10 * x for x in range(12)]
    points, slope, _ = fit(values, 1)
    assert points == 8
    assert abs(slope - 10) < 1e-4


def test_too_few_points_give_nothing():
    assert fit([1, 2, 3, 4, 5], 1) == (5, None, None)
    assert fit([None] * 60, 1) == (0, None, None)
    assert not is_clear(None, None)
    assert seconds_to(100, 9, list(range(9)), 1) is None
    assert abs(seconds_to(100, 10, list(range(10)), 1) - 90) < 0.01


def test_noise_is_no_trend():
    values = [100 + (x * 7919 % 13) for x in range(60)]
    _, slope, error = fit(values, 1)
    assert not is_clear(slope, error)
    assert seconds_to(1000, 100, values, 1) is None


def test_a_flat_or_falling_line_never_reaches_a_limit():
    for values in ([7] * 20, [100 - x for x in range(20)]):
        assert seconds_to(1000, values[-1], values, 1) is None


def test_a_limit_already_passed_is_now():
    assert seconds_to(5, 19, list(range(20)), 1) == 0


def test_the_rate_is_that_of_the_newest_values():
    values = [10] * 50 + [10 + 3 * x for x in range(1, 11)]  # a leak began ten seconds ago
    assert abs(seconds_to(100, 40, values, 1) - 20) < 0.01
    assert seconds_to(100, 40, values + [40, 40], 1) is None  # it has ended


def test_slow_figures_are_read_four_at_a_time():
    values = [x // 4 for x in range(56)]
    assert abs(seconds_to(113, 13, values, 2) - 800) < 0.01


def test_values_with_gaps_are_told_by_the_time_that_passed():
    values = [10 + x if x % 5 == 4 else None for x in range(60)]  # one in five is known
    # Where in four slots the known one is, is not told apart.
    assert 92 <= seconds_to(169, 69, values, 1) <= 100.01
    assert 92 <= seconds_to(169, 69, values + [None, None], 1) <= 100.01
    assert seconds_to(169, 69, values[:40], 1) is None  # too few
