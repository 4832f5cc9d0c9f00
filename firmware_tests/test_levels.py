"""Thresholds: levels with hysteresis and a hold time, for figures that should be low or high."""

from array import array

from harness import no_heap, raises
from warden.figures import METRICS, PLACES, Figures
from warden.history import History
from warden.levels import CLEAR, CRITICAL, PROTECT, RESET, TELL, WARN, Thresholds

_UNKNOWN = -0x40000000
_TOTAL_BYTES = 3
_LIVE_BYTES = 5
_MADE_OF_LIVE = 24


class FakeFigures:
    """Stands in for `warden.figures.Figures`: what the test sets, by metric."""

    def __init__(self):
        self.values = array("i", [_UNKNOWN] * 29)

    def __setitem__(self, metric, value):
        value = _UNKNOWN if value is None else value
        place = PLACES[metric]
        self.values[place] = value
        if place == _MADE_OF_LIVE:  # with each sample, by `loops.crossed`
            self.values[_TOTAL_BYTES] = 1_000_000
            self.values[_LIVE_BYTES] = value if value == _UNKNOWN else value * 1000

    def read(self, metric):
        value = self.values[PLACES[metric]]
        return None if value == _UNKNOWN else value

    def watch(self, metrics):
        """Make no forecast: the test sets them all."""


class Watch:
    """Thresholds over figures that the test sets; `events` is what was posted."""

    def __init__(self, can_reset=False):
        self.figures = FakeFigures()
        self.events = []
        self.thresholds = Thresholds(self.figures, self._post, can_reset)
        self.set = self.thresholds.set

    def _post(self, kind, subject, detail, value):
        self.events.append((detail, value))

    def levels(self, metric, values, ms=1000):
        """Return the level after each of these figures."""
        place = METRICS.index(metric)
        levels = []
        for value in values:
            self.figures[place] = value
            self.thresholds.look(ms)
            levels.append(self.thresholds.all()[0].level)
        return levels


