# targets: unix frozen qemu
# heap: 400k
"""This board's own heap has memory, but no large block: what does not fit is refused in time."""

import gc

from harness import raises, skip
from metrics import METRICS
from rig import board, poll_for_sample
from usual import new_lease, new_operation
from warden.errors import Denied
from warden.setup import make_agent

_LIMITS = (4, 300_000, 100, 5000)
_MEMORY = 0
_LARGEST = METRICS.index("largest_free_block_bytes")
_BOARD = board()


def _agent():
    gc.collect()  # what the compiler left may be longer than what the test allocates
    agent = make_agent(_BOARD, 20, 1000, limits=_LIMITS)
    if agent.memory.largest is None:
        skip("the largest free block is not known here")
    events = []
    agent.policy.events.on("threshold", events.append)
    return agent, events


def _warned(events):
    """Tell whether one of these events says that no block is large enough."""
    return any([event[4] == _LARGEST and event[5] == "warn" for event in events])


def _let_collect(agent, events):
    """Be as slow, before the first warning, as the agent's budget for collections needs."""
    memory = agent.memory
    while not _warned(events) and memory.largest < memory.wanted:
        poll_for_sample(agent)


def test_a_list_that_grows_is_seen_before_it_is_fatal():
    agent, events = _agent()
    entries = []
    try:
        while True:
            for _ in range(500):
                entries.append(None)
            while not poll_for_sample(agent):  # a fast machine doubles the list in less time
                pass
            _let_collect(agent, events)
    except MemoryError:
        entries = None
    gc.collect()
    assert _warned(events)
    assert not any([event[5] == "critical" for event in events])  # live was not what was short
    assert agent.faults == 0


def test_a_heap_in_pieces_is_seen_and_what_does_not_fit_is_refused():
    agent, events = _agent()
    pieces = [None] * (gc.mem_free() // 200)
    last = 0
    try:
        for last in range(len(pieces)):
            pieces[last] = bytearray(200)
    except MemoryError:
        pass
    for place in range(0, last, 2):
        pieces[place] = None
    gc.collect()
    for _ in range(400):  # a collection shows it, for which the agent may have to wait
        _BOARD.sleep_ms(25)
        poll_for_sample(agent)
        if _warned(events):
            break
    assert _warned(events)
    free = agent.memory.free_now()
    wanted = agent.memory.total // 16
    assert free - agent.memory.total // 10 > wanted > agent.memory.block()
    policy = agent.policy
    for backed in (False, True):
        denied = raises(Denied, new_lease, policy.leases, _MEMORY, wanted, backed=backed)
        assert denied.reason == "fragmented"
        assert 0 < denied.available < wanted
    op = new_operation(policy.operations, "upload", memory=wanted)
    assert raises(Denied, policy.operations.begin, op).reason == "fragmented"
    new_lease(policy.leases, _MEMORY, agent.memory.block() // 2).release()
    pieces.clear()  # the list itself may still be on the stack of the interpreter
    gc.collect()
    new_lease(policy.leases, _MEMORY, wanted).release()


def test_who_does_not_protect_memory_is_not_warned_of_it_either():
    agent, events = _agent()
    agent.policy.thresholds.set("memory", 750, 850, 650)  # posts events only
    agent.memory.left = 1
    agent.policy.evaluate(1000, 0)
    assert not events and agent.policy.pressure.level == 0
    agent.policy.thresholds.set("memory", 750, 850, 650, 0, 1)
    agent.policy.evaluate(1000, 0)
    assert agent.policy.pressure.level == 1
    agent.policy.thresholds.set("memory")
    agent.policy.evaluate(1000, 0)
    assert agent.policy.pressure.level == 0 and agent.memory.wanted == 0


def test_a_threshold_of_the_application_takes_the_place_of_the_default():
    agent, events = _agent()
    agent.policy.thresholds.set("largest_free_block_bytes", 5000, hold_ms=60_000)
    agent.memory.left = 1
    agent.policy.evaluate(1000, 0)
    assert not events and agent.policy.pressure.level == 0
    assert agent.memory.wanted == 5000
