"""The governor: the interval is stretched to keep to the budget, a host has a share of its own."""

from figures import figure
from harness import no_heap, raises
from rig import PressedBoard, poll_for_sample
from warden.setup import make_agent, make_governor, make_sample


class Governed:
    """A governor, and samples that cost what a test says."""

    def __init__(self, interval_ms, budget_permille):
        self.governor = make_governor(interval_ms, budget_permille)
        self.sample = make_sample()

    def take_sample(self, sample_us, other_us, period_ms, sent=None):
        """Note what was spent in a period that ends with a sample."""
        self.governor.sample_us += sample_us
        self.governor.spent_us += sample_us + other_us
        self.sample.period_ms = period_ms
        self.governor.update(self.sample, sent)

    def settle(self, sample_us, other_permille=0, samples=40):
        """Let samples cost so much; return the interval it settles at, and its moves."""
        moves = 0
        for _ in range(samples):
            period_ms = self.governor.interval_ms
            self.take_sample(sample_us, other_permille * period_ms, period_ms)
            moves += self.governor.interval_ms != period_ms
        return self.governor.interval_ms, moves


def test_an_interval_within_the_budget_is_unchanged():
    assert Governed(1000, 10).settle(7_400) == (1000, 0)


def test_an_interval_over_the_budget_is_stretched_just_enough():
    governed = Governed(100, 10)
    interval, moves = governed.settle(11_200)
    assert 11_200 // interval <= 10
    assert 1120 <= interval <= 1700
    assert moves <= 3
    assert figure(governed.sample, "overhead_permille") <= 10
    assert (
        figure(governed.sample, "wanted_interval_ms"),
        figure(governed.sample, "interval_ms"),
    ) == (100, interval)


def test_the_interval_shrinks_again_but_not_below_the_requested_one():
    governed = Governed(100, 10)
    governed.settle(11_200)
    interval, _ = governed.settle(4_000)
    # Three quarters of the budget; it moves only where a quarter of the interval is too much.
    assert 400 <= interval <= 4_000 * 10 // 75 * 4 // 3 + 1
    assert governed.settle(100)[0] == 100


def test_one_slow_sample_does_not_stretch_the_interval():
    governed = Governed(1000, 10)
    governed.settle(5_000)
    assert governed.settle(500_000, samples=1)[0] <= 1700
    assert governed.settle(5_000, samples=8)[0] <= 1700
    assert governed.settle(5_000)[0] == 1000
    assert governed.settle(500_000)[0] > 50_000  # many are


def test_the_cost_of_the_first_sample_counts_at_once():
    assert Governed(20, 10).settle(50_000, samples=1)[0] >= 5_000


def test_a_first_sample_during_which_something_else_had_the_core_does_not_stretch_the_interval():
    for late in (1, 2, 3):  # the one at the start, and those after it
        board = PressedBoard()
        reads = []  # of the heap; the first is none of a sample

        def gc_threshold(board=board, reads=reads, late=late):
            board.ticks.pass_ms(500 if len(reads) == late else 5)
            reads.append(None)
            return -1

        board.gc_threshold = gc_threshold
        agent = make_agent(board, 1000)
        intervals = []
        for _ in range(4):
            board.ticks.pass_ms(1000)
            assert poll_for_sample(agent)
            intervals.append(figure(agent.sample, "interval_ms"))
        assert len(reads) > 5
        assert max(intervals) < 2000, (late, intervals)


def test_what_a_poll_costs_is_found_though_something_else_had_the_core_meanwhile():
    reads = []

    def board(late):
        fake = PressedBoard()
        del reads[:]

        def ticks_us():
            reads.append(None)
            if len(reads) == late:
                fake.ticks.pass_ms(100)
            return fake.ticks.ticks_us()

        fake.ticks_us = ticks_us
        return fake

    make_agent(board(0), 1000)
    for late in range(1, len(reads) + 1):
        assert make_agent(board(late), 1000).governor.idle_us < 100, late


def test_small_changes_of_the_cost_do_not_move_it():
    governed = Governed(100, 10)
    governed.settle(10_000)
    moves = 0
    for cost in (10_500, 9_500, 10_900, 9_000, 10_000) * 4:
        moves += governed.settle(cost, samples=1)[1]
    assert moves == 0


