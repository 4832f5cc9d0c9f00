"""Several hosts at once: what is sent to all, what to one, and that none costs another anything."""

import gc
import random
import sys

from figures import FIELDS, UNKNOWN, figure
from frames import framed
from harness import no_heap
from rig import SinkLink, board, poll_now, skip_seconds
from server_rig import FakeServer
from virtual_board import VirtualBoard
from warden.hosts import Hosts
from warden.setup import make_agent

HELLO, REFUSED, SAMPLE, SYNCED, ALIVE, REPLY, LEASE, EVENT, ROWS = 1, 2, 3, 5, 6, 7, 8, 11, 12
DELTA, ASLEEP = 16, 20
_ROW_KINDS = (4, LEASE, 9, 10, 13, 15)
_ORDER = b"\x00\x01\x14\x15\x02\x07\x0d\x03\x06\x05\x09\x0e\x0f\x0a\x0b\x0c\x04\x08"
_ORDER += b"\x10\x11\x12\x13\x16\x17\x18"


class QuietLine(SinkLink):
    """A connection that takes everything, and allocates nothing doing so."""

    right = 2
    connection = True
    address = "10.0.0.9"

    def keep_place(self):
        pass


class Mirror:
    """A host: what it knows from what was sent to it, checked as docs/wire.md says."""

    def __init__(self, rig, host_id):
        self.rig = rig
        self.id = host_id
        self.line = rig.server.dial()
        self.seq = None
        self.values = self.rows = None
        self.samples = {}  # by the number of the frame
        self.events = []
        self.replies = {}
        self.kinds = []
        self.synced = 0
        self.next = 0

    def subscribe(self):
        events_from = self.events[-1] + 1 if self.events else None
        self.line.receive(64, 1, 6, self.id, events_from)

    def keep_alive(self):
        self.line.receive(66, self.id, self.seq or 0)

    def request(self, operation, *arguments):
        self.line.receive(67, self.id, self.next, operation, list(arguments))
        self.next += 1

    def read(self):
        """Take what was sent; return the kinds."""
        sent = self.line.sent()
        for message in sent:
            self.take(message)
        return [message[0] for message in sent]

    def take(self, message):
        kind = message[0]
        if kind == REFUSED:
            return
        if kind == HELLO and self.seq is None:
            assert message[4] == self.id, message
        else:
            assert message[1] == self.seq + 1 & 0xFFFF, (self.id, self.seq, message)
        self.seq = message[1]
        if kind == SAMPLE:
            self.values = self.samples[self.seq] = message[2]
        elif kind == DELTA:
            self.apply(message)
        elif kind == SYNCED:
            assert message[2] == self.id
            self.synced += 1
        elif kind == REPLY:
            self.replies[message[2]] = message[3:]
        elif kind == EVENT:
            self.events.append(message[2])
        elif kind in _ROW_KINDS:
            self.rows = self.rows or {}
            self.rows[kind, message[2]] = message[3:]

    def apply(self, message):
        base = self.samples[self.seq - (message[2] - 48) & 0xFFFF]
        values = dict([(FIELDS[_ORDER[place]], base[place]) for place in range(len(base))])
        changes = message[5:]
        for bit in range(18):
            if message[3] >> bit & 1:
                values[FIELDS[2 + bit]] += changes.pop(0) - 48
        ms = values["uptime_s"] * 1000 + values["uptime_ms"]
        ms += values["interval_ms"] + message[4] - 48
        values["uptime_s"], values["uptime_ms"] = divmod(ms, 1000)
        self.values = [values[FIELDS[place]] for place in _ORDER]
        self.samples = {self.seq: self.values}


