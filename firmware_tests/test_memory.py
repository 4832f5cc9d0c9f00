"""Live is what a collection left, seen or made; used is not taken for it."""

from array import array

from figures import figure
from harness import no_heap
from rig import FakeTicks, PressedBoard
from warden.setup import make_agent, make_clock, make_governor, make_memory, make_sample

_TOTAL = 100_000
_PAUSE = 200  # times what a collection takes: where only a sample wants one


class FakeHeap(FakeTicks):
    """Stands in for a board's heap: `used` is set by hand, a collection leaves `live`."""

    def __init__(self):
        super().__init__()
        self.live = 20_000
        self.used = 50_000
        self.walks = 0
        self.heap_grows = False
        self.enabled = True
        self.collect_ms = 1
        self.native = None  # the C module
        self.table = 13  # not found
        self.threshold = -1

    def mem_free(self):
        self.walks += 1
        return _TOTAL - self.used

    def mem_alloc(self):
        self.walks += 1
        return self.used

    def find_heap(self):
        if self.native is None:
            return self.table
        return self.native, array("i", bytes(76)), array("i", bytes(76)), 4096, False

    def gc_threshold(self):
        return self.threshold

    def collect(self):
        if self.enabled:
            self.used = self.live
            self.pass_ms(self.collect_ms)
            if self.native is not None:
                self.native.note_collection()
        return self.enabled


class FakeModule:
    """Stands in for the C module's heap(): so many slices make a pass. See docs/native.md."""

    def __init__(self, heap, slices=3, counts=True):
        self._heap = heap
        self.slices = slices
        self._counts = counts
        self._collections = self._live = 0

    def note_collection(self):
        """Take note of what a collection left."""
        if self._counts:
            self._collections += 1
            self._live = self._heap.used

    def __call__(self, state, room):
        whole = room == 0 or state[11] + 1 >= self.slices
        if state[5] != self._collections:
            whole = whole or state[11] > 0
            state[5] = self._collections
            state[9] = self._live
            state[11] = 0
        if not whole:
            state[11] += 1
            return False
        state[0] = _TOTAL
        state[1] = _TOTAL - self._heap.used
        state[2] = state[1] // 2
        state[11] = 0
        return True


class FakeTable:
    """Stands in for read_table(): so many slices make a pass. See sensors/heap_viper.py."""

    def __init__(self, heap, slices=1):
        self._heap = heap
        self.slices = slices
        self.fits = 2  # the largest block is one part of so many of what is free
        self.lies = 0  # bytes that are not free

    def found(self):
        """Return what find_table() gives."""
        states = [array("i", [0] * 15) for _ in range(2)]
        return self, states[0], states[1], 7, True

    def __call__(self, state, room):
        assert room in (0, 7)
        state[6] += 1
        if room and state[6] < self.slices:
            return 0
        state[0] = _TOTAL
        state[1] = _TOTAL - self._heap.used + self.lies
        state[2] = state[1] // self.fits
        state[6] = 0
        return 1


def _table(slices=1, **changes):
    heap = FakeHeap()
    table = FakeTable(heap, slices)
    heap.table = table.found()
    for name, value in changes.items():
        setattr(heap, name, value)
    clock = make_clock(heap)
    memory = make_memory(heap, clock, make_governor(1000, 10))
    memory.cost_us = heap.collect_ms * 1000  # as all before took
    memory.read(make_sample())
    return heap, table, clock, memory


def _memory(**changes):
    heap = FakeHeap()
    for name, value in changes.items():
        setattr(heap, name, value)
    clock = make_clock(heap)
    memory = make_memory(heap, clock, make_governor(1000, 10))
    memory.cost_us = heap.collect_ms * 1000  # as all before took
    return heap, clock, memory


def _native(**changes):
    heap = FakeHeap()
    heap.native = FakeModule(heap, **changes)
    clock = make_clock(heap)
    memory = make_memory(heap, clock, make_governor(1000, 10))
    while not memory.scan():
        pass
    memory.read(make_sample())
    return heap, clock, memory


