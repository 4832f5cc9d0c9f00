"""Three tiers of fixed size, filled without a host and without allocating."""

from figures import put_figure
from harness import no_heap, raises
from warden.history_reader import column, read_column
from warden.setup import make_history, make_sample
from warden.trend_report import report_trends

_NONE = 0xFFFF
_TOTAL = 60_000  # of memory: its figures stay as they are


class Filed:
    """A history, and the sample that is filed in it."""

    def __init__(self, total=_TOTAL):
        self.history = make_history(total)
        self.sample = make_sample()

    def add(self, s, **figures):
        for name, value in figures.items():
            put_figure(self.sample, name, value)
        put_figure(self.sample, "uptime_s", s)
        self.history.add(self.sample)

    def column(self, tier, metric, stat):
        return column(self.history, tier, metric, stat)


class FakeMemory:
    total = _TOTAL
    live = 10_729

    def live_age_ms(self):
        return 0


class FakeStorage:
    def __init__(self, rows):
        self.rows = rows


class FakeAgent:
    """What trends look at of an agent."""

    def __init__(self, history, rows=()):
        self.memory = FakeMemory()
        self.clock = self
        self.policy = None
        self.history = history
        self.storage = FakeStorage(rows)

    def advance(self):
        """Bring the clock up to now."""


def _fill(history, start, count, value):
    for s in range(start, start + count):
        history.add(s, live_bytes=value(s))


def test_a_second_keeps_the_mean_and_a_minute_least_and_greatest_of_all_samples_too():
    history = Filed()
    for value in (10, 30, 80):
        history.add(0, cpu_permille=value)
    history.add(1, cpu_permille=20)
    history.add(60)
    assert [history.column(0, 1, stat)[0] for stat in range(3)] == [40] * 3
    assert [history.column(1, 1, stat)[-1] for stat in range(3)] == [10, 30, 80]
    history.add(3600)
    assert [history.column(2, 1, stat)[-1] for stat in range(3)] == [10, 25, 80]


def test_columns_come_oldest_first_and_forget_what_is_older():
    history = Filed()
    _fill(history, 0, 75, lambda s: s)
    column = history.column(0, 0, 1)
    assert list(column) == list(range(14, 74))
    assert history.history.numbers[0] == 74