class Rig:
    """An agent with a server for several hosts, in a time set by hand."""

    def __init__(self, interval_ms=1000):
        self.server = FakeServer(Hosts)
        self.board = VirtualBoard()
        limits = (4, 300_000, 100, 5000)
        self.agent = make_agent(self.board, interval_ms, 1000, self.server, limits)
        self.policy = self.agent.policy
        self.policy.thresholds.set("memory")
        self.board.leases = self.policy.leases

    def host(self, host_id):
        """Return a host that has subscribed, and has all there is."""
        mirror = Mirror(self, host_id)
        mirror.subscribe()
        self.poll()
        mirror.kinds = mirror.read()
        return mirror

    def poll(self, ms=0):
        self.board.ticks.pass_ms(ms)
        for _ in range(60):
            poll_now(self.agent)
            if not self.server.readable() and not self.agent.clock.rows_dirty:
                break
        assert self.agent.faults == 0

    def second(self, *mirrors):
        """Let a second pass, in which these hosts say that they live."""
        for mirror in mirrors:
            mirror.keep_alive()
        self.poll(1000)
        for mirror in mirrors:
            mirror.read()

    def values(self):
        last = self.agent.sample.last
        return [None if last[place] == UNKNOWN else last[place] for place in _ORDER]

    def allocate(self, owner="app"):
        return self.policy.leases.allocate(0, 16, owner, 1, None, None)


def test_three_hosts_have_the_whole_state_and_each_new_sample():
    rig = Rig()
    hosts = [rig.host(100 + number) for number in range(3)]
    for mirror in hosts:
        assert mirror.kinds[:2] == [HELLO, SAMPLE], mirror.kinds
        assert mirror.synced == 1 and ROWS in mirror.kinds
    for _ in range(45):
        rig.second(*hosts)
        for mirror in hosts:
            assert mirror.values == rig.values()
    assert len(rig.agent.session.hosts) == 3


def test_a_sample_and_a_row_are_encoded_once_for_all():
    rig = Rig()
    hosts = [rig.host(100 + number) for number in range(3)]
    rig.second(*hosts)
    calls = []
    leases = rig.policy.leases
    encode_sample, encode = rig.agent.sample.encode, leases.encode

    def counted_sample(row, uplink):
        calls.append("sample")
        return encode_sample(row, uplink)

    def counted(row, uplink):
        calls.append("lease")
        return encode(row, uplink)

    rig.agent.sample.encode, leases.encode = counted_sample, counted
    rig.allocate()
    rig.second(*hosts)
    assert sorted(calls) == ["lease", "sample"], calls
    for mirror in hosts:
        assert mirror.rows[LEASE, 0][3] == "app"


def test_a_snapshot_is_only_for_the_host_that_asked():
    rig = Rig()
    first, second = rig.host(100), rig.host(101)
    rig.second(first, second)
    second.subscribe()
    rig.poll()
    assert first.read() == []
    assert second.read()[:2] == [HELLO, SAMPLE]
    rig.second(first, second)
    assert first.values == second.values == rig.values()
    second.subscribe()  # it may lack what the next DELTA counts from
    rig.poll(1000)
    assert second.read()[:2] == [HELLO, SAMPLE]
    assert first.read()[0] == DELTA


def test_a_delta_that_counts_from_far_back_is_a_sample():
    rig = Rig()
    mirror = rig.host(100)
    rig.second(mirror)
    for _ in range(40):
        rig.allocate().release()
        rig.poll()
    mirror.keep_alive()
    rig.poll(1000)
    assert SAMPLE in mirror.read()
    assert mirror.values == rig.values()


def test_what_a_host_may_do_is_its_connections():
    rig = Rig()
    looks, acts = rig.host(100), rig.host(101)
    looks.line.right = 1
    for mirror in (acts, looks, acts, looks):
        mirror.request(4, 0, 32, "x")
    rig.poll()
    for mirror in (looks, acts):
        mirror.read()
    assert [looks.replies[place][:1] for place in range(2)] == [[4], [4]]
    assert looks.replies[0][1][0] == "needs_control"
    assert [acts.replies[place][0] for place in range(2)] == [0, 0]


