"""No free block is as large as the application usually takes: that is seen before it is fatal."""

from array import array

from harness import no_heap
from warden.policy.block_watch import BlockWatch

_TOTAL = 128_000
_LEAST = _TOTAL // 32
_CLEAR, _WARN = 0, 1


class FakeMemory:
    """Stands in for `Memory`: the longest object, and the largest free block."""

    def __init__(self):
        self.total = _TOTAL
        self.left = 100_000
        self.wanted = 0
        self.has_table = True
        self.slices = array("i", [0] * 15)
        self.renewed = self.left  # what is left by now, if that is less

    def renew(self):
        if self.largest < self.wanted and self.left is not None:
            self.left = min(self.left, self.renewed)

    largest = 0

    def set(self, longest, left=100_000):
        self.slices[3] = longest
        self.left = left


def _watch(*lengths):
    memory = FakeMemory()
    watch = BlockWatch(memory)
    for longest in lengths:
        _sample(watch, longest)
    return watch, memory


def _sample(watch, longest, left=100_000, period_ms=1000):
    """Return the level after a sample with that."""
    watch.memory.set(longest, left)
    with no_heap():
        watch.evaluate(period_ms)
    return watch.threshold.level


def test_a_heap_in_pieces_is_seen_whatever_is_usual():
    watch, memory = _watch(500)
    assert _sample(watch, 500, _LEAST + 1) == _CLEAR
    assert memory.wanted == _LEAST
    assert _sample(watch, 500, _LEAST) == _WARN
    assert watch.threshold.value == _LEAST
    assert _sample(watch, 500, _LEAST * 5 // 4 - 1) == _WARN
    assert _sample(watch, 500, _LEAST * 5 // 4) == _CLEAR


def test_a_list_that_grows_is_seen_while_its_next_block_can_be_had():
    watch, _ = _watch(500, 4_000, 8_000, 16_000)
    assert _sample(watch, 16_000, 32_001) == _CLEAR
    assert _sample(watch, 16_000, 32_000) == _WARN


def test_a_text_that_is_joined_again_and_again_needs_room_on_both_sides():
    watch, _ = _watch(500, 8_000, 10_000, 11_000, 12_000)
    assert _sample(watch, 13_000, 39_001) == _CLEAR
    assert _sample(watch, 13_000, 39_000) == _WARN
    for _ in range(5):  # it does not grow any more
        _sample(watch, 13_000, 39_000)
    assert watch.threshold.level == _CLEAR


def test_a_text_that_grows_fast_needs_it_at_its_third_sample():
    watch, _ = _watch(500, 5_000, 10_000)
    assert _sample(watch, 15_000, 45_001) == _CLEAR
    watch, _ = _watch(500, 5_000, 10_000)
    assert _sample(watch, 15_000, 45_000) == _WARN


def test_what_is_left_is_looked_at_again_where_more_is_wanted():
    watch, memory = _watch(500, 5_000, 10_000)
    memory.renewed = 44_000
    memory.largest = 40_000  # with garbage: enough for what was wanted before
    assert _sample(watch, 15_000, 60_000) == _WARN
    assert watch.threshold.value == 44_000


def test_a_text_that_grows_slowly_needs_that_too():
    watch, _ = _watch(500, 8_000)
    for longest in range(10_000, 14_000, 1000):
        for _ in range(20):  # samples in which it does not become so much longer that it is seen
            _sample(watch, longest)
    assert _sample(watch, 13_000, 39_000) == _WARN
    for _ in range(60):
        assert _sample(watch, 13_000, 39_000) == _WARN
    _sample(watch, 13_000, 39_000)  # four times as long as it took before: it does not grow
    assert watch.threshold.level == _CLEAR


def test_a_text_that_is_begun_anew_does_not_grow():
    watch, memory = _watch(500, 8_000, 10_000, 11_000, 12_000, 13_000)
    assert memory.wanted == 39_000
    _sample(watch, 500)
    assert memory.wanted == 26_000


def test_how_long_nothing_becomes_longer_needs_no_memory():
    watch, _ = _watch(500, 8_000, 10_000)
    for _ in range(2000):
        _sample(watch, 10_000, period_ms=600_000)
    assert watch.last_ms < 2**30


def test_one_large_block_is_an_exception():
    watch, memory = _watch(500, 1_000, 60_000, 60_000)
    assert memory.wanted == _LEAST  # twice as much as was usual is less
    assert _sample(watch, 60_000, 30_000) == _CLEAR


def test_what_is_taken_again_is_usual():
    watch, _ = _watch(500, 20_000, 500, 20_000, 500)
    assert _sample(watch, 500, 40_000) == _WARN


def test_what_was_there_from_the_beginning_was_not_taken():
    memory = _watch(60_000, 60_000)[1]
    assert memory.wanted == _LEAST


def test_half_of_the_heap_is_the_most_that_is_wanted():
    memory = _watch(500, 40_000, 60_000)[1]
    assert memory.wanted == _TOTAL // 2


def test_what_is_not_taken_any_more_is_forgotten_by_and_by():
    watch, memory = _watch(500, 20_000, 500, 20_000)
    for _ in range(59):
        _sample(watch, 500)
    assert memory.wanted == 40_000
    _sample(watch, 500)
    assert memory.wanted == 20_000
    for _ in range(120):
        _sample(watch, 500)
    assert memory.wanted == 5_000


def test_one_sample_after_a_long_time_forgets_nothing():
    watch, memory = _watch(500, 20_000, 500, 20_000)
    _sample(watch, 500, period_ms=600_000)
    assert memory.wanted == 40_000
    _sample(watch, 500, period_ms=600_000)
    assert memory.wanted == 20_000


def test_where_the_longest_object_is_not_known_pieces_are_seen():
    watch, memory = _watch()
    memory.has_table = False
    memory.slices = None
    memory.left = _LEAST
    watch.evaluate(1000)
    assert watch.threshold.level == _WARN


def test_where_the_largest_block_is_not_known_the_level_stays():
    watch, _ = _watch(500)
    assert _sample(watch, 500, None) == _CLEAR
