"""Thresholds: levels with hysteresis and a hold time, for metrics that should be low or high."""

from figures import FIELDS, put_figure
from harness import no_heap, raises
from metrics import METRICS
from rig import PressedBoard
from warden.policy.thresholds import Thresholds
from warden.sample import fragmentation_permille
from warden.sensors.threads import new_lock
from warden.setup import make_clock, make_history, make_sample

_NEVER = 0x3FFFFFFF  # the forecast of what does not rise

CLEAR, WARN, CRITICAL = 0, 1, 2
TELL, PROTECT, RESET = 0, 1, 2


class FakeEvents:
    """Stands in for the ring: level and value of each change; allocates nothing."""

    def __init__(self):
        self.levels = [None] * 32
        self.values = [None] * 32
        self.count = 0

    def post(self, kind, metric, level, value):
        assert kind == "threshold"
        self.levels[self.count] = level
        self.values[self.count] = value
        self.count += 1


class FakeStorage:
    rows = ()
    permille = None


class FakeMemory:
    """Stands in for `Memory`."""

    def __init__(self, total):
        self.total = total
        self.live = total // 2
        self.left = None
        self.is_off = False
        self.renew_shift = 3


class FakePolicy:
    """Stands in for the policy and its agent."""

    def __init__(self, total=1_000_000, can_reset=False):
        self.agent = self
        self.board = PressedBoard()
        self.board.reset = self.board.reset if can_reset else None
        self.clock = make_clock(self.board)
        self.lock = new_lock()
        self.events = FakeEvents()
        self.sample = make_sample()
        self.memory = FakeMemory(total)
        self.storage = FakeStorage()
        self.history = make_history(total)
        self.forecast = self.system_heap = None
        self.pressure = self.blocks = self
        self.usual = 0

    def mark_dirty(self, row):
        """Have it sent which rows are in use."""


class Watch:
    """Thresholds over metrics that the test sets: `values`."""

    def __init__(self, can_reset=False):
        policy = FakePolicy(can_reset=can_reset)
        self._events = policy.events
        self.values = [None] * len(METRICS)
        self.thresholds = Thresholds(policy)
        self.thresholds.read = self._read
        self.set = self.thresholds.set

    def _read(self, metric):
        return self.values[metric]

    def events(self):
        """Return what was posted: level and value of each."""
        events = self._events
        return [(events.levels[place], events.values[place]) for place in range(events.count)]

    def levels(self, metric, values, ms=1000):
        """Return the level after each of these values."""
        place = METRICS.index(metric)
        levels = []
        for value in values:
            self.values[place] = value
            self.thresholds.evaluate(ms)
            levels.append(self.thresholds.all()[0].level)
        return levels