def test_requests_are_carried_out_once_for_each_whatever_their_ids():
    rig = Rig()
    hosts = [rig.host(100 + number) for number in range(3)]
    for _ in range(3):  # the replies to the first two are lost, as far as the hosts know
        for mirror in hosts:
            mirror.next = 0
            mirror.request(4, 0, 32, "of " + str(mirror.id))
            mirror.request(0)
        rig.poll()
    owners = sorted([lease.owner for lease in rig.policy.leases.all()])
    assert owners == ["of 100", "of 101", "of 102"], owners
    for mirror in hosts:
        mirror.read()
        lease = [lease for lease in rig.policy.leases.all() if lease.owner.endswith(str(mirror.id))]
        assert mirror.replies == {0: [0, lease[0].id], 1: [0, None]}, mirror.replies


def test_a_host_that_comes_back_by_another_connection_gets_its_first_replies():
    rig = Rig()
    others = [rig.host(200), rig.host(201)]
    for mirror in others:
        mirror.request(4, 0, 32, "other")
    rig.poll()
    lost = rig.host(100)
    lost.request(4, 0, 32, "lost")
    lost.line.room = 0
    lost.request(0)
    rig.poll()

    def leave(mirror):
        mirror.line.drop()
        rig.poll()

    leave(lost)
    for host_id in (300, 100, 301, 302):  # it comes back after one that has its place meanwhile
        mirror = rig.host(host_id)
        mirror.request(*(4, 0, 32, "lost") if host_id == 100 else (0,))
        rig.poll()
        kinds = mirror.read()
        assert kinds.count(REPLY) == 1, kinds  # and of the other one nothing, unasked
        leave(mirror)
    for mirror in others:
        leave(mirror)
        rig.host(mirror.id).request(4, 0, 32, "other")
        rig.poll()
    owners = [lease.owner for lease in rig.policy.leases.all()]
    assert sorted(owners) == ["lost", "other", "other"], owners
    assert len(rig.agent.session.hosts) == 2
    assert len(rig.agent.session.requests.hosts) == 4


def test_sessions_are_each_hosts_own():
    rig = Rig()
    first, second = rig.host(100), rig.host(101)
    for mirror in (first, second):
        mirror.request(4, 0, 32, "x", None, 300_000)
    rig.poll()
    first.line.receive(65, 100)
    rig.poll()
    first.line.sent()
    assert [session.name for session in rig.policy.sessions.all()] == ["host 101"]
    for _ in range(12):
        rig.allocate().release()
        rig.second(second)
    assert first.line.sent() == [], "it does not listen any more"
    assert len(rig.policy.leases.all()) == 1
    for mirror in (first, second):
        mirror.line.drop()
    for _ in range(12):
        rig.poll(1000)
    assert rig.policy.leases.all() == []
    assert rig.agent.session.hosts == []


def test_a_host_that_takes_nothing_costs_the_others_nothing_and_is_told_later():
    rig = Rig()
    stalled, well = rig.host(100), rig.host(101)
    rig.second(stalled, well)
    stalled.line.room = 5  # of the next frame
    dropped = figure(rig.agent.sample, "dropped_frames")
    leases = []
    for number in range(30):
        if number < 10:
            leases.append(rig.allocate(str(number)))
        elif number < 15:
            leases.pop(0).release()
        stalled.keep_alive()
        rig.second(well)
        assert well.values == rig.values()
    assert figure(rig.agent.sample, "dropped_frames") == dropped
    assert not rig.agent.clock.rows_dirty, "it is tried each 2 ms"
    stalled.line.room = None
    rig.agent.session.uplink.begin(ASLEEP, 0)
    rig.agent.session.uplink.send(0)  # to all, as `warden.sleeping()` does
    assert ASLEEP in well.read()
    rig.second(stalled, well)
    rig.second(stalled, well)
    assert stalled.values == rig.values()
    assert len(leases) == 5
    for lease in leases:
        assert stalled.rows[LEASE, lease.row] == well.rows[LEASE, lease.row]
    assert stalled.events == well.events


