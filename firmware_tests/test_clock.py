"""Time runs on where the ticks wrap (invariant 11)."""

from harness import no_heap
from policy_rig import PolicyRig
from rig import WRAP, FakeTicks, board
from warden.policy.deadlines import schedule
from warden.policy.policy import Policy
from warden.setup import make_clock


def _clock(now):
    ticks = FakeTicks(now)
    return ticks, make_clock(ticks)


def _is_due(clock):
    return clock.until_ms(clock.deadline_s, clock.deadline_ms) <= 0


def test_time_goes_on_when_the_ticks_wrap():
    ticks, clock = _clock(WRAP - 700)
    ticks.pass_ms(1500)
    clock.advance()
    assert (clock.s, clock.ms) == (1, 500)


def test_time_goes_on_through_many_wraps():
    ticks, clock = _clock(12345)
    step = 123_456_789  # 1.4 days
    for _ in range(100):  # 142 days, 11 wraps
        ticks.pass_ms(step)
        clock.advance()
    assert clock.s == step * 100 // 1000
    assert clock.ms == step * 100 % 1000


def test_no_time_is_lost_to_rounding():
    ticks, clock = _clock(WRAP - 5)
    for _ in range(10_007):
        ticks.pass_ms(7)
        clock.advance()
    assert clock.s * 1000 + clock.ms == 70_049


def test_until_ms_counts_in_both_directions_up_to_six_days():
    ticks, clock = _clock(0)
    ticks.pass_ms(61_005)
    clock.advance()
    assert clock.until_ms(1, 10) == -59_995
    assert clock.until_ms(61, 6) == 1
    assert clock.until_ms(70, 0) == 8_995
    assert clock.until_ms(0x3FFFFFFF, 999) == 1 << 29
    for _ in range(3):
        ticks.pass_ms(WRAP // 2 - 1)
        clock.advance()
    assert clock.until_ms(1, 10) == -(1 << 29)


def test_the_clock_allocates_nothing():
    clock = make_clock(board())
    with no_heap():
        for _ in range(1000):
            clock.advance()
            clock.until_ms(0, 0)
            clock.deadline_s = 2
            schedule(clock, 1, 2)


def test_an_advance_inside_another_counts_no_time_twice():
    ticks, clock = _clock(0)
    inner = []

    ticks.pass_ms(1500)
    ticks_ms = clock.ticks_ms

    def reenter():
        clock.ticks_ms = ticks_ms
        now = ticks_ms()
        inner.append(clock.advance())
        return now

    clock.ticks_ms = reenter
    clock.advance()
    assert not inner[0]
    assert (clock.s, clock.ms) == (1, 500)


def test_ctrl_c_in_an_advance_loses_no_time_and_locks_nothing():
    ticks, clock = _clock(0)
    ticks.pass_ms(700)
    ticks_ms = clock.ticks_ms

    def interrupted():
        raise KeyboardInterrupt

    clock.ticks_ms = interrupted
    try:
        clock.advance()
    except KeyboardInterrupt:
        pass
    clock.ticks_ms = ticks_ms
    ticks.pass_ms(800)
    clock.advance()
    assert (clock.s, clock.ms) == (1, 500)


def test_a_thread_that_was_held_up_inside_an_advance_spoils_no_time():
    """Others go on meanwhile, through several spans of 2**20 ms; what it stores is mended next."""
    for held_up_ms in (1, 999, 1000, 1 << 20, (1 << 29) - 12_345):
        ticks, clock = _clock(WRAP - 700)
        ticks_ms = clock.ticks_ms

        def held_up(ticks=ticks, clock=clock, ticks_ms=ticks_ms, ms=held_up_ms):
            now = ticks_ms()
            clock.ticks_ms = ticks_ms
            ticks.pass_ms(ms)
            clock.advance()
            return now

        ticks.pass_ms(1500)
        clock.ticks_ms = held_up
        clock.advance()
        assert (clock.s, clock.ms) == (1, 500)  # as it was when the ticks were read
        clock.advance()
        assert clock.s * 1000 + clock.ms == 1500 + held_up_ms, held_up_ms


def test_the_next_deadline_is_remembered():
    rig = PolicyRig()
    ticks = rig.ticks
    clock = rig.clock
    assert _is_due(clock)  # nobody has looked yet
    Policy.end_due(rig)
    clock.poll_now = False
    assert not _is_due(clock)
    schedule(clock, 0, 500)
    assert clock.poll_now
    schedule(clock, 0, 700)
    ticks.pass_ms(499)
    clock.advance()
    assert not _is_due(clock)
    ticks.pass_ms(1)
    clock.advance()
    assert _is_due(clock)
    Policy.end_due(rig)
    ticks.pass_ms(59_000)
    clock.advance()
    assert not _is_due(clock)
    assert 0 < clock.until_ms(clock.deadline_s, clock.deadline_ms) <= 1000
    ticks.pass_ms(1000)
    clock.advance()
    assert _is_due(clock)
    Policy.end_due(rig)
    clock.poll_now = False
    schedule(clock, clock.s + 61, 0)  # later than it will be looked at in any case
    assert not clock.poll_now


def test_ticks_that_jump_back_neither_stop_the_time_nor_let_it_jump():
    for now in (0, WRAP - 700, (1 << 20) - 3, 5_000_000):
        for back in (1, 500, 100_000, 1 << 20, (1 << 29) - 10):
            ticks, clock = _clock(now)
            ticks.pass_ms(2500)
            clock.advance()
            for jumps in range(1, 4):
                ticks.pass_ms(-back)
                clock.advance()  # what passed meanwhile is not known
                ticks.pass_ms(1250)
                clock.advance()
                assert clock.s * 1000 + clock.ms == 2500 + 1250 * jumps, (now, back)


def test_ticks_that_jump_back_take_no_heap():
    for now in (0, WRAP - 700):
        ticks, clock = _clock(now)
        for back in (1, 100_000, (1 << 29) - 10):
            ticks.pass_ms(2500)
            clock.advance()
            ticks.pass_ms(-back)
            with no_heap():
                clock.advance()
