"""Live is what a collection left, seen or made; used is not taken for it."""

from harness import no_heap
from rig import FakeTicks
from warden.clock import Clock
from warden.memory import Memory
from warden.sampler import Sampler

_TOTAL = 100_000


class FakeHeap(FakeTicks):
    """Stands in for a board's heap: `used` is set by hand, a collection leaves `live`."""

    def __init__(self):
        super().__init__()
        self.live = 20_000
        self.used = 50_000
        self.walks = 0
        self.grows = False
        self.enabled = True
        self.collect_ms = 1

    def heap_grows(self):
        return self.grows

    def mem_free(self):
        self.walks += 1
        return _TOTAL - self.used

    def mem_alloc(self):
        self.walks += 1
        return self.used

    def native_heap(self):
        return None

    def collect(self):
        if self.enabled:
            self.used = self.live
            self.pass_ms(self.collect_ms)
        return self.enabled


def _memory(**changes):
    heap = FakeHeap()
    for name, value in changes.items():
        setattr(heap, name, value)
    clock = Clock(heap.ticks_ms, heap.ticks_diff)
    return heap, clock, Memory(heap, clock, Sampler().values)


def _read(heap, clock, memory, used, pass_ms=1000):
    heap.used = used
    heap.pass_ms(pass_ms)
    clock.advance()
    memory.read()


def test_it_starts_with_a_true_figure():
    memory = _memory()[2]
    assert (memory.total, memory.live) == (_TOTAL, 20_000)


def test_a_sample_is_one_walk():
    heap, clock, memory = _memory()
    heap.walks = 0
    _read(heap, clock, memory, 21_000)
    assert heap.walks == 1
    assert memory.free == _TOTAL - 21_000


def test_a_heap_that_grows_is_walked_twice_and_its_total_is_true():
    heap, clock, memory = _memory(grows=True)
    heap.walks = 0
    _read(heap, clock, memory, 21_000)
    assert heap.walks == 2
    assert memory.total == _TOTAL


def test_garbage_is_not_live():
    heap, clock, memory = _memory()
    _read(heap, clock, memory, 31_000)  # below the line: nothing is collected for it
    assert memory.live == 20_000
    assert memory.collections == 1


def test_live_that_grew_is_seen_by_collecting():
    heap, clock, memory = _memory()
    heap.live = 45_000
    _read(heap, clock, memory, 50_000)
    assert memory.live == 45_000
    assert memory.free == _TOTAL - 50_000  # as it was when the sample was taken
    assert memory.collections == 2


def test_collections_are_bounded_in_rate():
    heap, clock, memory = _memory(collect_ms=20)  # none for 200 times as long: 4 s
    heap.live = 5_000
    for _ in range(12):
        _read(heap, clock, memory, 60_000)
    assert memory.collections == 4


def test_in_the_last_eighth_it_looks_sooner_and_for_less():
    heap, clock, memory = _memory(collect_ms=20)
    heap.live = 85_000
    _read(heap, clock, memory, 85_000, pass_ms=10_000)
    assert (memory.collections, memory.live) == (2, 85_000)
    heap.live = 89_000  # an eighth of the heap is not left above 85 000, and a 32nd was used
    _read(heap, clock, memory, 89_000, pass_ms=779)
    assert memory.live == 85_000  # not for 40 times the 20 ms of the last one
    _read(heap, clock, memory, 89_000, pass_ms=1)
    assert (memory.collections, memory.live) == (3, 89_000)
    _read(heap, clock, memory, 92_000, pass_ms=10_000)  # not a 32nd
    assert memory.collections == 3


def test_a_drop_shows_that_there_was_a_collection():
    heap, clock, memory = _memory()
    _read(heap, clock, memory, 31_000)
    _read(heap, clock, memory, 24_000)
    assert memory.live == 24_000
    assert memory.collections == 1


def test_a_block_given_back_is_no_collection():
    heap, clock, memory = _memory()
    _read(heap, clock, memory, 31_000)
    _read(heap, clock, memory, 30_500)
    assert memory.live == 20_000


def test_used_below_live_corrects_it():
    heap, clock, memory = _memory()
    _read(heap, clock, memory, 19_000)
    assert memory.live == 19_000


def test_it_does_not_collect_where_the_application_forbids_it():
    heap, clock, memory = _memory(enabled=False)
    assert memory.live is None
    _read(heap, clock, memory, 90_000)
    assert (memory.collections, memory.live) == (0, None)
    _read(heap, clock, memory, 30_000)  # the application collected
    assert (memory.collections, memory.live) == (0, 30_000)


def test_it_allocates_nothing():
    heap, _, memory = _memory()
    heap.used = 25_000
    with no_heap():
        memory.read()
        memory.read()
