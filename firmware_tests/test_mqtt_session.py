# targets: unix frozen qemu
"""One stream for all hosts: who only reads has all there is, and each request is done once."""

import gc

import warden.requests
from figures import figure
from frames import framed
from harness import no_heap
from mqtt_rig import FakeLink, Rig
from rig import board, poll_all, poll_for_sample, poll_now, skip_seconds
from warden.setup import make_agent

HELLO, REFUSED, SAMPLE, STORAGE, SYNCED, ALIVE, REPLY, LEASE, EVENT = 1, 2, 3, 4, 5, 6, 7, 8, 11
DELTA = 16
FAILED = 3  # a reply's code


def _kinds(messages):
    return [message[0] for message in messages]


def _wholes(messages):
    """Return the host of each whole; each has all that a host needs, and no other HELLO."""
    hosts = []
    inside = None
    for message in messages:
        if message[0] == HELLO:
            assert inside is None, "a HELLO inside of a whole"
            hosts.append(message[4])
            inside = []
        elif message[0] == SYNCED:
            assert message[2] == hosts[-1], message
            assert inside[0] == SAMPLE and STORAGE in inside and EVENT in inside, inside
            inside = None
        elif inside is not None:
            inside.append(message[0])
    assert inside is None, "a HELLO without its SYNCED"
    return hosts


def test_who_only_reads_has_the_whole_state_every_half_minute():
    rig = Rig()
    rig.policy.events.post("link", None, "first")
    lease = rig.policy.leases.allocate(0, 16, "app", 1, None, None)
    rig.link.rejoin()
    messages = rig.poll()
    assert _wholes(messages) == [0]
    assert [message[6] for message in messages if message[0] == LEASE] == ["app"]
    for _ in range(3):
        messages = rig.seconds(30)
        assert _wholes(messages) == [0]
        assert [message[6] for message in messages if message[0] == LEASE] == ["app"]
        numbers = [message[2] for message in messages if message[0] == EVENT]
        assert numbers == list(range(rig.policy.events.seq))
        assert DELTA in _kinds(messages)
    lease.release()


def test_a_host_that_subscribes_waits_for_a_whole_of_its_own():
    rig = Rig()
    rig.seconds(3)
    rig.subscribe(100)
    messages = rig.poll()
    assert _wholes(messages) == [100]
    rig.subscribe(101)  # within the second
    rig.subscribe(102)
    rig.subscribe(101)
    assert _wholes(rig.poll()) == []
    assert _wholes(rig.seconds(1)) == [101]
    assert _wholes(rig.seconds(1)) == [102]
    assert _wholes(rig.seconds(29)) == []
    assert _wholes(rig.seconds(1)) == [0]


def test_a_host_that_wants_few_events_keeps_none_from_others():
    rig = Rig()
    for number in range(5):
        rig.policy.events.post("policy", None, str(number))
    rig.seconds(3)
    everything = list(range(rig.policy.events.seq))
    rig.subscribe(100, rig.policy.events.seq - 1)
    rig.subscribe(101)
    messages = rig.seconds(2)
    assert _wholes(messages) == [100, 101]
    assert [message[2] for message in messages if message[0] == EVENT] == everything * 2
    messages = rig.seconds(30)
    assert _wholes(messages) == [0]
    assert [message[2] for message in messages if message[0] == EVENT] == everything


def test_a_whole_that_is_under_way_is_finished_before_the_next():
    rig = Rig()
    leases = [rig.policy.leases.allocate(0, 16, "app", 1, None, None) for _ in range(8)]
    rig.seconds(3)
    rig.subscribe(100)
    poll_now(rig.agent)
    rig.subscribe(101)
    rig.board.ticks.pass_ms(1500)
    assert _wholes(rig.drain()) == [100, 101]
    for lease in leases:
        lease.release()


def test_subscriptions_of_a_flood_begin_one_whole_a_second():
    rig = Rig()
    rig.seconds(3)
    hosts = []
    for number in range(40):
        rig.subscribe(1000 + number)
        hosts += _wholes(rig.poll(100))
    assert 3 <= len(hosts) <= 5, hosts
    assert len(rig.agent.session.waiting) <= 4


