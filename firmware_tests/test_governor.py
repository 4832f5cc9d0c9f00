"""The governor: the interval is stretched to keep to the budget, and no more than that."""

from array import array

from harness import no_heap, raises
from loops_rig import Beginning
from warden.limits import check_budget, want
from warden.sampler import Sampler
from warden_schema import loops

_COST_US = 30
_BUSY_US = 8  # in `resting`
_BUDGET = 31
_INTERVAL = 33
_ONE = array("i", [1])
_FOUR = array("i", [0] * 4)


class Governed:
    """A sample's words, which are governed, and samples that cost what a test says."""

    def __init__(self, budget_permille):
        self.state = Sampler().values
        self.state[_BUDGET] = check_budget(budget_permille)
        self._beginning = Beginning(self.state, 0, 0, 0, -1, _ONE, _FOUR)

    def want(self, interval_ms, budget_permille=None):
        want(self.state, interval_ms, budget_permille)

    @property
    def interval_ms(self):
        return self.state[_INTERVAL]

    def sampled(self, cost_us, busy_us, period_ms):
        """Tell what a sample cost, and begin the next one."""
        values = self.state
        values[_COST_US] = cost_us
        ms = values[1] + period_ms
        begins = self._beginning
        begins.s = values[0] + ms // 1000
        begins.ms = ms % 1000
        begins.resting[_BUSY_US] = busy_us
        loops.renew(begins)


def _settle(governor, cost_us, rest_permille=0, samples=40):
    """Let samples cost so much; return the interval that it settles at, and how often it moved."""
    moves = 0
    for _ in range(samples):
        before = governor.interval_ms
        period_ms = before
        governor.sampled(cost_us, cost_us + rest_permille * period_ms, period_ms)
        moves += governor.interval_ms != before
    return governor.interval_ms, moves


def test_what_fits_is_left_as_it_was_asked_for():
    governor = Governed(10)
    governor.want(1000)
    assert _settle(governor, 9_000) == (1000, 0)


def test_what_does_not_fit_is_stretched_until_it_does():
    governor = Governed(10)
    governor.want(100)
    interval, moves = _settle(governor, 11_200)
    assert 11_200 // interval <= 10
    assert 1120 <= interval <= 1400
    assert moves <= 2


def test_it_shrinks_again_but_not_below_what_was_asked_for():
    governor = Governed(10)
    governor.want(100)
    _settle(governor, 11_200)
    interval, _ = _settle(governor, 4_000)
    # 15 16ths of the budget; it moves only where a quarter of the interval is too much.
    assert 400 <= interval <= 4_000 * 16 // 150 * 4 // 3 + 1
    assert _settle(governor, 100)[0] == 100


def test_a_16th_of_the_budget_stays_for_what_is_not_timed():
    for cost_us, fits in ((9_350, True), (9_400, False)):
        governor = Governed(10)
        governor.want(1000)
        assert (_settle(governor, cost_us)[0] == 1000) is fits, cost_us


def test_one_slow_sample_is_no_reason():
    governor = Governed(10)
    governor.want(1000)
    _settle(governor, 5_000)
    assert _settle(governor, 500_000, samples=1) == (1000, 0)
    assert _settle(governor, 5_000, samples=3) == (1000, 0)
    assert _settle(governor, 500_000)[0] > 50_000  # many are
    governor = Governed(10)
    governor.want(1000)
    assert _settle(governor, -1, samples=1) == (1000, 0)  # nor is one whose cost is not known


def test_small_changes_of_the_cost_do_not_move_it():
    governor = Governed(10)
    governor.want(100)
    _settle(governor, 10_000)
    moves = 0
    for cost in (10_500, 9_500, 10_900, 9_000, 10_000) * 4:
        moves += _settle(governor, cost, samples=1)[1]
    assert moves == 0


def test_what_else_the_agent_costs_is_in_the_budget():
    governor = Governed(10)
    governor.want(1000)
    assert 1950 <= _settle(governor, 10_000, rest_permille=5)[0] <= 2600
    governor.want(1000)
    interval, _ = _settle(governor, 10_000, rest_permille=500)  # a quarter stays for samples
    assert 3950 <= interval <= 4600


def test_stretching_is_bounded():
    governor = Governed(1)
    governor.want(20)
    assert _settle(governor, 5_000_000, samples=60)[0] == 60_000
    governor.want(600_000)
    assert _settle(governor, 900_000)[0] == 600_000


def test_no_samples_are_not_governed():
    governor = Governed(10)
    governor.sampled(5000, 5000, 1000)
    assert governor.interval_ms == 0


def test_it_allocates_nothing():
    governor = Governed(10)
    governor.want(100)
    with no_heap():
        for _ in range(4):
            governor.sampled(8_000_000, 16_000_000, 20)
        governor.sampled(100, 1, 600_000)


def test_wrong_budgets_are_refused():
    for wrong in (0, -1, 1001):
        raises(ValueError, Governed, wrong)
    for wrong in (None, "10", 1.5, True):
        raises(TypeError, Governed, wrong)
