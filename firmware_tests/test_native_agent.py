# targets: frozen-native qemu-native
"""The agent with the C module: live is exact, the largest block is told and decided by."""

import gc
import sys

from figures import figure
from harness import no_heap, raises
from native_rig import Chance, churn
from rig import board, poll_now
from usual import new_lease
from warden.errors import Denied
from warden.setup import make_agent, make_clock, make_governor, make_memory, make_sample

_MEMORY = 0
_LIMITS = (4, 300_000, 100, 5000)
_WORD = 8 if sys.maxsize > 1 << 32 else 4


def _memory():
    adapter = board()
    return make_memory(adapter, make_clock(adapter), make_governor(1000, 10))


def _scan(memory):
    while not memory.scan():
        pass


def _scan_whole(memory):
    _scan(memory)
    if memory.free != gc.mem_free():  # that pass was begun before something was allocated
        _scan(memory)


def _full_of_holes():
    """Return a list that holds the heap in pieces: half is free, and no run is long."""
    pieces = []
    gc.collect()
    block = gc.mem_free() // 200
    try:
        while True:
            pieces.append(bytearray(block))
    except MemoryError:
        pass
    for i in range(0, len(pieces), 2):
        pieces[i] = None
    gc.collect()
    return pieces


def test_figures_are_those_of_the_heap():
    memory = _memory()
    kept = [None] * 60
    churn(Chance(8), kept, 300, 200)
    _scan_whole(memory)
    free, used = gc.mem_free(), gc.mem_alloc()
    assert (memory.free, memory.total) == (free, free + used)
    assert memory.free_now() == gc.mem_free()
    assert memory.largest == memory.block()
    assert memory.used_now() == gc.mem_alloc()


def test_live_is_exact_after_a_collection_of_somebody_else():
    memory = _memory()
    kept = [None] * 60
    chance = Chance(9)
    collections = memory.collections
    for _ in range(5):
        churn(chance, kept, 300, 100)
        gc.collect()
        live = gc.mem_alloc()
        _scan(memory)
        assert memory.live == live
    assert memory.collections == collections + 5  # none was made here


def test_live_is_not_guessed_from_a_drop():
    memory = _memory()
    gc.collect()
    live = gc.mem_alloc()
    items = [None] * (memory.total // 16 // _WORD)
    _scan_whole(memory)
    collections = memory.collections
    items.clear()  # gives its memory back, and nothing was collected
    block = bytearray(500)
    _scan_whole(memory)
    assert gc.mem_alloc() >= live + len(block)
    assert memory.live == live
    assert memory.collections == collections


def test_what_is_used_beyond_an_eighth_is_still_looked_into():
    memory = _memory()
    memory.cost_us = memory.spent_us = 0  # not too soon
    blocks = [bytearray(memory.total // 40) for _ in range(8)]
    _scan_whole(memory)
    assert memory.spent_us > 0
    assert memory.live >= 8 * len(blocks[0])


def test_reading_allocates_nothing():
    memory = _memory()
    sample = make_sample()
    with no_heap():
        for _ in range(2):
            _scan(memory)
            memory.read(sample)
        memory.free_now()
        memory.block()


def test_a_large_heap_is_read_in_slices_between_the_samples():
    agent = make_agent(board(), 60_000, 1000)
    agent.memory.room = 1024  # bytes of the table: a heap that is large beside it
    kept = _full_of_holes()
    agent.deadline_s = 0
    while poll_now(agent) <= 2:  # ends a pass that was under way: there was a collection
        pass
    agent.deadline_s = 0
    polls = 1
    while poll_now(agent) <= 2:  # a slice, and not the whole heap yet
        polls += 1
    assert polls >= 2
    assert figure(agent.sample, "free_bytes") == agent.memory.free
    assert abs(agent.memory.free - gc.mem_free()) < 2000
    assert len(kept) > 50


def test_the_sample_has_the_largest_block():
    agent = make_agent(board(), 20, 1000)
    sample = agent.sample
    assert 0 < figure(sample, "largest_free_block_bytes") <= figure(sample, "free_bytes")
    assert figure(sample, "largest_free_block_bytes") == agent.memory.largest
    assert agent.reasons[2] == 0


def test_a_block_that_cannot_fit_is_refused_with_what_would():
    agent = make_agent(board(), 60_000, limits=_LIMITS)
    leases = agent.policy.leases
    kept = _full_of_holes()
    available = agent.memory.free_now() - agent.memory.total // 10
    largest = agent.memory.block()
    assert largest < available // 3, (largest, available)
    gc.disable()  # so that it is decided by the figure, not by trying
    try:
        for backed in (True, False):
            error = raises(Denied, new_lease, leases, _MEMORY, available // 2, backed=backed)
            assert error.reason == "fragmented"
            assert largest - 2000 <= error.available <= largest
        assert len(new_lease(leases, _MEMORY, largest // 2, backed=True).buffer) == largest // 2
    finally:
        gc.enable()
    assert len(kept) > 50