def test_what_is_left_of_a_frame_goes_soon():
    rig = Rig(interval_ms=600_000)
    mirror = rig.host(100)
    mirror.line.room = 5
    mirror.request(0)
    rig.poll()
    assert rig.agent.rest_ms <= 100
    mirror.line.room = None
    rig.poll(100)
    mirror.read()
    assert mirror.replies == {0: [0, None]}


def test_a_frame_for_whose_rest_there_is_no_memory_is_lost_and_its_request_comes_again():
    rig = Rig()
    mirror = rig.host(100)
    host = rig.agent.session.hosts[0]
    assert host.rest is None

    def failing(_):
        raise MemoryError

    module = sys.modules.get("warden.host_connection") or sys.modules["warden.hosts"]
    module.bytearray = failing
    try:
        mirror.line.room = 5
        mirror.request(0)
        rig.poll()
        assert mirror.line.room == 0 and host.rest is None
    finally:
        del module.bytearray
    mirror.line.room = None
    mirror.next = 0
    mirror.request(0)
    mirror.subscribe()
    rig.poll(100)
    mirror.seq = None  # a gap
    mirror.read()
    assert mirror.replies == {0: [0, None]} and mirror.synced == 2
    mirror.line.room = 5
    rig.second(mirror)
    assert len(host.rest) == 192


def test_messages_have_memory_while_somebody_is_connected():
    rig = Rig()
    session = rig.agent.session
    for _ in range(2):
        message = session.uplink
        rooms = (message.payload, message.buf, session.buf, session.reader, session.deframer)
        assert rooms == (None,) * 5 and rig.agent.sample.last is None
        mirror = rig.host(100)
        rig.second(mirror)
        assert mirror.values == rig.values()
        mirror.line.drop()
        session.purge()
        assert not session.host_id  # else `warden.sleeping()` would send something
        rig.poll(1000)


def test_a_connection_for_whose_messages_there_is_no_memory_is_closed():
    rig = Rig()
    take_room = rig.agent.session.uplink.take_room

    def failing():
        take_room()
        raise MemoryError

    rig.agent.session.uplink.take_room = failing
    line = rig.server.dial()
    rig.poll()
    assert line.connection is None and rig.agent.session.uplink.payload is None
    del rig.agent.session.uplink.take_room
    assert SYNCED in rig.host(100).kinds


def test_a_snapshot_that_is_cut_anywhere_is_finished():
    rig = Rig(interval_ms=600_000)
    mirror = Mirror(rig, 100)
    mirror.subscribe()
    rig.poll()
    whole = len(mirror.line.outbox)
    for room in list(range(whole - 24, whole + 1)) + [0, 1, 70, 200]:
        mirror = Mirror(rig, mirror.id + 1)
        rig.server.lines[0].drop()
        mirror.line.room = room
        mirror.subscribe()
        rig.poll()
        mirror.line.room = None
        for _ in range(3):
            rig.poll(100)
        mirror.read()
        assert mirror.synced == 1, (room, whole)


def test_a_synced_that_was_not_taken_comes_later():
    rig = Rig(interval_ms=600_000)
    mirror = Mirror(rig, 100)
    write = mirror.line.write

    def refusing(buf, start, end):
        is_synced = bytes(buf[start : start + 4]) == b"\xc0\x93\x7d\x25"
        return 0 if is_synced else write(buf, start, end)

    mirror.line.write = refusing
    mirror.subscribe()
    for _ in range(3):
        rig.poll(100)
    mirror.line.write = write
    rig.poll(100)
    assert mirror.read()[-1] == SYNCED


def test_a_keepalive_is_answered_when_nothing_else_was_sent():
    rig = Rig(interval_ms=600_000)
    mirror = rig.host(100)
    rig.second(mirror)
    kept = mirror.line.kept
    for _ in range(3):
        mirror.line.receive(66, mirror.id, 7)
        rig.poll()
    assert ALIVE in mirror.read()
    assert mirror.line.kept == kept + 3


