"""Invariant 13: sampling, enforcement, and what a host must be sent are never starved.

A polled loop that begins and ends operations in each of its turns, and hosts that send as fast as
they can. Time is set by hand: what reads, writes and samples take is made up, and nothing else
takes any, so that these figures are the same wherever this runs.
"""

import sys

from figures import figure
from frames import framed
from harness import raises
from rig import FakeLink
from usual import new_lease, new_operation
from virtual_board import VirtualBoard
from warden.errors import Denied
from warden.setup import make_agent

SUBSCRIBE, UNSUBSCRIBE, KEEPALIVE, REQUEST = range(64, 68)
PING, HISTORY, ALLOCATE, BEGIN = 0, 3, 4, 6
HELLO, SAMPLE, SYNCED, REPLY, DELTA = 1, 3, 5, 7, 16
_HOST = 77
_LIMITS = (8, 300_000, 100, 5000)
_QUICK = sys.platform in ("linux", "darwin", "win32")  # others take some of the many cases


class Working:
    """An application's own loop, with an agent, and a host at the other end of the link.

    Each of its turns takes `turn_ms`, in which it begins and ends so many operations, and polls.
    """

    def __init__(self, operations, turn_ms=10, interval_ms=500):
        self.board = VirtualBoard()
        self.link = FakeLink()
        self.agent = make_agent(self.board, interval_ms, 10, self.link, _LIMITS)
        self.policy = self.agent.policy
        self.board.leases = self.policy.leases
        self._operations = operations
        self._turn_ms = turn_ms
        self.now = 0
        self.sampled = []  # when
        self.sent = []  # (when, the kind of message)
        self._keepalive = 0

    def turn(self):
        operations = self.policy.operations
        for _ in range(self._operations):
            with new_operation(operations, "read"):
                pass
        self.board.ticks.pass_ms(self._turn_ms)
        self.now += self._turn_ms
        if self.now // 1000 != self._keepalive:
            self._keepalive = self.now // 1000
            self.link.receive(KEEPALIVE, _HOST, self.agent.session.uplink.seq - 1 & 0xFFFF)
        self.agent.poll()
        sample = self.agent.sample
        uptime = figure(sample, "uptime_s") * 1000 + figure(sample, "uptime_ms")
        if not self.sampled or self.sampled[-1] != uptime:
            self.sampled.append(uptime)
        for message in self.link.sent():
            if message[0] in (HELLO, SAMPLE, SYNCED, REPLY, DELTA):  # events would be too many
                self.sent.append((self.now, message[0]))

    def run(self, ms):
        end = self.now + ms
        while self.now < end:
            self.turn()

    def when(self, kind):
        """Return when messages of that kind were sent."""
        return [now for now, each in self.sent if each == kind]


def test_a_polled_loop_with_operations_in_each_turn_starves_nothing():
    for operations in range(9) if _QUICK else (0, 1, 8):
        made = Working(operations)
        made.run(200)
        made.link.receive(SUBSCRIBE, 1, 3, _HOST, None)
        made.run(300)
        assert made.when(HELLO) and made.when(SAMPLE), operations
        assert len(made.when(SYNCED)) == 1 and made.when(SYNCED)[0] <= 450, operations
        lease = new_lease(made.policy.leases, 3, 10, ttl_ms=995)
        late = made.policy.operations.begin(
            new_operation(made.policy.operations, "late", timeout_ms=705)
        )
        made.link.receive(REQUEST, _HOST, 0, PING, [])
        made.run(700)
        assert made.when(REPLY) == [510], operations  # in the next turn
        assert late.why is None
        made.run(20)
        assert late.why is not None, operations
        made.run(270)
        assert lease.active
        made.run(10)
        assert not lease.active, operations
        late.complete()
        made.run(2500)
        between = [b - a for a, b in zip(made.sampled, made.sampled[1:])]
        assert min(between) >= 490 and max(between) <= 510, (operations, between)
        told = made.when(SAMPLE) + made.when(DELTA)
        assert len(told) >= len(made.sampled) - 1, operations
        assert made.agent.faults == 0
        assert figure(made.agent.sample, "dropped_frames") == 0


def test_work_that_begins_after_a_while_starves_nothing_either():
    made = Working(0, turn_ms=50)
    made.link.receive(SUBSCRIBE, 1, 3, _HOST, None)
    made.run(5000)
    made._operations = 8
    del made.sent[:]
    made.run(5000)
    assert 9 <= len(made.when(SAMPLE) + made.when(DELTA)) <= 11
    made.link.receive(SUBSCRIBE, 1, 3, _HOST, None)
    made.run(1000)
    assert len(made.when(SYNCED)) == 1


