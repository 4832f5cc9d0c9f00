"""The line fit: slopes that are there are found, those that are not are not claimed."""

from warden_schema.trend import fit, is_clear, seconds_to


def test_a_straight_line_is_found_exactly():
    points, slope, error, last = fit([5 + 3 * x for x in range(20)], 2)
    assert points == 20
    assert abs(slope - 1.5) < 1e-6
    assert error < 1e-3
    assert abs(last - 62) < 1e-3
    assert is_clear(slope, error)
    assert abs(seconds_to(92, slope, error, last) - 20) < 0.01


def test_gaps_keep_their_place():
    values = [None if x % 3 == 1 else 10 * x for x in range(12)]
    points, slope, _, last = fit(values, 1)
    assert points == 8
    assert abs(slope - 10) < 1e-4
    assert abs(last - 110) < 1e-3


def test_too_few_points_give_nothing():
    assert fit([1, 2, 3, 4, 5], 1) == (5, None, None, None)
    assert fit([None] * 60, 1) == (0, None, None, None)
    assert not is_clear(None, None)
    assert seconds_to(10, None, None, None) is None


def test_noise_is_no_trend():
    values = [100 + (x * 7919 % 13) for x in range(60)]
    _, slope, error, last = fit(values, 1)
    assert not is_clear(slope, error)
    assert seconds_to(1000, slope, error, last) is None


def test_a_flat_or_falling_line_never_reaches_a_limit():
    for values in ([7] * 20, [100 - x for x in range(20)]):
        _, slope, error, last = fit(values, 1)
        assert seconds_to(1000, slope, error, last) is None


def test_a_limit_already_passed_is_now():
    _, slope, error, last = fit(list(range(20)), 1)
    assert seconds_to(5, slope, error, last) == 0