def test_a_host_that_leaves_is_sent_nothing_more():
    rig = Rig()
    first, second = rig.host(100), rig.host(101)
    first.read()
    first.line.room = 0
    rig.allocate().release()
    rig.second(second)
    first.line.receive(65, 100)
    rig.poll()
    first.line.room = None
    rig.allocate().release()
    rig.second(second)
    assert first.line.sent() == []


def test_a_connection_for_which_there_is_no_memory_disturbs_nobody():
    rig = Rig()
    mirror = rig.host(100)

    def failing(*_):
        raise MemoryError

    module = sys.modules["warden.hosts"]
    real, module.Host = module.Host, failing
    try:
        rig.server.dial()
        mirror.request(0)
        rig.poll()
    finally:
        module.Host = real
    mirror.read()
    assert mirror.replies == {0: [0, None]}
    assert len(rig.server.lines) == 1


def test_no_host_is_lost_that_could_not_be_heard_while_the_board_stood_still():
    for stall_s in (4, 12):  # a host's session ends after ten
        rig = Rig()
        hosts = [rig.host(100 + number) for number in range(3)]
        for mirror in hosts:
            mirror.request(4, 0, 16, "ota")
            rig.poll()
        rig.second(*hosts)
        for mirror in hosts:
            for _ in range(stall_s):
                mirror.keep_alive()
        rig.poll(stall_s * 1000)
        assert [mirror.line in rig.server.lines for mirror in hosts] == [True] * 3, stall_s
        assert len(rig.policy.sessions.all()) == len(rig.policy.leases.all()) == 3, stall_s
        for _ in range(4):  # the first says nothing any more
            rig.second(*hosts[1:])
        assert [mirror.line in rig.server.lines for mirror in hosts] == [False, True, True]


def test_a_host_of_which_only_noise_comes_loses_its_place():
    rig = Rig()
    hosts = [rig.host(100 + number) for number in range(2)]
    rig.second(*hosts)
    silent = 0
    while hosts[0].line in rig.server.lines:
        silent += 1
        assert silent < 10
        for _ in range(10):  # more than is read
            hosts[0].line.inbox.extend(b"x" * 100)
            rig.board.ticks.pass_ms(100)
            poll_now(rig.agent)
        rig.second(hosts[1])
    assert hosts[1].line in rig.server.lines


def test_a_host_that_spoke_behind_more_than_is_read_at_once_is_not_lost():
    rig = Rig()
    mirror = rig.host(100)
    for _ in range(2):
        rig.second(mirror)
        mirror.line.inbox.extend(b"x" * 300)
        mirror.keep_alive()
        rig.board.ticks.pass_ms(4000)
        for _ in range(20):
            assert poll_now(rig.agent) >= 0
        assert mirror.line in rig.server.lines


def test_a_fourth_host_is_refused_with_those_who_have_the_places():
    rig = Rig()
    hosts = [rig.host(100 + number) for number in range(3)]
    fourth = Mirror(rig, 103)
    fourth.subscribe()
    rig.poll()
    assert fourth.line.sent() == []  # one of them may have gone
    fourth.subscribe()
    rig.poll()
    places = [[100, "10.0.0.1"], [101, "10.0.0.2"], [102, "10.0.0.3"]]
    assert fourth.line.sent() == [[REFUSED, 0, 1, 8, 103, places]]
    rig.second(*hosts)
    rig.second(*hosts)
    assert fourth.line not in rig.server.lines
    assert [host.host_id for host in rig.agent.session.hosts] == [100, 101, 102]
    hosts[1].line.receive(65, 101)
    rig.poll()
    hosts[1].line.fresh = False
    assert rig.host(104).synced == 1