def test_who_waits_for_a_place_polls_the_agent_meanwhile():
    made = Working(0)
    made.policy.max_operations = 1
    made.policy.operations.begin(new_operation(made.policy.operations, "running"))
    lease = new_lease(made.policy.leases, 3, 10, ttl_ms=300)
    raises(Denied, new_operation(made.policy.operations, "waits", wait_ms=2000).__enter__)
    assert not lease.active
    assert figure(made.agent.sample, "uptime_s") >= 1


# --- floods ---------------------------------------------------------------------------------------


class BusyBoard(VirtualBoard):
    """A board on which it takes time to read, to write, and to sample; `us` is how late it is."""

    def __init__(self):
        super().__init__()
        self.us = 0
        self.ticks_us = self._ticks_us
        self.ticks_ms = self._ticks_ms

    def take_us(self, us):
        self.us += us

    def _ticks_us(self):
        return self.us & (1 << 30) - 1

    def _ticks_ms(self):
        return self.us // 1000 & (1 << 30) - 1

    def mem_free(self):  # a walk over the heap
        self.us += 4000
        return super().mem_free()


class FloodedLink(FakeLink):
    """A link whose host sends the same frames over and over, as fast as they are read."""

    flood = b""
    at = 0
    board = None

    def readable(self):
        return True

    def read(self, buf):
        self.board.take_us(1500)  # to read 64 bytes, and to take apart what is in them
        if not self.flood:
            return super().read(buf)
        for place in range(len(buf)):
            buf[place] = self.flood[(self.at + place) % len(self.flood)]
        self.at += len(buf)
        return len(buf)

    def write(self, buf, start, end):
        self.board.take_us(1500)  # to make and to write a frame
        return super().write(buf, start, end)


class Flooded:
    """An agent under a flood, in an application's loop that polls as often as it is told to."""

    def __init__(self, flood):
        self.board = BusyBoard()
        self.link = FloodedLink()
        self.link.board = self.board
        self.agent = make_agent(self.board, 1000, 10, self.link, _LIMITS)
        self.board.leases = self.agent.policy.leases
        self.link.receive(SUBSCRIBE, 1, 3, _HOST, None)
        _until_sent(self, _HOST, SYNCED)
        self.lease = new_lease(self.agent.policy.leases, 3, 10, ttl_ms=5000)
        self.began_us = self.board.us
        self.lease_ended_ms = None
        self.link.flood = flood
        self.spent_us = 0
        self.sampled = []

    def run(self, seconds, each_ms=None):
        """Poll, each_ms or after as long as poll() says, for so many seconds."""
        board = self.board
        end = board.us + seconds * 1_000_000
        while board.us < end:
            began = board.us
            wait_ms = self.agent.poll()
            self.spent_us += board.us - began
            if self.lease_ended_ms is None and not self.lease.active:
                self.lease_ended_ms = (board.us - self.began_us) // 1000
            sample = self.agent.sample
            uptime = figure(sample, "uptime_s") * 1000 + figure(sample, "uptime_ms")
            if not self.sampled or self.sampled[-1] != uptime:
                self.sampled.append(uptime)
            self.link.outbox = bytearray()
            wait_ms = each_ms or min(max(1, wait_ms), 250)  # as the agent's task sleeps
            board.us += wait_ms * 1000


def _until_sent(flooded, host_id, *kinds):
    """Poll until the host has messages of all these kinds, with its share of the core."""
    sent = []
    began_us = flooded.board.us
    keepalive_us = 0
    while flooded.board.us < began_us + 30_000_000:
        if flooded.board.us > keepalive_us:
            keepalive_us = flooded.board.us + 1_000_000
            flooded.link.receive(KEEPALIVE, host_id, None)
        flooded.board.us += max(1, min(flooded.agent.poll(), 100)) * 1000
        sent += [message[0] for message in flooded.link.sent()]
        if not [kind for kind in kinds if kind not in sent]:
            return
    raise AssertionError(sent)


def _requests(operation, arguments):
    """Return frames of requests with an id each, which wrap after 64."""
    ids = list(range(0, 65_536, 1024))
    return b"".join([framed([REQUEST, _HOST, each, operation, arguments]) for each in ids])


