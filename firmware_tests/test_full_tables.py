"""Invariant 3 with all tables in use: a tick that brings nothing allocates nothing."""

import gc
from array import array

from figures import figure
from harness import no_heap, raises, skip
from rig import SinkLink, board, poll_all, poll_for_sample, poll_now, skip_seconds
from usual import new_lease, new_operation
from warden.errors import Denied
from warden.setup import make_agent

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
        self.link = SinkLink()
        # The budget: on a busy machine QEMU takes longer, and samples would be put off.
        self.agent = make_agent(board(), 1000, 1000, self.link, (8, 300_000, 0, 5000))
        self.policy = self.agent.policy
        self._watch()  # first: the test itself may leave little memory
        self.receive(64, 1, 2, _HOST, None)
        self.receive(67, _HOST, 0, 4, [_BANDWIDTH, 1, "host", 1, _LONG_MS, None])
        self._fill()
        poll_all(self.agent)  # all of that is sent, and delivered to the application's functions

    def _watch(self):
        for metric in _RISING:
            self.policy.thresholds.set(metric, _NEVER)
        for metric in _FALLING:
            self.policy.thresholds.set(metric, -1)
        for _ in range(8):
            self.policy.events.on(None, _ignore)
            self.policy.pressure.on_trim(_ignore)

    def _fill(self):
        policy = self.policy
        sessions = [policy.sessions.open("s", ttl_ms=_LONG_MS) for _ in range(7)]
        options = {"session": sessions[0], "ttl_ms": _LONG_MS}
        leases = policy.leases
        lease = new_lease(leases, _CPU_TIME, 100, **options)
        new_lease(leases, _MEMORY, 1, **options)
        while len(leases.all()) < 16:
            new_lease(leases, _BANDWIDTH, 1, on_preempt=_ignore, **options)
        operations = policy.operations
        for number in range(8):
            op = new_operation(
                operations, "op" + str(number), timeout_ms=_LONG_MS, session=sessions[1]
            )
            policy.operations.begin(op)
        for _ in range(4):
            op = new_operation(
                operations, "waits", priority=0, wait_ms=_LONG_MS, session=sessions[2]
            )
            policy.operations.begin(op)
        for _ in range(16):  # as spawn() does, where there is asyncio
            policy.load_meters().add("task", _TASK, 1, lease)
            raises(Denied, new_lease, leases, _BANDWIDTH, 1)  # and an event

    def receive(self, *message):
        self.link.receive(*message)
        poll_all(self.agent)

    def pass_second(self, number):
        """Let a second pass, so that a sample is due, and the host say that it is there.

        No more: after two seconds that the agent is late is an event, and QEMU may stand still.
        """
        agent = self.agent
        skip_seconds(agent, 1)
        # To ask the file system takes memory.
        agent.storage.deadline_s = agent.clock.s + 1000
        self.link.receive(66, _HOST, number & 0xFFFF)

    def second(self, number):
        """Let a second pass, and what it brings with the heap locked."""
        self.pass_second(number)
        with no_heap():
            poll_for_sample(self.agent)


def _ignore(what):
    """Stand for the application's functions."""


def _rows(table):
    return len([entry for entry in table.rows if entry is not None])


def _all_rows(policy):
    tables = (
        policy.leases,
        policy.operations,
        policy.sessions,
        policy.thresholds,
        policy.meters,
    )
    return [_rows(table) for table in tables]


def test_minutes_with_all_tables_full_allocate_nothing():
    full = Full()
    agent = full.agent
    assert _all_rows(full.policy) == [16, 12, 8, 8, 16]
    assert full.policy.events.seq > 16
    full.second(0)  # the first sample after all that
    for number in range(_SECONDS):
        written, before = full.link.written, figure(agent.sample, "uptime_s")
        full.second(number)
        assert agent.faults == 0, number
        assert figure(agent.sample, "uptime_s") > before, "no sample was due"
        assert full.link.written > written, "nothing was sent"
    assert _all_rows(full.policy) == [16, 12, 8, 8, 16]
    assert agent.session.host_id == _HOST


def test_rows_are_sent_without_the_heap():
    """Leases, operations, sessions, thresholds, meters: encoded and sent."""
    full = Full()
    full.second(0)
    agent = full.agent
    agent.stop_monitoring()  # rows wait for a turn without a sample
    poll_all(agent)
    sent = 0
    tables = full.policy.tables
    for table in tables[:3] + tables[4:6]:
        rows = _rows(table)
        for row in range(rows):
            table.mark_dirty(row)
        turns = 0
        while any(table.dirty):
            turns += 1
            with no_heap():
                poll_now(agent)
            full.agent.session.uplink.unacked = 0
        assert turns == (rows + 1) // 2, turns
        sent += rows
    assert sent == 16 + 12 + 8 + 8 + 16
    assert agent.faults == 0


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
        own = agent.memory.collections
        gc.threshold(0)
        heap(state, 0)
        before = state[_COLLECTIONS]
        poll_now(agent)  # which takes a sample
        poll_now(agent)  # and has nothing to do
        heap(state, 0)
        gc.threshold(-1)
        collected += state[_COLLECTIONS] - before - (agent.memory.collections - own)
    assert collected == 0, collected
