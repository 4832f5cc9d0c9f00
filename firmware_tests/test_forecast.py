"""The forecast: clear rises are seen, chance is not, and nothing is allocated."""

from figures import put_figure
from harness import no_heap
from virtual_board import Rig
from warden.policy.forecast import NEVER, Forecast
from warden.setup import make_history, make_sample

_LIMIT = 60_000
MEMORY, STORAGE = 0, 3  # metrics of the history
_AGES_S = 7200


class Past:
    """A history of one metric, written second by second."""

    def __init__(self):
        self.sample = make_sample()
        self.history = make_history(_LIMIT)
        self.forecast = Forecast(self.history)
        self.s = 0

    def add(self, value):
        put_figure(self.sample, "live_bytes", value)
        put_figure(self.sample, "uptime_s", self.s)
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


def told(values):
    """Return what is told after each of these seconds: a list of seconds, NEVER or None.

    A value None is a second in which the board did not sample: what was told before still is.
    """
    past = Past()
    found = []
    seconds = None
    for value in values:
        if value is None:
            past.s += 1
        else:
            past.add(value)
            seconds = past.forecast.seconds(MEMORY, _LIMIT)
        found.append(seconds)
    return found


def leak(after, rate, start=10_000, count=60):
    """Return so many figures: steady at first, then rising by `rate` each second."""
    return [start + rate * max(0, second - after) for second in range(count)]


def test_a_leak_after_a_steady_time_is_told_within_ten_seconds_and_truly_until_the_end():
    rate = 1000
    values = leak(30, rate, count=80)
    for second, seconds in enumerate(told(values)):
        left = (_LIMIT - values[second]) / rate
        if second >= 40:
            assert abs(seconds - left) <= 0.2 * left, (second, seconds, left)
        elif 9 < second <= 30:
            assert seconds == NEVER, (second, seconds)
        elif second < 9:
            assert seconds is None  # nothing is known yet


def test_what_is_filled_once_and_then_full_is_told_no_longer_than_it_lasts():
    for before in (0, 30):
        for drift in (0, 1):  # of what goes on afterwards
            values = leak(before, 1000, count=before + 11)
            values += [values[-1] + drift * second for second in range(1, 40)]
            seconds = told(values)
            soon = [
                at for at in range(len(seconds)) if seconds[at] is not None and seconds[at] < 300
            ]
            assert len(soon) <= 3 and (not soon or soon[-1] <= before + 12), (before, drift, soon)


