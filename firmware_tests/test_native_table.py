# targets: frozen-native qemu-native
"""The C module on tables that are made up: it finds what gc_info() finds, bit for bit.

`_probe` is a C module for these tests only (firmware_tests/native_probe).
"""

import gc
from array import array

import _probe
from _warden import heap

from harness import needs, skip
from native_rig import FREE, LARGEST, SLICES, TOTAL, Chance, churn, new_state

_HEAD, _TAIL, _MARK = 1, 2, 3
_ALL = 1 << 28  # slices

_place = array("i", [0, 0, 0])
_state = new_state()


def _set(table, block, kind):
    shift = 2 * (block % 4)
    table[block // 4] = table[block // 4] & ~(3 << shift) | kind << shift


def _look(table, bounds, room=0, slices=_ALL):
    """Have both look at it; return how often the module was called."""
    return _probe.on_table(table, bounds, _place, heap, _state, room, slices)


def _agree(table, bounds, room=0):
    """Return how many slices it took; they must have found the same."""
    calls = _look(table, bounds, room)
    assert _state[SLICES] == calls
    for i in range(3):
        assert _state[i] == _place[i], (bytes(table), list(bounds), list(_place), list(_state))
    return calls


def _fill(table, chance, first, end, longest):
    """Fill these blocks with free runs and objects of up to so many blocks."""
    block = first
    while block < end:
        run = min(end - block, chance.below(longest) + 1)
        used = chance.below(2)
        for i in range(run):
            _set(table, block + i, 0 if not used else _TAIL if i else _HEAD)
        block += run


def test_info_is_that_of_gc():
    _probe.info(_place)
    free, used = gc.mem_free(), gc.mem_alloc()
    assert (_place[0], _place[1]) == (free + used, free)


def test_real_heaps():
    chance = Chance(5)
    kept = [None] * 60
    for _ in range(40):
        churn(chance, kept, 300, 10)
        heap(_state, 0)
        _probe.info(_place)
        assert (_state[TOTAL], _state[FREE], _state[LARGEST]) == tuple(_place)


def test_one_free_run_of_each_length_at_each_place():
    blocks = 72  # four words of 32 bits and a half, two of 64 and a bit
    bounds = array("i", [0, blocks // 4])
    for first in range(blocks):
        table = bytearray(b"\x55" * (blocks // 4))  # heads
        for end in range(first, blocks):
            _set(table, end, 0)
            if first % 3 == end % 3:
                _agree(table, bounds)


def test_one_object_of_each_length_at_each_place():
    blocks = 72
    bounds = array("i", [0, blocks // 4])
    for first in range(blocks):
        table = bytearray(blocks // 4)
        for end in range(first, blocks):
            _set(table, end, _TAIL if end > first else _HEAD)
            if first % 3 == end % 3:
                _agree(table, bounds)


def test_two_free_runs():
    """The longer one may be anywhere: in front, behind, inside one word or over two."""
    for apart in (1, 2, 9, 17):
        for first_length in (1, 3, 6, 13, 16, 30, 33):
            for second_length in (1, 2, 7, 14, 15, 31, 34):
                table = bytearray(b"\x55" * 24)
                second = 2 + first_length + apart
                for block in range(2, 2 + first_length):
                    _set(table, block, 0)
                for block in range(second, min(second + second_length, 96)):
                    _set(table, block, 0)
                _agree(table, array("i", [0, 24]))


def test_random_tables():
    chance = Chance(6)
    for _ in range(150):
        start, length = chance.below(9), chance.below(90) + 1
        table = bytearray(b"\x99" * (start + length + 9))  # all used around it
        _fill(table, chance, 4 * start, 4 * (start + length), (3, 9, 40, 200)[chance.below(4)])
        _agree(table, array("i", [start, length]), (0, 0, 1, 3, 8, 17)[chance.below(6)])


def test_what_follows_the_table_is_not_counted():
    for length in range(1, 20):
        table = bytearray(b"\x55" * length + b"\0" * 16)
        _agree(table, array("i", [0, length]))
        assert (_state[FREE], _state[LARGEST]) == (0, 0)


def test_a_marked_object_is_in_use():
    table = bytearray(8)
    for block in (5, 16, 17):
        _set(table, block, _MARK)
    _look(table, array("i", [0, 8]))
    block = _state[TOTAL] // 32
    assert (_state[FREE], _state[LARGEST]) == (29 * block, 14 * block)


def test_no_slice_reads_more_than_it_may():
    table = bytearray(b"\x41" * 100)
    for room in (1, 2, 7, 8, 33, 99, 100, 101):
        for start in (0, 1, 3):
            assert _agree(table, array("i", [start, 97]), room) == (97 + room - 1) // room


def test_behind_the_last_object_nothing_is_read():
    table = bytearray(1000)
    table[0] = _HEAD
    assert _agree(table, array("i", [0, 1000]), 8) == 1
    table[7] = _HEAD << 6
    assert _agree(table, array("i", [0, 1000]), 8) == 1
    table[8] = _HEAD
    assert _agree(table, array("i", [0, 1000]), 8) == 2


def test_a_pass_begins_anew_when_the_heap_has_grown():
    table = bytearray(b"\x44" * 100)
    assert _look(table, array("i", [0, 100]), 8, 3) == 3
    assert heap(_state, 0) is True
    _probe.info(_place)
    assert (_state[TOTAL], _state[FREE], _state[LARGEST]) == tuple(_place)
    assert _state[SLICES] == 1


# --- more than one area: MICROPY_GC_SPLIT_HEAP ----------------------------------------------------


def _areas(table, *bounds):
    bounds = array("i", bounds)
    try:
        _look(table, bounds)
    except ValueError:
        skip("the heap of this firmware is one area")
    return bounds


def test_all_areas_are_counted():
    table = bytearray(b"\x44" * 64)
    bounds = _areas(table, 0, 10, 12, 7, 20, 1, 24, 40)
    _agree(table, bounds)
    assert _state[FREE] * 2 == _state[TOTAL]


def test_a_run_ends_with_its_area():
    for length in (4, 5, 8, 16):
        table = bytearray(2 * length)
        bounds = _areas(table, 0, length, length, length)
        table[0] = table[2 * length - 1] = 0x55
        _agree(table, bounds)
        assert _state[LARGEST] * 2 == _state[FREE]


def test_the_largest_run_may_be_in_any_area():
    for largest in range(4):
        table = bytearray(b"\x55" * 64)
        for area in range(4):
            for i in range(5 if area == largest else 3):
                table[16 * area + 4 + i] = 0
        _agree(table, _areas(table, 0, 16, 16, 16, 32, 16, 48, 16))
        assert _state[LARGEST] * 14 == _state[FREE] * 5


def test_random_areas_in_slices():
    chance = Chance(7)
    for _ in range(60):
        bounds = []
        end = 0
        for _ in range(chance.below(3) + 2):
            start = end + chance.below(9)
            length = chance.below(40) + 1
            bounds += [start, length]
            end = start + length
        table = bytearray(b"\x55" * end)
        for i in range(0, len(bounds), 2):
            first = 4 * bounds[i]
            _fill(table, chance, first, first + 4 * bounds[i + 1], (3, 9, 40)[chance.below(3)])
        bounds = _areas(table, *bounds)
        for room in (0, 1, 4, 11):
            _agree(table, bounds, room)


def test_a_slice_may_end_with_an_area():
    table = bytearray(b"\x55" * 48)
    bounds = _areas(table, 0, 16, 16, 16, 32, 16)
    assert _agree(table, bounds, 16) == 3
    assert _agree(table, bounds, 24) == 2


# --- threads without a global lock ----------------------------------------------------------------


def test_it_waits_while_another_thread_is_at_the_heap():
    needs("_thread", "time")
    if not hasattr(_probe, "hold"):
        skip("threads take turns here")
    import _thread
    import time

    started = array("i", [0])
    _thread.start_new_thread(_probe.hold, (started, 200))
    while not started[0]:
        pass
    began = time.ticks_ms()
    heap(_state, 8)
    assert time.ticks_diff(time.ticks_ms(), began) > 100