def test_a_capability_that_changes_begins_a_whole_not_a_lone_hello():
    rig = Rig()
    rig.seconds(3)
    network = rig.agent.network
    network.available = not network.available  # another reason
    network.read = lambda figures: True
    messages = rig.seconds(1)
    assert _wholes(messages) == [0], messages
    assert _wholes(rig.seconds(2)) == []


def test_each_of_four_hosts_has_its_requests_done_once_and_its_own_replies():
    rig = Rig()
    for _ in range(3):  # the replies to the first two are lost
        replies = []
        for host in range(100, 104):
            rig.request(host, 7, 4, 0, 32, "of " + str(host))
            rig.request(host, 8, 0)
            replies += [message[2:] for message in rig.poll() if message[0] == REPLY]
        rig.subscribe(200)
        assert 200 in _wholes(rig.seconds(1)), "which keeps the replies"
        assert [reply[3] for reply in replies] == [100, 100, 101, 101, 102, 102, 103, 103]
    owners = sorted([lease.owner for lease in rig.policy.leases.all()])
    assert owners == ["of 100", "of 101", "of 102", "of 103"], owners
    ids = dict([(lease.owner, lease.id) for lease in rig.policy.leases.all()])
    assert replies[0] == [7, 0, ids["of 100"], 100], replies
    # A ninth costs none of them its replies, which repeats may still ask for.
    for host in range(104, 108):
        rig.request(host, 7, 7, 999, "changes nothing, as far as the session knows")
        rig.poll()
    rig.request(108, 7, 4, 0, 32, "of 108")
    assert REPLY not in _kinds(rig.poll())
    for host in range(100, 104):
        rig.request(host, 7, 4, 0, 32, "of " + str(host))
        rig.link.receive(67, host, 70000, 0, [])  # malformed
        rig.poll()
    assert len(rig.policy.leases.all()) == 4
    rig.seconds(7)
    rig.request(108, 7, 4, 0, 32, "of 108")
    assert REPLY in _kinds(rig.poll())
    for host in range(110, 125):  # these only look: their requests may be done again
        rig.request(host, 1, 0)
        assert REPLY in _kinds(rig.poll())
        rig.request(108, 7, 4, 0, 32, "of 108")
        rig.poll()
    assert len(rig.policy.leases.all()) == 5
    assert len(rig.agent.session.requests.hosts) == 8


def test_a_request_whose_code_finds_no_memory_is_answered_to_its_host():
    rig = Rig()
    made, warden.requests.Requests = warden.requests.Requests, None
    try:
        rig.request(100, 1, 0)
        replies = [message[2:] for message in rig.poll() if message[0] == REPLY]
    finally:
        warden.requests.Requests = made
    assert replies == [[1, FAILED, None, 100]], replies
    rig.request(100, 1, 0)
    assert [message[2:] for message in rig.poll() if message[0] == REPLY] == [[1, 0, None, 100]]


def test_who_may_only_look_is_refused_what_changes_anything():
    rig = Rig()
    rig.link.right = 1
    rig.request(100, 1, 4, 0, 32, "x")
    rig.request(100, 2, 0)
    replies = [message[2:] for message in rig.poll() if message[0] == REPLY]
    assert replies[0][1] == 4 and replies[0][2][0] == "needs_control", replies
    assert replies[1] == [2, 0, None, 100]
    assert not rig.policy.leases.all()


def test_what_a_host_has_ends_ten_seconds_after_its_last_sign_and_others_keep_theirs():
    rig = Rig()
    for host in (100, 101, 102):
        rig.request(host, 1, 4, 0, 32, "of " + str(host), None, 300_000)
        rig.poll()
    for _ in range(5):
        rig.link.receive(66, 100, 0)
        rig.subscribe(101)
        rig.seconds(3)
    owners = sorted([lease.owner for lease in rig.policy.leases.all()])
    assert owners == ["of 100", "of 101"], owners
    rig.link.receive(65, 101)
    rig.link.receive(65, 100)
    rig.poll()
    assert not rig.policy.leases.all()
    events = rig.policy.events.seq
    rig.link.receive(65, 999)  # of whom nobody knows
    rig.poll()
    assert rig.policy.events.seq == events