_FLOODS = (
    framed([SUBSCRIBE, 1, 3, _HOST, 0]),
    framed([SUBSCRIBE, 1, 3, _HOST, 0]) + framed([SUBSCRIBE, 1, 3, 78, 0]),
    framed([SUBSCRIBE, 2, 3, _HOST, 0]),
    framed([KEEPALIVE, _HOST, 0]),
    framed([UNSUBSCRIBE, _HOST]) + framed([SUBSCRIBE, 1, 3, _HOST, 0]),
    _requests(PING, []),
    _requests(HISTORY, [0, 0, 1]),
    _requests(ALLOCATE, [3, 1, "x", 1, 60_000, None]),
    _requests(BEGIN, ["x", 1, 1000, None, 0]),
    framed([90, 1]),
    b"\xc0\x94" + b"z" * 12 + b"\xc0",
    b"a text that the board did not ask for, ",
    b"\xc0",
)
_OF_A_LISTENER = _FLOODS[3:4] + _FLOODS[5:]  # after which the host is the one that it was
_PACES = (None, 1, 20)
if not _QUICK:
    _FLOODS = (_FLOODS[0], _FLOODS[3], _FLOODS[5])
    _OF_A_LISTENER = _OF_A_LISTENER[1:2]
    _PACES = (None,)


def test_no_flood_moves_samples_or_ends_or_has_the_agent_take_twice_its_budget():
    for flood in _FLOODS:
        for each_ms in _PACES:
            made = Flooded(flood)
            made.run(3, each_ms)  # after which what a host had saved up is spent
            made.spent_us = 0
            del made.sampled[:]
            made.run(3, each_ms)
            assert 5000 <= made.lease_ended_ms <= 5100, (flood[:20], each_ms, made.lease_ended_ms)
            made.run(7, each_ms)
            between = [b - a for a, b in zip(made.sampled, made.sampled[1:])]
            assert len(between) >= 8, (flood[:20], each_ms, made.sampled)
            assert max(between) <= 1100 and min(between) >= 900, (flood[:20], each_ms, between)
            assert made.spent_us <= 2 * 10 * 10_000, (flood[:20], each_ms, made.spent_us)
            assert made.agent.faults == 0


def test_in_the_midst_of_a_flood_a_host_gets_samples_and_synced():
    alive = framed([KEEPALIVE, _HOST, None])
    for flood in _OF_A_LISTENER:
        made = Flooded(b"")
        made.link.receive(SUBSCRIBE, 1, 3, _HOST, 0)
        while not made.agent.session.synced_dirty:
            made.agent.poll()
            made.board.us += 10_000
        made.link.sent()
        made.link.flood = flood[:600] + b"\xc0" + alive
        sent = []
        end = made.board.us + 15_000_000
        while made.board.us < end:
            made.board.us += min(max(1, made.agent.poll()), 250) * 1000
            sent += [message[0] for message in made.link.sent()]
        assert SYNCED in sent, flood[:20]
        assert sent.count(SAMPLE) + sent.count(DELTA) >= 13, flood[:20]
        assert made.agent.session.host_id == _HOST, flood[:20]


def test_after_a_flood_a_host_is_served_again():
    for flood in _FLOODS:
        made = Flooded(flood)
        made.run(3)
        made.link.flood = b""
        made.link.inbox = bytearray(b"\xc0")  # where the flood was cut off
        made.link.receive(SUBSCRIBE, 1, 3, 99, None)
        made.link.receive(REQUEST, 99, 0, PING, [])
        _until_sent(made, 99, SYNCED, REPLY)


def test_a_host_that_spoke_is_not_lost_at_whatever_moment_the_board_stood_still():
    for turns in range(100, 160, 1 if _QUICK else 7):
        working = Working(1)
        agent = working.agent
        read = working.link.read

        def slow_read(buf, working=working, read=read):
            working.board.ticks.pass_ms(4)  # what a host requests takes its share of the core
            return read(buf)

        working.link.read = slow_read
        working.link.receive(SUBSCRIBE, 1, 6, _HOST, 0)
        for _ in range(turns):
            working.turn()
            working.link.receive(KEEPALIVE, _HOST, 0)
        working.board.ticks.pass_ms(4000)
        for _ in range(9):
            working.turn()
        assert agent.session.host_id == _HOST, turns
        working.link.inbox = bytearray()
        for _ in range(301):
            working.board.ticks.pass_ms(10)
            agent.poll()
        assert not agent.session.host_id


def test_a_host_of_which_only_noise_comes_is_lost():
    working = Working(1)
    agent = working.agent
    read = working.link.read

    def slow_read(buf):
        working.board.ticks.pass_ms(4)
        return read(buf)

    working.link.receive(SUBSCRIBE, 1, 6, _HOST, 0)
    working.turn()
    assert agent.session.host_id == _HOST
    working.link.read = slow_read
    working.link.receive = lambda *message: None  # nothing more is sent than
    for _ in range(400):
        working.link.inbox = bytearray(b"x" * 100)
        working.turn()
    assert not agent.session.host_id