def test_a_fourth_host_waits_while_one_of_the_three_may_have_gone():
    rig = Rig()
    hosts = [rig.host(100 + number) for number in range(3)]
    rig.second(*hosts)
    rig.second(*hosts[1:])
    rig.second(*hosts[1:])
    fourth = Mirror(rig, 103)
    for _ in range(2):
        fourth.subscribe()
        rig.poll()
        assert fourth.line.sent() == []
    rig.second(*hosts[1:])
    rig.poll(2)  # the silence of the first is over
    fourth.subscribe()
    rig.poll()
    assert fourth.read()[:2] == [HELLO, SAMPLE]


def test_a_host_that_redials_takes_its_own_place():
    """Its old connection is still there, as after a cable that was pulled."""
    rig = Rig()
    hosts = [rig.host(100 + number) for number in range(3)]
    again = Mirror(rig, 102)
    again.line.address = hosts[2].line.address
    stranger = Mirror(rig, 101)  # knows the id of another
    again.subscribe()
    rig.poll()
    for _ in range(2):
        stranger.subscribe()
        rig.poll()
    assert again.read()[:2] == [HELLO, SAMPLE]
    assert hosts[2].line not in rig.server.lines
    stranger.line.receive(65, 101)
    rig.poll()
    assert stranger.line.sent() == []
    assert hosts[1].line in rig.server.lines


def test_a_connection_that_never_subscribes_gives_way_after_a_second():
    rig = Rig()
    hosts = [rig.host(100), rig.host(101)]
    silent = rig.server.dial()
    third = Mirror(rig, 102)
    third.subscribe()
    poll_now(rig.agent)
    poll_now(rig.agent)
    assert third.line not in rig.server.lines
    silent.fresh = False  # the second is over
    rig.poll()
    assert silent not in rig.server.lines
    assert third.read()[:2] == [HELLO, SAMPLE]
    for mirror in hosts:
        assert mirror.line in rig.server.lines


def test_one_that_floods_does_not_starve_the_others():
    for first in (100, 101):  # whoever of them came first
        _flood(Rig(), first, 201 - first)


def _flood(rig, first, second):
    rig.agent.governor.set(1000, 10)
    hosts = {first: rig.host(first)}
    hosts[second] = rig.host(second)
    flood, well = hosts[100], hosts[101]
    frames = framed([64, 1, 6, 100, 0]) + framed([67, 100, 0, 0, []]) + framed([66, 100, 0])
    for number in range(5):
        for _ in range(6):  # each reads 64 bytes of one
            flood.line.inbox = bytearray(frames * 4)
            flood.line.outbox = bytearray()
            poll_now(rig.agent)
        well.request(0)
        rig.agent.rows_first = False
        rig.agent.governor.host_us = 1_000_000
        poll_now(rig.agent)  # it comes first
        assert rig.agent.faults == 0
        well.read()
        assert well.replies[number] == [0, None]


def test_garbage_of_one_is_counted_and_disturbs_no_other():
    rig = Rig()
    liar, well = rig.host(100), rig.host(101)
    rig.second(liar, well)
    random.seed(5)
    for _ in range(20):
        liar.keep_alive()
        liar.line.inbox.extend(bytes([random.getrandbits(8) for _ in range(60)]))
        liar.line.inbox.extend(framed([67, 100, 0, 0, []])[:-3] + b"\xc0")
        rig.second(well)
        assert well.values == rig.values()
    assert figure(rig.agent.sample, "bad_frames") >= 20
    well.request(0)
    rig.poll()
    well.read()
    assert well.replies == {0: [0, None]}


def test_frames_that_come_in_part_are_each_hosts_own():
    rig = Rig()
    hosts = [rig.host(100 + number) for number in range(3)]
    frames = [framed([67, 100 + number, 0, 4, [0, 32, "x" * 60]]) for number in range(3)]
    for at in range(0, len(frames[0]), 7):
        for number in range(3):
            hosts[number].line.inbox.extend(frames[number][at : at + 7])
            rig.poll()
    for mirror in hosts:
        mirror.read()
        assert mirror.replies[0][0] == 0, mirror.replies
    server = rig.agent.session
    assert server.deframer and not any([host.deframer for host in server.hosts])
    assert figure(rig.agent.sample, "bad_frames") == rig.agent.faults == 0


