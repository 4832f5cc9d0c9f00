"""The forecast: clear rises are seen, chance is not, and nothing is allocated."""

from harness import no_heap
from virtual_board import Rig
from warden.history import History
from warden.policy.forecast import Forecast
from warden.sample import Sample

_LIMIT = 60_000
MEMORY, STORAGE = 0, 3  # metrics of the history
_AGES_S = 7200


class Past:
    """A history of one metric, written second by second."""

    def __init__(self):
        self.sample = Sample()
        self.history = History(_LIMIT)
        self.forecast = Forecast(self.history)
        self.s = 0

    def add(self, value):
        self.sample.live_bytes = value
        self.sample.uptime_s = self.s
        self.history.add(self.sample)
        self.s += 1

    def seconds(self):
        return Forecast(self.history).seconds(MEMORY, _LIMIT)


class Chance:
    """Numbers that look random and are the same on every board: a 16-bit xorshift."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        x = self._state
        x ^= (x << 7) & 0xFFFF
        x ^= x >> 9
        x ^= (x << 8) & 0xFFFF
        self._state = x
        return x % limit


def test_a_steady_leak_is_forecast():
    past = Past()
    for second in range(62):
        past.add(10_000 + 100 * second)
    assert 430 <= past.seconds() <= 450  # (60 000 - 16 000) / 100


def test_a_leak_is_forecast_after_half_a_minute():
    past = Past()
    for second in range(25):
        past.add(10_000 + 100 * second)
    assert past.seconds() is None
    for second in range(25, 37):
        past.add(10_000 + 100 * second)
    assert past.seconds() is not None


def test_a_leak_in_steps_is_forecast():
    past = Past()
    for second in range(62):  # live bytes change when garbage is collected
        past.add(10_000 + 1000 * (second // 8))
    found = past.seconds()
    assert 280 <= found <= 450, found


def test_falling_steady_or_noisy_memory_is_no_leak():
    for value in (lambda s: 30_000, lambda s: 40_000 - 100 * s):
        past = Past()
        for second in range(62):
            past.add(value(second))
        assert past.seconds() is None


def test_noise_is_rarely_forecast_as_a_leak():
    alarms = 0
    chance = Chance(4711)
    for _ in range(40):
        past = Past()
        for _second in range(62):
            past.add(30_000 + chance.below(2000))
        if past.seconds() is not None:
            alarms += 1
    assert alarms <= 2, alarms  # one in 200 is expected


def test_a_slow_leak_is_forecast_from_the_hour():
    past = Past()
    chance = Chance(99)
    for second in range(3700):  # a tenth a second, in scatter that hides it in a minute
        past.add(10_000 + second // 10 + chance.below(200))
    found = past.seconds()
    assert 400_000 <= found <= 600_000, found  # 49 630 / 0.1


def test_a_gap_discards_the_points_before_it():
    past = Past()
    for second in range(40):
        past.add(10_000 + 100 * second)
    past.s += 30  # the board did not sample
    for _ in range(5):
        past.add(20_000)
    assert past.seconds() is None


def test_a_limit_already_passed_is_zero_seconds_away():
    past = Past()
    for second in range(62):
        past.add(60_000 + 10 * second)
    assert past.seconds() == 0


def test_a_forecast_allocates_nothing():
    past = Past()
    for second in range(3700):
        past.add(100 + 10 * second // 2)
    with no_heap():
        past.forecast.seconds(MEMORY, 0xFFFE)
    assert past.forecast.seconds(MEMORY, 0xFFFE) is not None


def test_the_critical_values_are_those_of_the_exact_distribution_on_cpython():
    from warden.policy.forecast import _LEAST_S

    for points in range(6, 13):
        inversions = [1]  # how many orders have so many, of one point, two …
        for count in range(2, points + 1):
            more = [0] * (len(inversions) + count - 1)
            for at, orders in enumerate(inversions):
                for step in range(count):
                    more[at + step] += orders
            inversions = more
        pairs = points * (points - 1) // 2
        orders = sum(inversions)
        so_far = 0
        for falls, count in enumerate(inversions):
            so_far += count
            if so_far * 200 > orders:
                assert _LEAST_S[points - 6] == pairs - 2 * (falls - 1), points
                break


def test_a_forecast_is_computed_again_after_five_slots():
    past = Past()
    forecast = past.forecast
    for second in range(31):
        past.add(10_000 + 100 * second)
    assert forecast.seconds(MEMORY, _LIMIT) is not None
    found = forecast.seconds(MEMORY, _LIMIT)
    for _ in range(4):
        past.add(0)
    assert forecast.seconds(MEMORY, _LIMIT) == found  # not yet
    past.add(0)
    assert past.s == 36 and forecast.seconds(MEMORY, _LIMIT) is None


def test_the_sooner_of_minute_and_hour_counts():
    past = Past()
    for second in range(3700):
        past.add(10_000 + second)
    slow = past.forecast.seconds(MEMORY, _LIMIT)
    assert 46_000 < slow < 47_000, slow
    for second in range(60):
        past.add(13_700 + 100 * second)
    assert past.forecast.seconds(MEMORY, _LIMIT) < 500


def test_a_filling_mount_crosses_its_threshold_before_it_is_full():
    rig = Rig(interval_ms=20_000)
    free = [5000]
    rig.board.statvfs = lambda mount: (4096, 4096, 10_000, free[0], free[0], 0, 0, 0, 0, 255)
    rig.policy.thresholds.set("storage_exhausted_in", warn=7200)
    rig.pass_ms(_AGES_S * 1000)  # so that what was mounted at the start is forgotten
    for _ in range(45):  # minutes
        free[0] -= 60
        for _ in range(3):
            rig.pass_ms(20_000)
        told = [event for event in _events(rig) if event[1] == "threshold"]
        if told:
            break
    # Known after half an hour; then some 3000 blocks are left, which are 50 minutes.
    assert told[0][5:] == ("warn", told[0][6]) and 2400 < told[0][6] < 3600, told
    assert 1500 < told[0][2] - _AGES_S < 2400, told


def _events(rig):
    events = rig.policy.events
    return [events.event(number) for number in range(max(0, events.seq - 16), events.seq)]
