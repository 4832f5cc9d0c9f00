"""Invariant 3 with all tables in use: a tick that brings nothing allocates nothing."""

from harness import no_heap, raises
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
        self.agent = Agent(board(), 1000, self.line, (8, 300_000, 0, 5000))
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

    def second(self, number):
        """Let a second pass, in which the host is heard; all of it with the heap locked."""
        agent = self.agent
        agent.clock.s += 1
        agent.clock.now()
        # The slow tiers ask the file system and the radio, which allocate.
        agent.sampler.seldom_s = agent.clock.s + 1000
        self.line.hear(66, _HOST, number & 0xFFFF)
        with no_heap():
            agent.step(True)


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