def test_a_metric_rises_and_falls_with_hysteresis():
    watch = Watch()
    watch.set("memory", 750, 900, 650)
    values = [749, 750, 899, 900, 850, 751, 749, 700, 651, 650, 700, 749]
    expected = [0, 1, 1, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert watch.levels("memory", values) == expected
    assert watch.events() == [("warn", 750), ("critical", 900), ("warn", 749), ("clear", 650)]


def test_it_may_go_all_the_way_at_once():
    watch = Watch()
    watch.set("memory", 750, 900, 650)
    assert watch.levels("memory", [950, 600, 950]) == [CRITICAL, CLEAR, CRITICAL]


def test_a_falling_metric_can_be_watched():
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
    assert watch.levels("memory_exhausted_in", [61, 60, 60, 60, 60, 60, 61]) == [0] * 5 + [1, 0]


def test_which_way_is_bad_is_known_where_the_levels_do_not_say_it():
    falling = []
    for metric in range(len(METRICS)):
        watch = Watch()
        watch.set(metric, 5)
        if watch.levels(METRICS[metric], [4] * 2, 4000)[-1] == WARN:
            falling.append(METRICS[metric])
        assert watch.levels(METRICS[metric], [5] * 2, 4000)[-1] == WARN
    assert falling == [
        "memory_exhausted_in",
        "storage_exhausted_in",
        "available_bytes",
        "largest_free_block_bytes",
        "connected",
        "rssi_dbm",
        "system_heap_free_bytes",
        "system_heap_largest_free_block_bytes",
        "system_heap_low_water_bytes",
    ]


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


def test_an_unknown_value_keeps_the_level_and_breaks_the_hold():
    watch = Watch()
    watch.set("memory", 750, 900, 650, hold_ms=1000)
    assert watch.levels("memory", [None, 800, None, 800, 800, None]) == [0, 0, 0, 0, 1, 1]


def test_each_metric_has_one_threshold():
    watch = Watch()
    watch.set("cpu", 500)
    watch.set("cpu", 600, action=PROTECT)
    (threshold,) = watch.thresholds.all()
    assert METRICS[threshold.metric] == "cpu"
    assert (threshold.warn, threshold.action) == (600, PROTECT)
    watch.set("cpu")
    watch.set("cpu")  # harmless
    assert watch.thresholds.all() == []


def test_a_row_that_was_freed_gives_no_metric_a_second_threshold():
    watch = Watch()
    watch.set("memory", 5)
    watch.set("cpu", 5)
    watch.set("memory")
    watch.set("cpu", 6)
    assert [threshold.warn for threshold in watch.thresholds.all()] == [6]


def test_the_table_has_a_fixed_size():
    watch = Watch()
    for metric in range(8):
        watch.set(metric, 5)
    raises(ValueError, watch.set, 8, 5)
    watch.set(3, 6)


def test_invalid_thresholds_are_refused():
    watch = Watch()
    wrong = (
        ("speed", 1),
        (-1, 1),
        (len(METRICS), 1),
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
    for arguments in (
        (None, 1),
        ("memory", "750"),
        ("memory", True),
        ("memory", 1, 2, 0.5),
        ("memory", 1, 2, 0, "5"),
        ("memory", 1, 2, 0, 5, None),
    ):
        raises(TypeError, watch.set, *arguments)
    assert watch.thresholds.all() == []


def test_the_action_reset_needs_a_board_that_can_be_reset():
    raises(ValueError, Watch().set, "memory", 750, 900, 650, 0, RESET)
    Watch(can_reset=True).set("memory", 750, 900, 650, 0, RESET)


def test_to_evaluate_allocates_nothing():
    watch = Watch()
    most = (1 << 30) - 1
    for metric, warn in (
        (0, 750),
        (1, 9),
        (2, 750),
        (3, 9),
        (4, 750),
        (5, 750),
        (7, -most),
        (13, 0),
    ):
        watch.set(metric, warn, hold_ms=1000, action=TELL)
        watch.values[metric] = most
    with no_heap():
        for _ in range(3):
            watch.thresholds.evaluate(1000)
    assert [each.level for each in watch.thresholds.all()] == [1, 0, 1, 0, 1, 1, 0, 0]
    watch.values[13] = -most
    watch.values[0] = None
    with no_heap():
        for _ in range(3):
            watch.thresholds.evaluate(1000)
    assert watch.thresholds.all()[7].level == WARN


def test_how_long_a_level_has_been_is_known():
    watch = Watch()
    watch.set("memory", 750, 900, 650)
    assert watch.levels("memory", [800, 950, 950, None, 850]) == [1, 2, 2, 2, 2]
    threshold = watch.thresholds.all()[0]
    assert threshold.level_ms == 2000  # of what is not known nothing is counted
    assert watch.levels("memory", [700]) == [WARN]
    assert threshold.level_ms == 0


def test_a_row_can_be_put_or_freed_and_a_host_gets_to_know():
    watch, other = Watch(), Watch()
    watch.set("memory", 750, 900, 650)
    watch.set("tasks", warn=5)
    assert watch.levels("memory", [800]) == [WARN]
    other.set("cpu", warn=500)
    thresholds = watch.thresholds
    dirty = []
    thresholds.mark_dirty = dirty.append
    thresholds.policy.mark_dirty = lambda row: dirty.append(None)
    for row in range(2):
        thresholds.put(row, other.thresholds.rows[row])
    assert dirty == [0, None]
    assert [METRICS[each.metric] for each in thresholds.all()] == ["cpu"]
    assert watch.levels("cpu", [499, 500, 900]) == [CLEAR, WARN, WARN]
    assert watch.levels("memory", [990]) == [WARN]  # of cpu: memory is not watched any more
    assert watch.events()[1:] == [("warn", 500)]


# --- what is read ---------------------------------------------------------------------------------


_NOT_IN_SAMPLE = ("memory", "memory_exhausted_in", "storage_exhausted_in", "fragmentation")
_NOT_IN_SAMPLE += ("available_bytes", "live_bytes", "largest_free_block_bytes")


class Measured:
    """Thresholds over a sample that the test sets."""

    def __init__(self, total=1_000_000):
        self.policy = policy = FakePolicy(total)
        self.sample = policy.sample
        self.memory = policy.memory
        self.storage = policy.storage
        self.history = policy.history
        self.thresholds = Thresholds(policy)
        self.thresholds.set("memory_exhausted_in", 60)  # makes the forecast

    def read(self, name):
        with no_heap():
            value = self.thresholds.read(METRICS.index(name))
        return value

    def file(self, s, live, storage_used=None):
        """File a sample."""
        put_figure(self.sample, "uptime_s", s)
        self.memory.live = live
        put_figure(self.sample, "live_bytes", live)
        put_figure(self.sample, "storage_used", storage_used)
        self.history.add(self.sample)


def test_metrics_of_memory_are_as_it_is_now():
    measured = Measured((1 << 30) - 1)
    memory = measured.memory
    memory.live = 1 << 29
    assert measured.read("memory") == 500
    assert measured.read("available_bytes") == (1 << 29) - 1
    memory.live = memory.total - 7
    assert measured.read("memory") == 1000 and measured.read("available_bytes") == 7
    assert measured.read("live_bytes") == memory.live
    memory.live = None
    for name in ("memory", "available_bytes", "live_bytes"):
        assert measured.read(name) is None
    for memory.left in (17, None):
        assert measured.read("largest_free_block_bytes") == memory.left


def test_fragmentation_is_what_is_free_outside_the_largest_block():
    measured = Measured((1 << 30) - 1)
    memory = measured.memory
    for free, largest, permille in (
        (80_000, 20_000, 750),
        (80_000, 80_000, 0),
        (80_000, 79_984, 0),
        (80_000, 16, 999),
        (1000, 999, 1),
        (0, 0, 0),
        ((1 << 30) - 1, 1 << 28, 749),  # and no integer that has to be allocated
        ((1 << 30) - 1, 0, 1000),
        (64, 128, 0),  # one was freed between the two
        (80_000, None, None),
    ):
        assert fragmentation_permille(free, largest) == permille, (free, largest)
        memory.live = memory.total - free  # as a collection left it: garbage is no matter
        memory.left = largest
        assert measured.read("fragmentation") == permille, (free, largest)
    memory.live = None
    assert measured.read("fragmentation") is None


def test_all_others_are_those_of_the_sample():
    measured = Measured()
    sample = measured.sample
    names = {"loop_lag": "loop_lag_ms", "loop_lag_worst": "loop_lag_worst_ms"}
    names.update(cpu="cpu_permille", overhead="overhead_permille", storage="permille")

    def put(name, value):
        if name in FIELDS:
            put_figure(sample, name, value)
        else:
            setattr(measured.storage, name, value)

    for name in METRICS:
        if name not in _NOT_IN_SAMPLE and "system_heap" not in name:
            put(names.get(name, name), 17)
            assert measured.read(name) == 17, name
            put(names.get(name, name), None)
            assert measured.read(name) is None, name


def test_a_forecast_is_made_only_when_it_is_read_and_a_point_has_closed():
    measured = Measured()
    made = []

    forecast = measured.policy.forecast

    def find_rise():
        made.append((forecast.tier, forecast.metric, forecast.width))
        return rise

    rise = 0
    forecast.find_rise = find_rise
    measured.storage.rows = [("/", 4096, 77, 27, 27)]
    measured.storage.scaled = 50
    index = METRICS.index("memory_exhausted_in")

    def read_both(s):
        del made[:]
        measured.file(s, 1000, 50)
        return measured.thresholds.read(index), measured.thresholds.read(index + 2)

    every = [(0, 1), (0, 4), (1, 1), (1, 4)]  # tier, slots a point
    assert read_both(10) == (_NEVER, _NEVER)
    assert made == [(tier, metric, width) for metric in (0, 3) for tier, width in every]
    assert read_both(10) == (_NEVER, _NEVER) and made == []
    read_both(11)
    assert made == [(0, 0, 1), (0, 3, 1)]
    read_both(14)
    assert made == [(0, 0, 1), (0, 0, 4), (0, 3, 1), (0, 3, 4)]
    rise = None
    forecast.count = 7  # of ten that are needed: three more have to close
    read_both(18)
    assert made == [(0, 0, 1), (0, 0, 4), (0, 3, 1), (0, 3, 4)]
    read_both(20)
    assert made == []
    read_both(21)
    assert made == [(0, 0, 1), (0, 3, 1)]
    read_both(30)
    assert made == [(0, 0, 1), (0, 0, 4), (0, 3, 1), (0, 3, 4)]


def test_a_forecast_has_to_stand_for_four_samples_and_falls_when_nothing_rises():
    watch = Watch()
    watch.set("memory_exhausted_in", warn=300, critical=60, clear=600)
    assert watch.levels("memory_exhausted_in", [10] * 3 + [_NEVER]) == [0] * 4
    assert watch.levels("memory_exhausted_in", [10] * 6) == [0, 0, 0, 0, 2, 2]
    assert watch.levels("memory_exhausted_in", [None]) == [2]  # not known
    assert watch.levels("memory_exhausted_in", [_NEVER]) == [0]
    assert watch.thresholds.rows[0].value is None


def test_memory_that_fills_is_forecast():
    measured = Measured()
    assert measured.read("memory_exhausted_in") is None
    for s in range(1, 62):
        measured.file(s, 100_000 + 5_000 * s)
        left = measured.read("memory_exhausted_in")
    assert 90 < left < 150, left
    assert measured.read("storage_exhausted_in") is None


def test_metrics_are_those_of_the_schema_on_cpython():  # where dicts have an order
    from warden_schema import ids

    assert list(METRICS) == list(ids.THRESHOLD_METRICS)
    for name in METRICS:
        assert (
            name in ids.SAMPLE_VALUES
            or Measured().read(name) is None
            or name
            in (
                "memory",
                "available_bytes",
                "dropped_frames",
            )
        )