def _read(heap, clock, memory, used, pass_ms=1000):
    heap.used = used
    heap.pass_ms(pass_ms)
    clock.advance()
    while not memory.scan():
        pass


def _used(memory):
    return memory.total - memory.free


def test_the_first_figure_is_exact():
    memory = _memory()[2]
    assert (memory.total, memory.live) == (_TOTAL, 20_000)


def test_the_least_that_live_bytes_left_is_remembered():
    heap, clock, memory = _memory(enabled=False)
    sample = make_sample()
    memory.read(sample)
    assert figure(sample, "low_water_bytes") is None  # as long as live is not known
    heap.enabled = True
    for live, least in ((20_000, 80_000), (70_000, 30_000), (100_000, 0), (20_000, 0)):
        heap.live = live
        _read(heap, clock, memory, 100_000)  # full of garbage: that is no matter
        memory.collect(0)
        with no_heap():
            memory.read(sample)
        assert figure(sample, "low_water_bytes") == least, live


def test_a_sample_walks_the_heap_once():
    heap, clock, memory = _memory()
    heap.walks = 0
    _read(heap, clock, memory, 21_000)
    assert heap.walks == 1
    assert memory.free == _TOTAL - 21_000


def test_a_heap_that_grows_is_walked_twice_and_its_total_is_true():
    heap, clock, memory = _memory(heap_grows=True)
    heap.walks = 0
    _read(heap, clock, memory, 21_000)
    assert heap.walks == 2
    assert memory.total == _TOTAL


def test_garbage_is_not_live():
    heap, clock, memory = _memory()
    _read(heap, clock, memory, 31_000)  # below the line: nothing is collected for it
    assert memory.live == 20_000
    assert memory.collections == 1


def test_growing_live_memory_is_found_by_collecting():
    heap, clock, memory = _memory()
    heap.live = 45_000
    _read(heap, clock, memory, 50_000)
    assert memory.live == 45_000
    assert memory.free == _TOTAL - 50_000  # as it was when the sample was taken
    assert memory.collections == 2


def test_who_forecasts_has_it_found_when_a_64th_is_used():
    heap, clock, memory = _memory()
    heap.live = 22_000
    _read(heap, clock, memory, 22_000)
    assert memory.live == 20_000  # not an eighth
    memory.renew_shift = 6
    _read(heap, clock, memory, 22_000)
    assert memory.live == 22_000
    heap.live = 23_000
    _read(heap, clock, memory, 23_000)
    assert memory.live == 22_000  # not a 64th


def test_collections_are_bounded_in_rate():
    heap, clock, memory = _memory(collect_ms=20)  # none for 200 times as long: 4 s
    heap.live = 5_000
    for _ in range(12):
        _read(heap, clock, memory, 60_000)
    assert memory.collections == 4


def test_in_the_last_eighth_it_collects_sooner_and_for_less():
    heap, clock, memory = _memory(collect_ms=20)
    heap.live = 85_000
    _read(heap, clock, memory, 85_000, pass_ms=10_000)
    assert (memory.collections, memory.live) == (2, 85_000)
    heap.live = 89_000  # an eighth of the heap is not left above 85 000, and a 32nd was used
    _read(heap, clock, memory, 89_000, pass_ms=779)
    assert memory.live == 85_000  # not for 40 times the 20 ms of the last one
    _read(heap, clock, memory, 89_000, pass_ms=1)
    assert (memory.collections, memory.live) == (3, 89_000)
    _read(heap, clock, memory, 92_000, pass_ms=7_000)  # not a 32nd
    assert memory.collections == 3