def test_a_figure_rises_and_falls_with_hysteresis():
    watch = Watch()
    watch.set("memory", 750, 900, 650)
    figures = [749, 750, 899, 900, 850, 751, 749, 700, 651, 650, 700, 749]
    expected = [0, 1, 1, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert watch.levels("memory", figures) == expected
    assert watch.events == [("warn", 750), ("critical", 900), ("warn", 749), ("clear", 650)]


def test_it_may_go_all_the_way_at_once():
    watch = Watch()
    watch.set("memory", 750, 900, 650)
    assert watch.levels("memory", [950, 600, 950]) == [CRITICAL, CLEAR, CRITICAL]


def test_little_may_be_bad():
    watch = Watch()
    watch.set("rssi_dbm", -70, -85, -65)
    assert watch.levels("rssi_dbm", [-60, -70, -86, -80, -69, -65, -69]) == [0, 1, 2, 2, 1, 0, 0]


def test_one_level_is_enough():
    watch = Watch()
    watch.set("cpu", critical=900, clear=800)
    assert watch.levels("cpu", [899, 900, 801, 800]) == [0, 2, 2, 0]
    watch = Watch()
    watch.set("tasks", warn=5)
    assert watch.levels("tasks", [4, 5, 6, 4]) == [0, 1, 1, 0]
    watch = Watch()
    watch.set("memory_exhausted_in", warn=60)  # of this, little is bad by itself
    assert watch.levels("memory_exhausted_in", [61, 60, 61]) == [0, 1, 0]


def test_a_level_must_hold():
    watch = Watch()
    watch.set("memory", 750, 900, 650, hold_ms=2000)
    assert watch.levels("memory", [800, 800, 700, 800, 800, 800]) == [0, 0, 0, 0, 0, 1]
    assert watch.levels("memory", [950, 850, 950, 950, 950]) == [1, 1, 1, 1, 2]
    assert watch.levels("memory", [600]) == [0]


def test_to_pass_through_warn_on_the_way_up_counts_for_warn():
    watch = Watch()
    watch.set("memory", 750, 900, 650, hold_ms=2000)
    assert watch.levels("memory", [800, 950, 950, 950]) == [0, 0, 1, 2]


def test_what_is_not_known_changes_nothing_and_breaks_the_hold():
    watch = Watch()
    watch.set("memory", 750, 900, 650, hold_ms=1000)
    assert watch.levels("memory", [None, 800, None, 800, 800, None]) == [0, 0, 0, 0, 1, 1]


def test_each_metric_has_one_threshold():
    watch = Watch()
    watch.set("cpu", 500)
    watch.set("cpu", 600, action=PROTECT)
    (threshold,) = watch.thresholds.all()
    assert (threshold.name, threshold.warn, threshold.action) == ("cpu", 600, PROTECT)
    watch.set("cpu")
    watch.set("cpu")  # harmless
    assert watch.thresholds.all() == []


def test_the_table_has_a_fixed_size():
    watch = Watch()
    for metric in range(8):
        watch.set(metric, 5)
    raises(ValueError, watch.set, 8, 5)
    watch.set(3, 6)


def test_what_makes_no_sense_is_refused():
    watch = Watch()
    wrong = (
        ("speed", 1),
        (-1, 1),
        (len(METRICS), 1),
        (None, 1),
        ("memory", 900, 750, 850),
        ("memory", 750, 900, 800),
        ("rssi_dbm", -70, -85, -80),
        ("memory", 1 << 30),
        ("memory", 750, 900, 650, -1),
        ("memory", 750, 900, 650, 600_001),
        ("memory", 750, 900, 650, 0, 3),
    )
    for arguments in wrong:
        raises(ValueError, watch.set, *arguments)
    for arguments in (("memory", "750"), ("memory", True), ("memory", 1, 2, 0.5)):
        raises(TypeError, watch.set, *arguments)
    assert watch.thresholds.all() == []


def test_only_a_board_that_can_be_reset_takes_that():
    raises(ValueError, Watch().set, "memory", 750, 900, 650, 0, RESET)
    Watch(can_reset=True).set("memory", 750, 900, 650, 0, RESET)


def test_to_look_allocates_nothing_while_nothing_is_crossed():
    watch = Watch()
    for metric in (0, 1, 2, 3, 4, 5, 6, 9):
        watch.set(metric, 750, 900, 650, 1000, TELL)
        watch.figures[metric] = 700
    with no_heap():
        for _ in range(3):
            watch.thresholds.look(1000)
    assert [threshold.level for threshold in watch.thresholds.all()] == [CLEAR] * 8
    assert WARN == 1


def test_others_can_be_watched_instead_and_whoever_looks_is_told():
    watch, other = Watch(), Watch()
    watch.set("memory", 750, 900, 650)
    watch.set("tasks", warn=5)
    assert watch.levels("memory", [800]) == [WARN]
    other.set("cpu", warn=500)
    rows = []
    watch.thresholds.changed = rows.append
    watch.thresholds.freed = lambda _row: rows.append(None)
    watch.thresholds.moved = False
    watch.thresholds.replace(other.thresholds)
    assert watch.thresholds.moved and rows == [0, None]
    assert [each.name for each in watch.thresholds.all()] == ["cpu"]
    assert watch.levels("cpu", [499, 500, 900]) == [CLEAR, WARN, WARN]
    assert watch.levels("memory", [990]) == [WARN]  # of cpu: memory is not looked at any more
    assert watch.events[1:] == [("warn", 500)]


class FakeMemory:
    """Stands in for `warden.memory.Memory`, of as large a heap as can be told of."""

    total = (1 << 30) - 1
    live = 1 << 29


def test_figures_of_memory_are_as_it_is_now():
    values = array("i", [5] * 42)
    figures = Figures(values, FakeMemory, None, History(values), None)
    available = METRICS.index("available_bytes")
    assert figures.read(0) == 500 and figures.read(available) == (1 << 29) - 1
    FakeMemory.live = FakeMemory.total - 7
    assert figures.read(0) == 1000 and figures.read(available) == 7


def test_metrics_are_those_of_the_schema_on_cpython():  # where dicts have an order
    from warden.figures import FIRST_MADE
    from warden_schema import ids

    assert list(METRICS) == list(ids.THRESHOLD_METRICS)
    assert len(ids.SAMPLE_VALUES) == FIRST_MADE
    made = ("memory", "memory_exhausted_in", "storage", "storage_exhausted_in", "available_bytes")
    names = {"loop_lag": "loop_lag_ms", "loop_lag_worst": "loop_lag_worst_ms"}
    names.update(cpu="cpu_permille", overhead="overhead_permille")
    for metric, place in zip(METRICS, PLACES):
        if metric in made:
            assert place == FIRST_MADE + made.index(metric)
        else:
            assert ids.SAMPLE_VALUES[place] == names.get(metric, metric)
