"""Time runs on where the ticks wrap (invariant 11)."""

from harness import no_heap
from rig import WRAP, FakeTicks
from warden.clock import Clock


def _clock(now):
    ticks = FakeTicks(now)
    return ticks, Clock(ticks.ticks_ms, ticks.ticks_diff)


def test_it_counts_on_when_the_ticks_wrap():
    ticks, clock = _clock(WRAP - 700)
    ticks.pass_ms(1500)
    clock.advance()
    assert (clock.s, clock.ms) == (1, 500)


def test_it_counts_through_many_wraps():
    ticks, clock = _clock(12345)
    step = 123_456_789  # 1.4 days
    for _ in range(100):  # 142 days, 11 wraps
        ticks.pass_ms(step)
        clock.advance()
    assert clock.s == step * 100 // 1000
    assert clock.ms == step * 100 % 1000


def test_it_loses_nothing_to_rounding():
    ticks, clock = _clock(WRAP - 5)
    for _ in range(10_007):
        ticks.pass_ms(7)
        clock.advance()
    assert clock.s * 1000 + clock.ms == 70_049


def test_since_counts_in_both_directions_and_stops_counting_at_six_days():
    ticks, clock = _clock(0)
    ticks.pass_ms(61_005)
    clock.advance()
    assert clock.since(1, 10) == 59_995
    assert clock.since(61, 6) == -1
    assert clock.since(70, 0) == -8_995
    for _ in range(3):
        ticks.pass_ms(WRAP // 2 - 1)
        clock.advance()
    assert clock.since(1, 10) == 1 << 29


def test_it_allocates_nothing_on_micropython():
    from warden import hal

    board = hal.detect()
    clock = Clock(board.ticks_ms, board.ticks_diff)
    with no_heap():
        for _ in range(1000):
            clock.advance()
            clock.since(0, 0)


def test_the_next_deadline_is_remembered():
    ticks = FakeTicks()
    clock = Clock(ticks.ticks_ms, ticks.ticks_diff)
    assert clock.due()  # nobody has looked yet
    clock.rested()
    assert not clock.due()
    clock.sooner(0, 500)
    clock.sooner(0, 700)
    ticks.pass_ms(499)
    clock.advance()
    assert not clock.due()
    ticks.pass_ms(1)
    clock.advance()
    assert clock.due()
    clock.rested()
    ticks.pass_ms(59_000)
    clock.advance()
    assert not clock.due()
    assert 0 < clock.left_ms() <= 1000
    ticks.pass_ms(1000)
    clock.advance()
    assert clock.due()
    clock.rested()
    clock.news[0] = 0
    clock.now()
    assert clock.due()
    assert clock.news[0]