def test_in_the_last_sixteenth_it_collects_soon_though_the_last_one_was_held_up():
    heap, clock, memory = _memory(collect_ms=12)
    heap.collect_ms = 100  # of which 25 are believed, and 40 times that is a second
    heap.live = used = 85_000
    _read(heap, clock, memory, used, pass_ms=10_000)
    heap.collect_ms = 12
    for used in range(85_000, _TOTAL - 2000, 2000):
        heap.live = used
        _read(heap, clock, memory, used, pass_ms=100)
    assert used - memory.live < 4000, (used, memory.live)


def test_so_it_does_in_the_last_eighth_if_that_is_in_pieces():
    for wanted, is_seen in ((30_000, True), (0, False)):
        heap, _, clock, memory = _table(collect_ms=2)
        memory.wanted = wanted
        heap.collect_ms = 100  # of which 5 are believed, and 40 times that are 200 ms
        heap.live = 84_000
        _read(heap, clock, memory, 84_000, pass_ms=10_000)
        heap.live = 90_000
        _read(heap, clock, memory, 90_000, pass_ms=60)
        assert (memory.live == 90_000) == is_seen, (wanted, memory.live)


def test_a_drop_shows_that_there_was_a_collection():
    heap, clock, memory = _memory()
    _read(heap, clock, memory, 31_000)
    _read(heap, clock, memory, 24_000)
    assert memory.live == 24_000
    assert memory.collections == 1


def test_garbage_made_since_a_collection_is_not_taken_for_live():
    for made in (_memory(collect_ms=10), _table(collect_ms=10)):
        heap, clock, memory = made[0], made[-2], made[-1]
        _read(heap, clock, memory, 86_000)
        assert memory.collections == 1  # another one is too soon
        _read(heap, clock, memory, 80_000, 500)
        assert (memory.collections, memory.live, _used(memory)) == (2, 20_000, 80_000)


def test_what_was_made_since_a_collection_may_be_live_where_another_takes_too_long():
    heap, clock, memory = _memory(collect_ms=50)
    _read(heap, clock, memory, 86_000)
    _read(heap, clock, memory, 80_000, 500)
    assert (memory.collections, memory.live) == (1, 80_000)


def test_a_block_given_back_is_no_collection():
    heap, clock, memory = _memory()
    _read(heap, clock, memory, 31_000)
    _read(heap, clock, memory, 30_500)
    assert memory.live == 20_000


def test_used_below_live_corrects_it():
    heap, clock, memory = _memory()
    _read(heap, clock, memory, 19_000)
    assert memory.live == 19_000


def test_with_gc_disabled_it_does_not_collect():
    heap, clock, memory = _memory(enabled=False)
    assert memory.live is None
    _read(heap, clock, memory, 90_000)
    assert (memory.collections, memory.live) == (0, None)
    _read(heap, clock, memory, 30_000)  # the application collected
    assert (memory.collections, memory.live) == (0, 30_000)


def test_a_sample_gets_the_figures_and_says_when_live_becomes_known():
    heap, clock, memory = _memory(enabled=False)
    sample = make_sample()
    assert not memory.read(sample)  # unknown before, and now
    assert (figure(sample, "total_bytes"), figure(sample, "free_bytes")) == (
        _TOTAL,
        _TOTAL - 50_000,
    )
    assert (figure(sample, "live_bytes"), figure(sample, "largest_free_block_bytes")) == (
        None,
        None,
    )
    heap.enabled = True
    _read(heap, clock, memory, 50_000)
    assert memory.read(sample)
    assert figure(sample, "live_bytes") == 20_000
    assert not memory.read(sample)


def test_figures_requested_at_once_are_current():
    heap, _, memory = _memory()
    heap.used = 33_000
    assert (memory.free_now(), memory.used_now()) == (_TOTAL - 33_000, 33_000)
    assert memory.block() is None