def test_while_the_link_is_down_nothing_is_sent_and_events_are_kept_with_their_times():
    rig = Rig(interval_ms=100_000)
    rig.seconds(2)
    rig.link.is_joined = False
    for number in range(3):  # that came before are read now
        rig.link.receive(66, 100, number)
        rig.poll()
    rig.seconds(1)
    rig.policy.events.post("policy", None, "meanwhile")
    when = rig.agent.clock.s
    for _ in range(30):
        assert rig.poll(100_000) == []
    assert figure(rig.agent.sample, "dropped_frames") == 0, figure(
        rig.agent.sample, "dropped_frames"
    )
    rig.link.rejoin()
    messages = rig.poll(1000)
    assert _wholes(messages) == [0]
    events = [message[2:] for message in messages if message[0] == EVENT]
    assert [event[5] for event in events if event[1] == "policy"] == ["meanwhile"]
    assert [event[2] for event in events if event[1] == "policy"] == [when]
    links = [event[5] for event in events if event[1] == "link"]
    assert links == ["found", "lost", "found"], links


def test_a_client_that_takes_nothing_for_a_while_is_told_the_rest_then():
    rig = Rig()
    rig.seconds(2)
    rig.link.is_stuck = True
    rig.subscribe(100)
    for _ in range(20):
        rig.poll(100)
    lease = rig.policy.leases.allocate(0, 16, "app", 1, None, None)
    assert rig.agent.rest_ms <= 100
    rig.link.is_stuck = False
    messages = rig.poll(100)
    assert _wholes(messages) == [100]
    assert LEASE in _kinds(messages)
    lease.release()


def test_alive_is_sent_where_nothing_else_was_for_ten_seconds():
    rig = Rig(interval_ms=600_000)
    assert ALIVE not in _kinds(rig.seconds(9))
    kinds = _kinds(rig.seconds(20))
    assert kinds.count(ALIVE) == 2, kinds
    assert rig.agent.rest_ms <= 10_000


def test_frames_of_one_message_are_read_and_what_is_no_frame_is_counted():
    rig = Rig()
    ping = framed([67, 100, 1, 0, []])
    rig.link.receive_bytes(ping[:-4])  # a part only: the next message does not go on with it
    rig.link.receive_bytes(ping + framed([67, 101, 1, 0, []]))
    rig.link.receive_bytes(b"text\xc0\x91\xc0")
    rig.link.receive_bytes(b"")
    hosts = [message[5] for message in rig.poll() if message[0] == REPLY]
    assert hosts == [100, 101], hosts
    assert figure(rig.agent.sample, "bad_frames") == 1, figure(rig.agent.sample, "bad_frames")
    for message in ([67, 0, 1, 0, []], [67, None, 1, 0, []], [67, -1, 2, 4, [0, 9]], [64, 1, 7, 0]):
        rig.link.receive(*message)
    assert REPLY not in _kinds(rig.poll())
    for place in range(3):
        rig.link.receive(67, 100, 2 + place, (1 << 40, -1, None)[place], [])
    assert [message[3] for message in rig.poll() if message[0] == REPLY] == [1, 1, 1]
    rig.link.receive(64, 2, 0, 100)
    assert [message[2:] for message in rig.poll() if message[0] == REFUSED] == [[1, 8, 100]]
    rig.link.receive(99, 1)
    rig.poll()
    assert figure(rig.agent.sample, "skipped_frames") == 1


def test_a_tick_allocates_nothing_and_a_whole_only_the_list_of_limits():
    link = FakeLink()
    link.is_counting = True
    agent = make_agent(board(), 1000, 1000, link, (4, 300_000, 100, 5000))
    link.receive(67, 100, 1, 0, [])
    poll_all(agent)
    session = agent.session

    def pass_second():
        skip_seconds(agent, 1)
        agent.storage.deadline_s = 1000  # to ask the file system takes memory

    pass_second()
    poll_for_sample(agent)
    written = link.written
    while session.clock.s < session.whole_s - 1:
        pass_second()
        with no_heap():
            poll_for_sample(agent)
            poll_now(agent)
    assert agent.faults == 0
    assert link.written > written
    agent.stop_monitoring()
    poll_all(agent)
    pass_second()
    gc.collect()
    allocated = gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0
    for _ in range(60):
        poll_now(agent)
    allocated = (gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0) - allocated
    assert session.whole_s > session.clock.s and not session.synced_dirty
    assert allocated <= 128, allocated
    assert agent.faults == 0
