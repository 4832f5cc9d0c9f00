"""Invariant 3 with all tables in use: a tick that brings nothing allocates nothing."""

import gc
from array import array

from harness import no_heap, raises, skip
from rig import SilentLine, board, turn
from warden.agent import Agent
from warden.errors import Denied

_HOST = 77
_SECONDS = 300
_LONG_MS = 3_600_000
_NEVER = 0x3FFFFFFF  # a level that no figure comes to
_MEMORY, _, _CPU_TIME, _BANDWIDTH = range(4)
_TASK = 0

# Of the second pair little is bad; that of the forecasts reads the history.
_RISING = ("memory", "storage", "cpu", "live_bytes", "faults")
_FALLING = ("memory_exhausted_in", "storage_exhausted_in", "available_bytes")


class Full:
    """An agent whose tables are all full, with a host that listens."""

    def __init__(self):
        self.line = SilentLine()
        # The budget: on a busy machine QEMU takes longer, and samples would be put off.
        self.agent = Agent(board(), 1000, self.line, (8, 300_000, 0, 5000), 1000)
        self.policy = self.agent.decide()
        self._watch()  # first: the test itself may leave little memory
        self.hear(64, 1, 2, _HOST, None)
        self.hear(67, _HOST, 0, 4, [_BANDWIDTH, 1, "host", 1, _LONG_MS, None])
        self._fill()
        turn(self.agent)  # all of that is told, to the host and to the application's functions

    def _watch(self):
        for metric in _RISING:
            self.policy.thresholds.set(metric, _NEVER)
        for metric in _FALLING:
            self.policy.thresholds.set(metric, -1)
        for _ in range(8):
            self.policy.events.on(None, _ignore)
            self.policy.ladder.on_trim(_ignore)

    def _fill(self):
        policy = self.policy
        sessions = [policy.sessions.open("s", ttl_ms=_LONG_MS) for _ in range(7)]
        options = {"session": sessions[0], "ttl_ms": _LONG_MS}
        lease = policy.allocate(_CPU_TIME, 100, **options)
        policy.allocate(_MEMORY, 1, **options)
        while len(policy.ledger.active()) < 16:
            policy.allocate(_BANDWIDTH, 1, on_preempt=_ignore, **options)
        for number in range(8):
            policy.begin("op" + str(number), timeout_ms=_LONG_MS, session=sessions[1])
        for _ in range(4):
            policy.begin("waits", priority=0, wait_ms=_LONG_MS, session=sessions[2])
        for _ in range(16):
            policy.meters._enter("task", _TASK, 1, lease)  # as spawn() does, where there is asyncio
            raises(Denied, policy.allocate, _BANDWIDTH, 1)  # and an event

    def hear(self, *message):
        self.line.hear(*message)
        self.agent.step(True)

    def pass_second(self, number):
        """Let a second pass, at the end of which the host says that it is there."""
        agent = self.agent
        agent.clock.s += 1
        agent.clock.now()
        # The slow tiers ask the file system and the radio, which allocate.
        agent.values[44] = agent.clock.s + 1000
        self.line.hear(66, _HOST, number & 0xFFFF)

    def second(self, number):
        """Let a second pass, and what it brings with the heap locked."""
        self.pass_second(number)
        with no_heap():
            self.agent.step(True)


def _ignore(what):
    """Stand for the application's functions."""


def _rows(owner):
    return len([row for row in owner.table if row is not None])


def _all_rows(policy):
    owners = (
        policy.ledger,
        policy.operations,
        policy.sessions,
        policy.thresholds,
        policy.meters,
    )
    return [_rows(owner) for owner in owners]


def test_minutes_with_all_tables_full_allocate_nothing():
    full = Full()
    agent = full.agent
    assert _all_rows(full.policy) == [16, 12, 8, 8, 16]
    assert full.policy.events.seq > 16
    full.second(0)  # the first sample after all that
    for number in range(_SECONDS):
        taken, before = full.line.taken, agent.values[0]
        full.second(number)
        assert agent.faults == 0, number
        assert agent.values[0] > before, "no sample was due"
        assert full.line.taken > taken, "nothing was sent"
    assert _all_rows(full.policy) == [16, 12, 8, 8, 16]
    assert agent.session.host_id == _HOST


def test_rows_are_told_without_the_heap():
    """Leases, operations, sessions, thresholds, meters: encoded and sent."""
    full = Full()
    full.second(0)
    session = full.agent.session
    told = 0
    for table in session.tables[3:8]:
        table.mark()
        if 1 not in list(table.due):  # meters, which nobody asked for
            table.tell()
        rows = sum(table.due)
        with no_heap():
            for _ in range(rows):
                session.frames = 0
                session._pump_table(table)
                full.agent.uplink.forget()
        assert sum(table.due) == 0
        told += rows
    assert told == 16 + 12 + 8 + 8 + 16


_COLLECTIONS = 5  # in what _warden.heap() fills


def test_not_even_the_frame_of_a_call_is_taken_from_the_heap():
    """A call whose frame is larger than eleven words has it from the heap, where that is not locked
    (py/objfun.c, VM_MAX_STATE_ON_STACK), and gives it back. With gc.threshold(0) each allocation
    collects garbage first, which the C module counts.
    """
    try:
        from _warden import heap
    except ImportError:
        skip("no module _warden, which counts collections")
    full = Full()
    agent = full.agent
    full.second(0)
    state = array("i", bytes(76))
    collected = 0
    for number in range(1, 100):
        full.pass_second(number)
        agent.values[43] = 0
        own = agent.memory.collections
        gc.threshold(0)
        heap(state, 0)
        before = state[_COLLECTIONS]
        agent.step(True)  # which takes a sample
        agent.step(True)  # and has nothing to do
        heap(state, 0)
        gc.threshold(-1)
        collected += state[_COLLECTIONS] - before - (agent.memory.collections - own)
    assert collected == 0, collected