def test_collections_wait_for_their_share_of_the_core():
    heap, clock, memory = _memory(collect_ms=20)
    assert memory.collect_in_ms(_PAUSE) == 4000
    assert memory.collect_in_ms(40) == 800
    assert not memory.collect(_PAUSE)
    heap.pass_ms(3980)  # 20 have passed
    clock.advance()
    assert memory.collect_in_ms(_PAUSE) == 0
    assert memory.collect(_PAUSE)
    assert memory.collect(0)  # whatever it costs


def test_a_collection_during_which_something_else_had_the_core_makes_no_long_pause():
    heap, _, memory = _memory(collect_ms=2)
    heap.collect_ms = 100
    assert memory.collect(0)
    assert memory.collect_in_ms(_PAUSE) == 1000  # as after 5 ms; after 100 it would be 20 s
    assert memory.spent_us == 102_000  # charged is all of it
    heap.collect_ms = 2
    assert memory.collect(0)
    assert memory.collect_in_ms(_PAUSE) == 400
    pauses = []
    heap.collect_ms = 100  # from now on each takes so long
    while not pauses or pauses[-1] < 20_000:
        assert memory.collect(0)
        pauses.append(memory.collect_in_ms(_PAUSE))
    assert pauses == [1000, 2200, 4600, 9400, 19_000, 20_000]


def test_the_first_collection_of_all_makes_no_long_pause():
    heap = FakeHeap()
    heap.collect_ms = 100
    clock = make_clock(heap)
    memory = make_memory(heap, clock, make_governor(1000, 10))
    assert (memory.collections, memory.collect_in_ms(_PAUSE)) == (1, 200)


def test_live_memory_that_leaks_is_seen_though_something_else_had_the_core_meanwhile():
    heap, clock, memory = _memory(collect_ms=2)
    heap.collect_ms = 100
    heap.live = 70_000
    _read(heap, clock, memory, 80_000)
    assert (memory.collections, memory.live) == (2, 70_000)
    heap.collect_ms = 2
    for live in range(70_000, 86_000, 1000):  # 5 KB a second
        heap.live = live
        _read(heap, clock, memory, live + 8000, pass_ms=200)
    assert memory.live > 80_000


def test_the_time_of_collections_is_charged():
    _, _, memory = _memory(collect_ms=20)
    assert memory.spent_us == 20_000
    memory.spent_us = 0
    memory.collect(0)
    assert memory.spent_us == 20_000


def test_a_collection_of_seconds_stays_within_30_bits():
    memory = _memory(collect_ms=30_000)[2]
    assert memory.collect_in_ms(_PAUSE) == 6_000_000
    with no_heap():
        memory.collect_in_ms(_PAUSE)


# --- with the C module ----------------------------------------------------------------------------


def test_figures_are_new_when_all_slices_are_read():
    heap, _, memory = _native()
    heap.used = 23_000
    assert not memory.scan()
    assert not memory.scan()
    assert _used(memory) == 20_000
    assert memory.scan()
    assert (_used(memory), memory.free) == (23_000, _TOTAL - 23_000)
    assert memory.largest == (_TOTAL - 23_000) // 2


def test_an_agent_has_figures_from_the_first_moment_however_many_slices_the_heap_has():
    class Slices(PressedBoard):
        def find_heap(self):
            return table.found()

    table = FakeTable(FakeHeap(), 5)
    agent = make_agent(Slices(), 1000)
    assert figure(agent.sample, "total_bytes") == _TOTAL
    assert not agent.memory.scan()


def test_an_immediate_reading_does_not_disturb_the_slices():
    heap, _, memory = _native()
    heap.used = 23_000
    assert not memory.scan()
    assert (memory.free_now(), memory.used_now()) == (_TOTAL - 23_000, 23_000)
    assert memory.block() == (_TOTAL - 23_000) // 2
    assert not memory.scan()
    assert memory.scan()


def test_a_collection_of_the_runtime_is_counted_and_what_it_left_is_live():
    heap, clock, memory = _native()
    collections = memory.collections
    heap.used = 24_000
    heap.native.note_collection()
    _read(heap, clock, memory, 26_000)
    assert (memory.live, memory.collections) == (24_000, collections + 1)
    heap.used = 25_000
    heap.native.note_collection()
    memory.used_now()
    assert memory.collections == collections + 2