def test_a_frame_for_whose_part_there_is_no_memory_is_lost_and_no_others():
    rig = Rig()
    first, second = rig.host(100), rig.host(101)
    ping = framed([67, 100, 0, 0, []])

    def failing(_):
        raise MemoryError

    module = sys.modules.get("warden.host_connection") or sys.modules["warden.hosts"]
    made, module.Deframer = module.Deframer, failing
    try:
        first.line.inbox.extend(ping[:-3])
        rig.poll()
        second.request(0)
        rig.poll()
        first.line.inbox.extend(ping[-3:])
        rig.poll()
    finally:
        module.Deframer = made
    second.read()
    assert second.replies == {0: [0, None]}
    first.read()
    assert not first.replies and figure(rig.agent.sample, "bad_frames") == 1
    first.line.inbox.extend(ping)
    rig.poll()
    first.read()
    assert first.replies == {0: [0, None]}
    assert rig.agent.faults == 0


def test_a_tick_with_three_hosts_allocates_nothing():
    server = FakeServer(Hosts)
    agent = make_agent(board(), 20, 1000, server)
    lines = []
    for number in range(3):
        lines.append(server.dial(QuietLine()))
        lines[-1].receive(64, 1, 6, 100 + number)
        for _ in range(40):
            poll_now(agent)
    for _ in range(4):
        skip_seconds(agent, 1)
        for number in range(3):
            lines[number].receive(66, 100 + number, 2)
        agent.storage.deadline_s = agent.clock.s + 1000
        written = [line.written for line in lines]
        with no_heap():
            for _ in range(8):
                poll_now(agent)
        for number in range(3):
            assert lines[number].written > written[number]
    assert agent.faults == 0


def test_all_mirrors_equal_the_board_whatever_their_connections_take():
    """Three hosts come and go, take frames in part or not at all; at the end all are equal."""
    random.seed(7)
    for campaign in range(3):
        rig = hosts = mirror = leases = None  # a small board has no room for two
        gc.collect()
        rig = Rig(interval_ms=100)
        hosts = [rig.host(100 + number) for number in range(3)]
        leases = []
        for _ in range(120):
            what = random.getrandbits(4)
            mirror = hosts[random.getrandbits(8) % 3]
            if what < 4:
                mirror.line.room = random.getrandbits(7) * random.getrandbits(1)
            elif what < 8:
                mirror.line.room = None
            elif what == 8:
                mirror.subscribe()
            elif what == 9 and mirror.line.room is None:
                mirror.line.drop()
                rig.poll()
                place = hosts.index(mirror)
                hosts[place] = rig.host(mirror.id + 10)
            elif what < 13 and len(leases) < 12:
                leases.append(rig.allocate(str(what)))
            elif leases:
                leases.pop(random.getrandbits(8) % len(leases)).release()
            for mirror in hosts:
                mirror.keep_alive()
            rig.poll(100)
            for mirror in hosts:
                if mirror.line.room is None:
                    mirror.read()
        for mirror in hosts:
            mirror.line.room = None
        end = rig.policy.events.seq
        for _ in range(8):
            for mirror in hosts:
                mirror.keep_alive()
            rig.allocate().release()
            rig.poll(200)
            for mirror in hosts:
                mirror.read()
        for mirror in hosts:
            assert mirror.values == rig.values(), campaign
            assert mirror.synced
            for lease in rig.policy.leases.all():
                assert mirror.rows[LEASE, lease.row][:1] == [lease.id], (campaign, mirror.id)
            # A repeat comes after a SUBSCRIBE; of more than 16 at once the oldest are lost.
            assert mirror.events[-1] == rig.policy.events.seq - 1
            assert set(range(end, rig.policy.events.seq)) <= set(mirror.events)