def test_seconds_become_minutes_and_these_hours():
    history = Filed()
    _fill(history, 0, 7201, lambda s: s // 60)
    minutes = history.column(1, 0, 1)
    assert list(minutes) == list(range(60, 120))
    hours = [history.column(2, 0, stat)[-1] for stat in range(3)]
    assert hours == [60, 89, 119]  # the mean of 60 to 119 is 89.5: floored
    assert history.history.numbers[2] == 2


def test_a_gap_has_no_value_and_old_values_do_not_come_back():
    history = Filed()
    _fill(history, 0, 60, lambda s: 7)
    history.add(90)
    column = history.column(0, 0, 1)
    assert list(column) == [7] * 30 + [_NONE] * 30 or list(column)[-30:] == [_NONE] * 30
    history.add(5000)
    history.add(5001)
    column = list(history.column(0, 0, 1))
    assert column == [_NONE] * 59 + [7]


def test_a_metric_that_cannot_be_had_has_no_value_in_any_tier():
    history = Filed()
    _fill(history, 0, 3700, lambda s: 5)
    for tier in range(3):
        assert all(value == _NONE for value in history.column(tier, 2, 1))


def test_values_are_scaled_and_limited_to_16_bits():
    history = Filed(1_000_000)
    history.add(0, live_bytes=999_999, cpu_permille=1000, loop_lag_ms=70_000, storage_used=65_534)
    history.add(1)
    assert history.history.shift == 4
    found = [history.column(0, metric, 1)[-1] for metric in range(4)]
    assert found == [999_999 >> 4, 1000, 65_534, 65_534]


def test_a_host_reads_a_column_with_its_scale():
    history = Filed(1_000_000)
    agent = FakeAgent(history.history, [("/", 4096, 1_000_000, 5, 5)])
    for s in range(61):
        history.add(s, live_bytes=0x1234 << 4, storage_used=9)
    newest_s, step_s, scale, data = read_column(agent, 1, 0, 1)
    assert (newest_s, step_s, scale, len(data)) == (60, 60, 16, 120)
    assert bytes(data[:2]) == b"\xff\xff" and bytes(data[-2:]) == b"\x34\x12"
    assert read_column(agent, 0, 3, 2)[:3] == [60, 1, 4096 << 4]
    assert read_column(agent, 2, 1, 0)[:3] == [0, 3600, 1]
    for wrong in ((3, 0, 0), (0, 4, 0), (0, 0, 3), (-1, 0, 0), (None, 0, 0)):
        raises(ValueError, read_column, agent, *wrong)


def test_trends_are_of_the_time_that_is_asked_for():
    history = Filed()
    for s in range(7300):
        history.add(s, live_bytes=10_000 + s // 10, cpu_permille=s % 2)
    agent = FakeAgent(history.history)
    points = [report_trends(agent, ms)["live_bytes"]["points"] for ms in (30_000, 60_000, 60_001)]
    assert points == [30, 60, 1]
    assert report_trends(agent, 3_600_000)["live_bytes"]["points"] == 60
    assert report_trends(agent, 86_400_000)["live_bytes"]["points"] == 2
    assert report_trends(agent, 1 << 40)["live_bytes"]["points"] == 2
    found = report_trends(agent, 3_600_000)
    assert abs(found["live_bytes"]["slope_per_s"] - 0.1) < 0.001
    assert found["live_bytes"]["clear"]
    assert abs(found["live_bytes"]["exhausted_in_s"] - 492_700) < 5000
    assert found["cpu_permille"]["exhausted_in_s"] is None
    assert found["storage_used_bytes"]["points"] == 0


def test_adding_allocates_nothing_whatever_the_clock_does():
    history = Filed()
    sample = history.sample
    for name in ("live_bytes", "cpu_permille", "loop_lag_ms"):
        put_figure(sample, name, 65_534)
    put_figure(sample, "storage_used", 65_534)
    times = (0, 0, 1, 59, 60, 61, 3600, 7200, 7260, 500_000, 80_000_000)
    with no_heap():
        for s in times:
            put_figure(sample, "uptime_s", s)
            history.history.add(sample)


def test_all_slots_are_those_of_the_samples_in_them():
    filed = Filed()
    samples = []
    seed = 1
    s = 0
    while s < 2 * 3600:
        seed = (seed * 75 + 74) % 65537
        s += seed % 30 if seed % 8 else 600  # now and then some minutes have none
        for _ in range(1 + seed % 3):
            seed = (seed * 75 + 74) % 65537
            samples.append((s, seed % 1000))
    numbers = {}  # of seconds, minutes and hours: the means of shorter slots, least and greatest
    for s, value in samples:
        filed.add(s, cpu_permille=value)
        for step in (1, 60, 3600):
            least, greatest, _ = numbers.get((step, s // step), (value, value, None))
            numbers[step, s // step] = min(value, least), max(value, greatest), []
    for s, value in samples:
        numbers[1, s][2].append(value)
    for step, longer in ((1, 60), (60, 3600)):
        for (each, number), (_, _, means) in sorted(numbers.items()):
            if each == step:
                numbers[longer, number * step // longer][2].append(sum(means) // len(means))
    for tier, (step, slots) in enumerate(((1, 60), (60, 60), (3600, 24))):
        newest = samples[-1][0] // step  # that one is open
        for statistic, place in ((0, 0), (1, None), (2, 1)) if tier else ((1, None),):
            expected = []
            for number in range(newest - slots, newest):
                slot = numbers.get((step, number))
                if slot is None:
                    expected.append(_NONE)
                else:
                    mean = sum(slot[2]) // len(slot[2])
                    expected.append(mean if place is None else slot[place])
            assert list(filed.column(tier, 1, statistic)) == expected, (tier, statistic)