def test_a_drop_is_no_collection_where_they_are_counted():
    heap, clock, memory = _native()
    _read(heap, clock, memory, 31_000)
    _read(heap, clock, memory, 24_000)
    assert memory.live == 20_000


def test_a_module_that_sees_no_collections_is_as_none():
    heap, clock, memory = _native(counts=False)
    assert (memory.live, memory.collections) == (20_000, 1)
    _read(heap, clock, memory, 31_000)
    _read(heap, clock, memory, 24_000)
    assert (memory.live, memory.collections) == (24_000, 1)


def test_reading_memory_allocates_nothing():
    for heap, _, memory in (_memory(), _native(), _memory(heap_grows=True)):
        sample = make_sample()
        heap.used = 25_000
        with no_heap():
            while not memory.scan():
                pass
            memory.read(sample)
            memory.scan()
            memory.used_now()
            memory.free_now()
            memory.block()


# --- with the heap's table ------------------------------------------------------------------------


def test_the_table_gives_the_figures_without_a_walk():
    heap, _, clock, memory = _table()
    heap.walks = 0
    _read(heap, clock, memory, 23_000)
    assert (_used(memory), memory.free, memory.largest) == (23_000, _TOTAL - 23_000, 38_500)
    assert (memory.free_now(), memory.used_now(), memory.block()) == (77_000, 23_000, 38_500)
    assert heap.walks == 0
    assert memory.reason is not None


def test_the_largest_block_that_a_collection_left_stands_while_garbage_fills_the_heap():
    heap, table, clock, memory = _table()
    assert (memory.largest, memory.left) == (25_000, 40_000)  # before it was collected, and after
    table.fits = 8
    _read(heap, clock, memory, 24_000)
    assert (memory.largest, memory.left) == (9_500, 40_000)
    table.fits = 1
    _read(heap, clock, memory, 24_000)  # something was freed
    assert memory.left == memory.largest == 76_000


def test_where_a_larger_block_is_wanted_a_collection_shows_whether_it_can_be_had():
    heap, table, clock, memory = _table()
    table.fits = 8
    memory.wanted = 20_000
    heap.live = 22_000
    _read(heap, clock, memory, 23_000)  # not a 32nd more than was live
    assert memory.collections == 1
    _read(heap, clock, memory, 24_000)
    assert (memory.collections, memory.left) == (2, 9_750)


def test_a_block_that_shrinks_is_seen_in_time_however_much_is_live():
    """Once 8 s passed instead: the heap was in pieces by then, and the application dead."""
    for live in (30_000, 60_000):
        heap, table, clock, memory = _table()
        memory.wanted = 20_000
        heap.live = live
        _read(heap, clock, memory, live + 15_000)
        assert memory.collections == 2
        table.fits = (_TOTAL - live) // 2000
        _read(heap, clock, memory, live + 1500)  # all of it in the largest block, as it may be
        assert memory.collections == 2
        _read(heap, clock, memory, live + 2900)  # less than a 32nd, but more than what is left
        assert memory.collections == 3


def test_whether_a_block_can_be_had_is_found_soon_though_a_collection_takes_long():
    heap, table, clock, memory = _table(collect_ms=20)  # else none for 4 s
    memory.wanted = 20_000
    heap.live = 60_000
    _read(heap, clock, memory, 75_000, pass_ms=4000)
    assert memory.collections == 2 and memory.left == 20_000
    table.fits = 20
    for _ in range(2):  # then it is known, and looked at less often
        _read(heap, clock, memory, 65_000, pass_ms=201)
        assert memory.collections == 3 and memory.left == 2000
    for _ in range(3):
        _read(heap, clock, memory, 65_000, pass_ms=201)
    assert memory.collections == 4