def test_a_leak_in_steps_is_forecast():
    # live bytes change when garbage is collected
    found = told([10_000 + 1000 * (second // 8) for second in range(62)])[-1]
    assert 280 <= found <= 450, found
    # something is allocated every third second: it is told from the fifth time on
    for steps in (2, 3):
        values = [10_000 + 1000 * steps * (max(0, second - 30) // steps) for second in range(75)]
        for second, seconds in enumerate(told(values)):
            left = (_LIMIT - values[second]) // 1000
            if second >= 30 + 13:
                assert abs(seconds - left) <= 0.2 * left, (steps, second, seconds, left)


def test_falling_steady_or_noisy_memory_is_no_leak():
    for value in (lambda s: 30_000, lambda s: 40_000 - 100 * s):
        assert set(told([value(second) for second in range(62)])) == {None, NEVER}


def test_what_fills_and_empties_again_and_again_is_no_leak():
    for period in (8, 25, 40):
        found = told([10_000 + 500 * (second % period) for second in range(300)])
        assert set(found[max(period, 10) + 4 :]) == {NEVER}, period


def test_noise_is_never_forecast_as_a_leak():
    chance = Chance(4711)
    assert set(told([30_000 + chance.below(2000) for _ in range(2000)])) == {None, NEVER}


def test_a_leak_in_noise_is_forecast_from_the_minute():
    chance = Chance(17)
    found = told([10_000 + 300 * second + chance.below(2500) for second in range(70)])
    assert 70 < found[-1] < 140, found  # 29 000 / 300


def test_a_slow_leak_is_forecast_from_the_hour():
    past = Past()
    chance = Chance(99)
    for second in range(3700):  # a tenth a second, in scatter that hides it in a minute
        past.add(10_000 + second // 10 + chance.below(200))
    found = past.seconds()
    assert 400_000 <= found <= 600_000, found  # 49 630 / 0.1


def test_a_leak_is_told_where_seconds_have_no_sample_by_the_time_that_passed():
    def every_five_seconds(second):
        return second % 5 == 0

    def but_for_stalls_of_five(second):
        return second % 30 < 25

    for is_sampled, rate, first in (
        (every_five_seconds, 300, 45),
        (but_for_stalls_of_five, 400, 14),
    ):
        values = leak(30, rate, count=30 + 50_000 // rate)
        end = len(values)
        found = told([v if is_sampled(second) else None for second, v in enumerate(values)])
        for second in range(30 + first, end - 5):
            age = 0
            while not is_sampled(second - age):
                age += 1
            left = end - second + age
            assert abs(found[second] - left) <= 0.2 * left, (rate, second, found[second], left)


def test_a_long_gap_discards_the_points_before_it():
    past = Past()
    for second in range(40):
        past.add(10_000 + 100 * second)
    past.s += 30  # the board did not sample
    for _ in range(5):
        past.add(20_000)
    assert past.seconds() is None


def told_of_samples(step, count, value):
    """Return what is told after each of `count` samples, one each `step` seconds, of value(s)."""
    past = Past()
    found = []
    for _ in range(count):
        past.add(value(past.s))
        past.s += step - 1
        found.append(past.forecast.seconds(MEMORY, _LIMIT))
    return found


def test_a_leak_is_told_after_ten_samples_however_seldom_they_are():
    for step in (6, 8, 15, 30, 60, 400, 600):
        rate = 1200 // step

        def value(s, step=step, rate=rate):
            return 10_000 + rate * max(0, s - 5 * step)

        found = told_of_samples(step, 40, value)
        assert found[10] not in (None, NEVER), step
        for at in range(16, 40):
            left = (_LIMIT - value(at * step)) / rate
            assert abs(found[at] - left) <= 0.2 * left, (step, at, found[at], left)


def test_a_leak_is_told_where_samples_come_in_groups():
    """As where the application holds up its loop for some seconds, again and again."""
    past = Past()
    found = []
    for s in range(200):
        if s % 12 < 3:
            past.add(10_000 + 200 * s)
            found.append(past.forecast.seconds(MEMORY, _LIMIT))
            left = (_LIMIT - 10_000 - 200 * s) / 200
            assert s < 132 or abs(found[-1] - left) <= 0.2 * left, (s, found[-1], left)
        else:
            past.s += 1
    assert NEVER not in found


def test_what_is_seldom_sampled_and_steady_or_noisy_is_no_leak():
    chance = Chance(815)
    for step in (8, 20):
        for value in (lambda s: 30_000, lambda s: 30_000 + chance.below(2000)):
            assert set(told_of_samples(step, 100, value)) == {None, NEVER}, step


def test_a_saw_that_is_seldom_sampled_is_no_leak_once_it_has_had_a_few():
    for step, period in ((8, 120), (10, 180), (20, 400), (30, 600), (30, 1360), (60, 1600)):
        found = told_of_samples(
            step, 9 * period // step, lambda s, p=period: 10_000 + 36_000 * (s % p) // p
        )
        assert set(found[4 * period // step :]) == {NEVER}, (step, period)


def test_a_saw_that_is_sampled_every_five_seconds_is_no_leak():
    for period in (60, 90, 150):
        slope = 30_000 // period
        values = [10_000 + slope * (second % period) for second in range(6 * period)]
        found = told([None if second % 5 else value for second, value in enumerate(values)])
        assert set(found[4 * period :]) == {NEVER}, period


def test_a_limit_already_passed_is_zero_seconds_away():
    assert told([_LIMIT + 10 * second for second in range(62)])[-1] == 0


def test_full_is_where_an_allocation_of_the_usual_size_fails():
    class Heap:
        total = _LIMIT
        live = 29_000
        left = 20_000  # of 31 000 that are free

    past = Past()
    for second in range(20):
        past.add(10_000 + 1000 * second)
    forecast = past.forecast
    assert forecast.memory(Heap, 0) == 31  # perhaps it fits elsewhere
    assert forecast.memory(Heap, 5000) == 26
    Heap.live = 32_000
    Heap.left = 19_000
    assert forecast.memory(Heap, 0) == 31  # most of it does
    Heap.live = 33_000
    Heap.left = 18_000  # it does not
    assert forecast.memory(Heap, 5000) == 17
    assert forecast.memory(Heap, 0) == 22
    Heap.live = 35_000
    assert forecast.memory(Heap, 0) == 24  # some of what was too small is used all the same
    Heap.left = 25_000
    assert forecast.memory(Heap, 0) == 31  # it is one block
    assert Heap.renew_shift == 6  # and what is live is measured eight times as often


def test_what_is_live_may_become_known_later_than_the_largest_block():
    class Heap:  # the application had turned collections off, and made one then
        total = _LIMIT
        live = None
        left = 20_000

    past = Past()
    past.add(10_000)
    forecast = past.forecast
    forecast.memory(Heap, 0)
    Heap.live = 29_000
    Heap.left = 10_000
    forecast.memory(Heap, 0)
    assert forecast.full == _LIMIT
    Heap.live = 33_000
    Heap.left = 7000
    forecast.memory(Heap, 0)
    assert forecast.full == _LIMIT - 20_000  # that are in other blocks


def test_a_forecast_allocates_nothing():
    past = Past()
    for second in range(3700):
        past.add(100 + 10 * second // 2)
    with no_heap():
        past.forecast.seconds(MEMORY, 0xFFFE)
    assert past.forecast.seconds(MEMORY, 0xFFFE) is not None


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
        posted = [event for event in _events(rig) if event[1] == "threshold"]
        if posted:
            break
    # Known after a quarter of an hour; then some 4000 blocks are left, which are 66 minutes.
    assert posted[0][5:] == ("warn", posted[0][6]) and 3600 < posted[0][6] < 4600, posted
    assert 540 < posted[0][2] - _AGES_S < 1200, posted


def _events(rig):
    events = rig.policy.events
    return [events.event(number) for number in range(max(0, events.seq - 16), events.seq)]


def test_a_saw_however_long_its_teeth_is_no_leak_once_it_has_had_a_few():
    for period, height in ((90, 20_000), (150, 25_000)):
        slope = height // period
        found = told([10_000 + slope * (second % period) for second in range(6 * period)])
        assert set(found[4 * period :]) == {NEVER}, period


def test_a_saw_whose_tops_are_near_the_limit_is_no_leak_once_it_has_had_a_few():
    for period in (40, 100, 180):
        slope = 44_000 // period
        found = told([10_000 + slope * (second % period) for second in range(6 * period)])
        assert set(found[4 * period :]) == {NEVER}, period


def test_what_is_filled_at_once_again_and_again_is_no_leak():
    def filled(second):
        phase = second % 200
        return 10_000 + (min(phase, 15) * 2000 if phase < 100 else 0)

    assert set(told([filled(second) for second in range(1000)])[600:]) == {NEVER}


def test_a_leak_beside_a_saw_is_not_told_by_its_teeth_but_before_it_ends():
    for leak_rate, rate, period in ((100, 500, 25), (40, 300, 45)):
        values = []
        while not values or values[-1] < _LIMIT:
            second = len(values)
            values.append(8000 + leak_rate * second + rate * (second % period))
        found = told(values)
        end = len(values)
        early = [at for at in range(6 * period, end - 2 * period) if found[at] < (end - at) // 2]
        assert not early, (leak_rate, early)
        assert max(found[end - 7 : end - 3]) <= 30, (leak_rate, found[end - 20 :])


def test_a_leak_that_is_higher_than_all_teeth_before_it_is_told():
    def peaks(second):
        return 40_000 if second < 1800 and second % 600 < 60 else 12_000

    values = [peaks(second) for second in range(1800)] + leak(0, 800, 12_000, 60)
    found = told(values)
    for at in range(1800 + 45, 1800 + 55):
        left = (_LIMIT - values[at]) / 800
        assert abs(found[at] - left) <= 0.2 * left + 1, (at, found[at], left)


def test_what_fills_more_and_more_slowly_is_not_told_for_long():
    values = []
    left = 40_000 * 1000
    for _ in range(200):
        values.append(50_000 - left // 1000)
        left -= left // 30
    found = told(values)
    assert min(found[60:]) > 60, [at for at in range(60, 200) if found[at] <= 60]


def test_a_slow_rise_after_a_steep_one_in_the_same_minute_is_compared_with_all_falls():
    # The steep one is higher than any fall, the slow one is not.
    values = [level for level in (45_000, 40_000, 35_000) for _ in range(60)] + [30_000] * 66
    for rate, seconds in ((890, 14), (60, 25)):
        values += [values[-1] + rate * second for second in range(1, seconds + 1)]
    found = told(values)
    assert min(found[250:260]) < 30 and set(found[-24:]) == {NEVER}, found[245:]


class Counted(Forecast):
    """Counts the points that are read by a call for each."""

    calls = 0

    def read_point(self, place):
        Counted.calls += 1
        return super().read_point(place)


def test_while_it_rises_few_calls_are_made_in_a_tick():
    past = Past()
    past.forecast = Counted(past.history)
    for value in leak(0, 50, count=200):
        past.add(value)
        past.forecast.seconds(MEMORY, _LIMIT)
    assert Counted.calls < 25 * 200, Counted.calls
