# targets: frozen-native qemu-native
"""The C module on the heap as it is: what `gc` says, found faster, and each collection seen."""

import gc

from _warden import heap

from harness import no_heap, raises
from native_rig import (
    ALL_US,
    ALLOCATED,
    AT,
    COLLECTIONS,
    FREE,
    LARGEST,
    LAST_US,
    LEFT,
    LIVE,
    LONGEST_US,
    PARTS,
    SLICES,
    STATE_BYTES,
    TOTAL,
    Chance,
    churn,
    new_state,
)
from rig import board

_BOARD = board()  # whose clock must run for collections to be timed


def _collections(state):
    heap(state, 0)
    return state[COLLECTIONS]


def test_total_and_free_are_those_of_gc():
    state = new_state()
    chance = Chance(1)
    kept = [None] * 60
    for _ in range(40):
        churn(chance, kept, 300, 20)
        assert heap(state, 0) is True
        free, used = gc.mem_free(), gc.mem_alloc()
        assert (state[FREE], state[TOTAL], state[SLICES]) == (free, free + used, 1)
        assert 0 < state[LARGEST] <= state[FREE]


def test_a_block_of_the_largest_size_can_be_had_and_no_larger_one():
    state = new_state()
    kept = [None] * 80
    churn(Chance(2), kept, 600, 400)
    holes = [bytearray(1) for _ in range(20)]
    gc.collect()
    for i in range(0, 20, 2):
        holes[i] = None
    gc.collect()
    gc.disable()  # else a refused allocation collects, and tries again
    try:
        heap(state, 0)
        largest = state[LARGEST]
        raises(MemoryError, bytearray, largest + 1)
        assert len(bytearray(largest)) == largest  # its head finds place in a hole
    finally:
        gc.enable()


def test_slices_give_what_one_look_gives():
    whole, state = new_state(), new_state()
    kept = [None] * 60
    churn(Chance(3), kept, 300, 300)
    for room in (64, 100, 511, 4096):
        heap(whole, 0)
        slices = 1
        while not heap(state, room):
            slices += 1
        assert state[SLICES] == slices
        assert (state[ALLOCATED], state[PARTS]) == (0, 0)
        for place in (TOTAL, FREE, LARGEST):
            assert state[place] == whole[place]


def test_a_pass_allocates_nothing():
    state = new_state()
    with no_heap():
        heap(state, 0)
        while not heap(state, 64):
            pass


def test_memory_allocated_between_slices_is_reported():
    state = new_state()
    gc.collect()
    heap(state, 0)
    assert heap(state, 8) is False
    block = bytearray(5000)
    while not heap(state, 64):
        pass
    assert 5000 <= state[ALLOCATED] < 5500
    assert state[SLICES] > 1
    assert len(block) == 5000


def test_the_last_answer_stands_until_there_is_a_new_one():
    state = new_state()
    gc.collect()
    heap(state, 0)
    free = state[FREE]
    block = bytearray(5000)
    assert heap(state, 8) is False
    assert state[FREE] == free
    while not heap(state, 64):
        pass
    assert state[FREE] <= free - 5000
    assert len(block) == 5000


def test_a_collection_ends_a_pass_with_what_it_left():
    state = new_state()
    gc.collect()
    heap(state, 0)
    for _ in range(20):
        bytearray(500)
    assert heap(state, 8) is False
    gc.collect()
    block = bytearray(5000)  # after it: not in what the collection left
    assert heap(state, 8) is True
    assert (state[SLICES], state[ALLOCATED], state[PARTS]) == (1, 0, 0)
    assert state[TOTAL] - state[FREE] == state[LIVE]
    assert state[LARGEST] == state[LEFT]
    heap(state, 0)
    assert state[TOTAL] - state[FREE] >= state[LIVE] + 5000
    assert len(block) == 5000


def test_what_a_collection_left_is_known_before_the_next_pass_is_whole():
    state = new_state()
    heap(state, 0)
    gc.collect()
    assert heap(state, 8) is False
    assert state[TOTAL] - state[FREE] == state[LIVE]


def test_collections_that_are_asked_for_are_counted():
    state = new_state()
    before = _collections(state)
    gc.collect()
    assert _collections(state) == before + 1
    gc.collect()
    gc.collect()
    assert _collections(state) == before + 3


def test_collections_that_happen_are_counted():
    state = new_state()
    gc.collect()
    before = _collections(state)
    live = state[LIVE]
    for _ in range(state[TOTAL] // 5000 * 2):  # twice the heap, all of it garbage
        bytearray(5000)
    assert before < _collections(state) <= before + 4
    assert live // 2 < state[LIVE] < live * 2


def test_live_and_left_are_exact():
    state = new_state()
    kept = [None] * 60
    chance = Chance(4)
    for _ in range(10):
        churn(chance, kept, 300, 60)
        gc.collect()
        used = gc.mem_alloc()
        heap(state, 0)
        assert state[LIVE] == used == state[TOTAL] - state[FREE]
        assert state[LEFT] == state[LARGEST]


def test_collections_are_timed():
    state = new_state()
    heap(state, 0)
    everything = state[ALL_US]
    began = _BOARD.ticks_us()
    gc.collect()
    took = _BOARD.ticks_diff(_BOARD.ticks_us(), began)
    heap(state, 0)
    assert took // 2 - 50 <= state[LAST_US] <= took
    assert state[LAST_US] > 0
    assert state[LONGEST_US] >= state[LAST_US]
    assert (state[ALL_US] - everything) & 0x3FFFFFFF == state[LAST_US]


def test_a_state_of_the_wrong_size_is_refused():
    raises(ValueError, heap, bytearray(STATE_BYTES - 1), 0)
    raises(ValueError, heap, memoryview(bytearray(STATE_BYTES + 1))[1:], 0)
    raises(TypeError, heap, None, 0)
    raises(TypeError, heap, new_state(), "all")
    raises(TypeError, heap, new_state())


def test_a_state_full_of_nonsense_does_no_harm():
    state = new_state()
    for value in (-1, 1, 0x3FFFFFFF, -0x40000000):
        for place in range(len(state)):
            state[place] = value
        heap(state, 64)
        state[PARTS] = 0
        assert heap(state, 0) is True
        assert state[FREE] == gc.mem_free()
        heap(state, 8)
        state[AT] = value
        while not heap(state, 64):
            pass
        assert 0 <= state[FREE] <= state[TOTAL]