def test_a_pass_begins_anew_after_a_collection_between_its_slices():
    heap, _, clock, memory = _table(slices=3)
    _read(heap, clock, memory, 31_000)
    heap.used = 24_000  # somebody collected
    heap.pass_ms(1000)
    clock.advance()
    scans = 1
    while not memory.scan():
        scans += 1
    assert scans == 6
    assert memory.live == _used(memory) == 24_000
    heap.used = 30_000
    scans = 1
    while not memory.scan():
        scans += 1
    assert scans == 3


def test_a_table_that_does_not_agree_with_gc_is_read_no_more():
    heap, table, clock, memory = _table()
    sample = make_sample()
    memory.read(sample)
    for number in range(2, 16):
        assert memory.collect(0)
        assert memory.collections == number
    table.lies = 16
    assert memory.collect(0)
    assert (memory.largest, memory.left, memory.block()) == (None, None, None)
    assert memory.reason == 13
    _read(heap, clock, memory, 25_000)
    assert (_used(memory), memory.free) == (25_000, 75_000)
    assert memory.read(sample)  # the capabilities changed
    assert figure(sample, "largest_free_block_bytes") is None


def test_live_that_is_high_is_never_old():
    for make in (_memory, _table):
        made = make(collect_ms=10)
        heap, clock, memory = made[0], made[-2], made[-1]
        heap.live = 60_000
        _read(heap, clock, memory, 60_000, pass_ms=3000)  # not too soon after the first
        assert (memory.collections, memory.live) == (2, 60_000)
        heap.live = 5_000  # all is freed, and nothing happens any more
        for _ in range(7):
            _read(heap, clock, memory, 60_000)
        assert (memory.live, memory.live_age_ms() // 100) == (60_000, 70)
        _read(heap, clock, memory, 60_000)
        _read(heap, clock, memory, 60_000)
        assert (memory.collections, memory.live) == (3, 5_000)
        for _ in range(30):
            _read(heap, clock, memory, 6_000)
        assert memory.collections == 3  # it is low


def test_live_that_is_high_is_renewed_within_ten_seconds_at_any_interval_below_that():
    for interval_ms in (500, 2500, 3000, 4900, 5000, 6000, 7000, 7900, 9000):
        heap, clock, memory = _memory(collect_ms=10)
        memory.governor.set(interval_ms, None)
        heap.live = 60_000
        while memory.live != 60_000:
            _read(heap, clock, memory, 60_000, pass_ms=interval_ms)
        heap.live = 5_000
        passed_ms = 0
        while memory.live != 5_000:
            passed_ms += interval_ms
            assert passed_ms < 10_000, interval_ms
            _read(heap, clock, memory, 60_000, pass_ms=interval_ms)


def test_live_that_is_high_is_renewed_within_the_share_of_collections():
    heap, clock, memory = _memory(collect_ms=100)  # none for 20 s
    heap.live = 60_000
    _read(heap, clock, memory, 60_000, pass_ms=20_000)
    for _ in range(18):
        _read(heap, clock, memory, 60_000)
    assert memory.collections == 2
    _read(heap, clock, memory, 60_000, pass_ms=2000)
    assert memory.collections == 3


def test_with_a_threshold_of_gc_live_follows_what_is_used():
    heap, clock, memory = _memory(threshold=2000)
    _read(heap, clock, memory, 31_000)
    assert memory.live == 29_000  # no more than 2000 bytes were allocated since
    _read(heap, clock, memory, 28_000)
    assert memory.live == 28_000
    heap.threshold = 50_000
    _read(heap, clock, memory, 31_000)
    assert memory.live == 28_000


def test_with_the_table_it_allocates_nothing():
    heap, _, _, memory = _table(slices=3)
    sample = make_sample()
    with no_heap():
        for heap.used in (21_000, 30_000, 22_000):
            while not memory.scan():
                pass
            memory.read(sample)
        memory.free_now()
        memory.block()