def test_all_costs_of_the_agent_count_in_the_budget():
    governed = Governed(1000, 10)
    interval = governed.settle(10_000, other_permille=5)[0]
    assert figure(governed.sample, "overhead_permille") <= 10
    assert 2000 <= interval <= 4600
    governed = Governed(1000, 10)
    interval = governed.settle(10_000, other_permille=500)[0]  # a quarter stays for samples
    assert 3950 <= interval <= 4600


def test_stretching_is_bounded():
    assert Governed(20, 1).settle(5_000_000, samples=60)[0] == 60_000
    assert Governed(600_000, 1).settle(900_000)[0] == 600_000


def test_no_samples_are_not_governed():
    governed = Governed(1000, 10)
    governed.governor.interval_ms = 0
    governed.take_sample(5000, 0, 1000)
    assert governed.governor.interval_ms == 0


def test_what_stops_monitoring_in_the_midst_of_an_update_is_not_undone():
    governed = Governed(100, 10)
    governor = governed.governor
    smooth = governor.smooth

    def stop_and_smooth(mean, value):  # as another thread may
        if value == 50_000:
            governor.wanted_interval_ms = governor.interval_ms = 0
        return smooth(mean, value)

    governor.smooth = stop_and_smooth
    governed.take_sample(50_000, 0, 1000)
    assert governor.interval_ms == 0


def test_the_bytes_a_second_are_counted_where_the_count_wraps():
    governed = Governed(1000, 10)
    governed.take_sample(0, 0, 1000, 65_000)
    governed.take_sample(0, 0, 500, 64)
    assert figure(governed.sample, "link_bytes_per_s") == 1200
    governed.take_sample(0, 0, 500, None)
    assert figure(governed.sample, "link_bytes_per_s") is None


def test_a_host_has_its_share_and_may_save_some_of_it():
    governor = make_governor(1000, 10)
    saved = governor.host_us
    assert 0 < saved <= 20_000
    assert governor.host_wait_ms() == 0
    governor.charge_host(saved + 3000)  # 400 ms' worth too much
    assert 400 <= governor.host_wait_ms() <= 410
    governor.refill_host(390)
    assert governor.host_us <= 0
    governor.refill_host(governor.host_wait_ms())
    assert governor.host_us > 0 and governor.host_wait_ms() == 0
    for passed_ms in (60_000, 1000, 1000, 60_000):  # with nobody there it saves no more than that
        governor.refill_host(passed_ms)
    assert governor.host_us == saved


def test_ticks_that_jump_back_take_nothing_from_a_host():
    governor = make_governor(1000, 10)
    governor.charge_host(5000)
    left = governor.host_us
    governor.refill_host(-60_000)
    assert governor.host_us == left


def test_time_taken_by_others_silences_no_host_for_long():
    governor = make_governor(1000, 10)
    for _ in range(3):  # a turn of a second: another thread had it, or the processor of a simulator
        governor.charge_host(1_000_000)
        assert 490 <= governor.host_wait_ms() <= 510
    governor.refill_host(governor.host_wait_ms())
    assert governor.host_us > 0


def test_work_for_a_host_delays_no_sample():
    governed = Governed(1000, 10)
    for _ in range(20):
        governed.governor.charge_host(15_000)
        governed.take_sample(5_000, 15_000, 1000)
    assert governed.governor.interval_ms == 1000
    assert figure(governed.sample, "overhead_permille") == 20  # it is told as it is


def test_the_governor_allocates_nothing():
    governed = Governed(100, 10)
    with no_heap():
        for _ in range(4):
            governed.take_sample(8_000_000, 8_000_000, 20, 70_000)
            governed.governor.charge_host(1_000_000)
            governed.governor.refill_host(600_000)
            governed.governor.host_wait_ms()
        governed.take_sample(100, 1, 600_000)


def test_nonsense_is_refused():
    for wrong in (0, -1, 1001):
        raises(ValueError, make_governor, 1000, wrong)
    for wrong in ("10", 1.5, True):
        raises(TypeError, make_governor, 1000, wrong)
    for wrong in (0, 19, 600_001):
        raises(ValueError, make_governor, wrong, 10)
    for wrong in (None, "1000", 1.5, True):
        raises(TypeError, make_governor, wrong, 10)
