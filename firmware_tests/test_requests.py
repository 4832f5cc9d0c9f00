"""What hosts request: asked over the link, decided on the board, sent in rows and events."""

from figures import put_figure
from rig import FakeLink, board, poll_all, skip_seconds
from usual import new_lease, new_operation
from warden.setup import make_agent

_HOST = 77
LEASE, OPERATION, SESSION, EVENT, ROWS, THRESHOLD, METER, NEED = 8, 9, 10, 11, 12, 13, 14, 15
ALLOCATE, RELEASE, BEGIN, COMPLETE, CAN_EXECUTE, SET_LIMITS = 4, 5, 6, 7, 8, 9
SET_THRESHOLD, CANCEL, SEND_METERS, COLLECT = 10, 11, 12, 15
DENIED, NOT_FOUND = 4, 5


class Rig:
    """An agent with a host that has subscribed."""

    def __init__(self, link=None):
        self.link = link or FakeLink()
        # The budget: what hosts may have done in this time, see test_floods.
        self.agent = make_agent(board(), 600_000, 1000, self.link, (2, 300_000, 100, 5000))
        self.policy = self.agent.policy
        self._next = 0
        self.receive(64, 1, 1, _HOST, None)

    def receive(self, *message):
        """Have the host send this; return what the board sends then."""
        self.link.receive(*message)
        return self.poll()

    def poll(self):
        poll_all(self.agent)
        assert self.agent.faults == 0
        return self.link.sent()

    def ask(self, operation, *arguments):
        """Return the code and value of the reply, and what else was sent."""
        sent = self.receive(67, _HOST, self._next, operation, list(arguments))
        self._next += 1
        reply = next(message for message in sent if message[0] == 7)
        return reply[3], reply[4], [message for message in sent if message[0] != 7]

    def pass_seconds(self, seconds):
        """Let so much time pass on the board's clock, without a word of a host."""
        for _ in range(seconds):
            skip_seconds(self.agent, 1)
            poll_all(self.agent)
        return self.link.sent()

    def evaluate(self):
        """Judge the sample as if a second had passed; return what the board sends then."""
        self.policy.evaluate(1000, 0)
        return self.poll()


class Lookout(FakeLink):
    """A link over which hosts only look, as that of a TcpServer is by default."""

    right = 1


def _of(kind, sent):
    return [message[2:] for message in sent if message[0] == kind]


def test_a_lease_is_granted_sent_and_given_back():
    rig = Rig()
    code, lease_id, sent = rig.ask(ALLOCATE, 0, 1000, "ota", 2, 5000, None)
    assert (code, lease_id) == (0, 1)
    row = _of(LEASE, sent)[0]
    assert row[:6] == [0, 1, 0, 1000, "ota", 2]
    assert 4000 < row[8] <= 5000
    assert _of(SESSION, sent)[0][2].startswith("host")
    assert _of(ROWS, rig.ask(RELEASE, 1)[2])[-1][:3] == [0, 0, 1]
    assert rig.ask(RELEASE, 1)[:2] == (NOT_FOUND, None)


def test_what_was_granted_before_a_host_came_is_sent_when_it_comes():
    link = FakeLink()
    agent = make_agent(board(), 600_000, 1000, link, (2, 300_000, 100, 5000))
    new_lease(agent.policy.leases, 3, 100, owner="early")
    poll_all(agent)
    assert link.sent() == []
    for _ in range(2):
        link.receive(64, 1, 1, _HOST, None)
        poll_all(agent)
        assert [row[4] for row in _of(LEASE, link.sent())] == ["early"]
        link.receive(65, _HOST)
        poll_all(agent)
    assert agent.faults == 0


def test_a_refusal_has_its_reason():
    rig = Rig()
    code, value, sent = rig.ask(ALLOCATE, 0, 0x3FFFFFFF, None, None, None, None)
    assert code == DENIED
    assert value[0] == "memory" and value[1] > 0 and value[3] == []
    assert [event[1] for event in _of(EVENT, sent)] == ["denied"]
    assert _of(EVENT, sent)[0][4:] == [None, "memory", 0x3FFFFFFF]
    for wrong in ((0, 0), (0, -1), (9, 5), (0, "x"), (None, 5), (0, 5, 5), (0, 5, "x", 9)):
        arguments = list(wrong) + [None] * (6 - len(wrong))
        assert rig.ask(ALLOCATE, *arguments)[0] == 2, wrong
    assert rig.ask(ALLOCATE)[0] == 2
    assert rig.policy.leases.all() == []


def test_operations_are_begun_sent_and_completed():
    rig = Rig()
    code, value, sent = rig.ask(BEGIN, "flash", 2, 30_000, 500, None)
    assert (code, value) == (0, [1, 1])
    assert _of(OPERATION, sent)[0][:5] == [0, 1, "flash", 2, 1]
    assert rig.ask(CAN_EXECUTE, 0)[1] is True
    rig.policy.operations.all()[0].progress(420, "half")
    assert _of(OPERATION, rig.poll())[0][5:7] == [420, "half"]
    assert rig.ask(COMPLETE, 1)[0] == 0
    assert rig.ask(COMPLETE, 1)[0] == NOT_FOUND
    assert rig.policy.leases.outstanding(0) == 0


def test_one_that_waits_is_sent_as_waiting_then_active():
    rig = Rig()
    for name in ("one", "two"):
        rig.ask(BEGIN, name, None, None, None, None)
    assert rig.ask(BEGIN, "three", None, None, None, None)[0] == DENIED
    code, value, sent = rig.ask(BEGIN, "three", None, None, None, 60_000)
    assert (code, value) == (0, [3, 0])
    sent = rig.ask(COMPLETE, 1)[2]
    assert _of(OPERATION, sent)[-1][1:5] == [3, "three", 1, 1]


def test_limits_are_set_all_or_none():
    rig = Rig()
    assert rig.ask(SET_LIMITS, None, None, None)[1] == [2, 300_000, 100, 5000]
    code, value, sent = rig.ask(SET_LIMITS, 3, 1000, 200, 7000)
    assert (code, value) == (0, [3, 1000, 200, 7000])
    assert _of(ROWS, sent)[-1][3] == [3, 1000, 200, 7000]
    for wrong in ((9,), (None, 0), (4, 5000, 901), ("x",), (4, 1, 1, -1), (1, 1, 1, 1, 1)):
        assert rig.ask(SET_LIMITS, *wrong)[0] == 2, wrong
    assert rig.ask(SET_LIMITS)[1] == [3, 1000, 200, 7000]


def test_a_host_that_is_gone_leaves_nothing():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, None, None)
    rig.ask(BEGIN, "x", None, None, 500, None)
    rig.pass_seconds(9)
    assert len(rig.policy.leases.all()) == 2
    rig.pass_seconds(2)
    policy = rig.policy
    assert policy.leases.all() == policy.operations.all() == policy.sessions.all() == []


def test_one_that_comes_back_in_time_finds_it_as_it_was():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, None, None)
    rig.pass_seconds(6)
    assert rig.agent.session.host_id == 0
    sent = rig.receive(64, 1, 1, _HOST, None)
    assert [row[4] for row in _of(LEASE, sent)] == ["x"]
    rig.pass_seconds(2)
    rig.receive(66, _HOST, 0)
    rig.pass_seconds(9)
    assert len(rig.policy.leases.all()) == 1


def test_a_goodbye_ends_it_at_once():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, None, None)
    rig.receive(65, _HOST)
    assert rig.policy.leases.all() == []


def test_another_host_does_not_end_what_the_first_has():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, 60_000, None)
    sent = rig.receive(64, 1, 1, 99, None)
    assert len(_of(LEASE, sent)) == 1
    rig.receive(67, 99, 0, ALLOCATE, [0, 10, "y", None, None, None])
    assert len(rig.policy.sessions.all()) == 2
    rig.pass_seconds(11)
    assert rig.policy.leases.all() == []


def test_one_that_comes_back_after_another_finds_it_as_it_was():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, 60_000, None)
    rig.receive(64, 1, 1, 99, None)
    rig.receive(67, 99, 0, ALLOCATE, [0, 10, "y", None, 60_000, None])
    rig.pass_seconds(2)
    rig.receive(64, 1, 1, _HOST, None)
    rig.ask(ALLOCATE, 0, 1000, "z", None, 60_000, None)
    assert len(rig.policy.sessions.all()) == 2
    rig.pass_seconds(9)
    assert [lease.owner for lease in rig.policy.leases.all()] == ["x", "z"]


def test_events_come_in_order_and_again_from_where_the_host_wants():
    rig = Rig()
    numbers = []
    for _ in range(3):
        _, lease_id, sent = rig.ask(ALLOCATE, 0, 10, None, None, None, None)
        numbers += [event[0] for event in _of(EVENT, sent)]
        numbers += [event[0] for event in _of(EVENT, rig.ask(RELEASE, lease_id)[2])]
    assert numbers == [1, 2, 3]  # the first was that a host was found
    sent = rig.receive(64, 1, 1, _HOST, 2)
    assert [event[:2] for event in _of(EVENT, sent)] == [[2, "lease"], [3, "lease"]]
    for wrong in (-5, 1 << 40):
        rig.receive(64, 1, 1, _HOST, wrong)
    for _ in range(20):
        lease_id = rig.ask(ALLOCATE, 0, 10, None, None, None, None)[1]
        rig.ask(RELEASE, lease_id)
    sent = rig.receive(64, 1, 1, _HOST, None)
    assert [event[0] for event in _of(EVENT, sent)] == list(range(8, 24))


def test_a_board_that_grants_nothing_sends_nothing_of_it():
    sent = Rig().receive(64, 1, 1, _HOST, None)
    granted = (LEASE, OPERATION, SESSION, METER, NEED)
    assert not [message for message in sent if message[0] in granted]


def test_a_watching_board_refuses_with_the_reason():
    link = FakeLink()
    agent = make_agent(board(), 600_000, 1000, link)
    link.receive(64, 1, 1, _HOST, None)
    link.receive(67, _HOST, 0, ALLOCATE, [0, 1000, "x", 1, 5000, None])
    link.receive(67, _HOST, 1, SET_LIMITS, [])
    link.receive(67, _HOST, 2, 0, [])
    poll_all(agent)
    sent = link.sent()
    assert all(message[0] < LEASE for message in sent)
    watching = ["watching", None, None, []]
    replies = [[0, DENIED, watching], [1, DENIED, watching], [2, 0, None]]
    assert [message[2:] for message in sent if message[0] == 7] == replies
    assert agent.faults == 0


def test_thresholds_are_set_sent_and_taken_away():
    rig = Rig()
    code, value, sent = rig.ask(SET_THRESHOLD, 0, 1, 999, 0, 100, 1)
    assert (code, value) == (0, None)
    assert [0, 0, 1, 999, 0, 100, 1, 0, None] in _of(THRESHOLD, sent)
    sent = rig.ask(SET_THRESHOLD, 13, -70, -85, None, None, None)[2]
    assert _of(THRESHOLD, sent) == [[1, 13, -70, -85, -70, 0, 0, 0, None]]
    sent = rig.ask(SET_THRESHOLD, 0, None, None, None, None, None)[2]
    assert _of(ROWS, sent)[-1][4] == 2
    for wrong in ((99, 1, 2, 0, 0, 0), (0, 2, 1, 5, 0, 9), ("memory ", 1, 2, 0, 0, 0), (0, 1)):
        assert rig.ask(SET_THRESHOLD, *wrong)[0] == 2, wrong


def test_a_crossed_threshold_is_sent_as_row_and_event():
    rig = Rig()
    put_figure(rig.agent.sample, "tasks", 7)
    rig.ask(SET_THRESHOLD, 10, 5, 9, 3, 0, 0)
    sent = rig.evaluate()
    assert _of(THRESHOLD, sent)[0][7:] == [1, 7]
    assert _of(EVENT, sent)[-1][1:2] + _of(EVENT, sent)[-1][4:] == ["threshold", 10, "warn", 7]


def test_an_operation_is_cancelled():
    rig = Rig()
    op_id = rig.ask(BEGIN, "flash", None, None, None, None)[1][0]
    code, _, sent = rig.ask(CANCEL, op_id)
    assert code == 0
    assert _of(OPERATION, sent)[-1][4] == 2 and _of(OPERATION, sent)[-1][-1] == "preempted"
    assert rig.ask(CANCEL, 99)[0] == NOT_FOUND


def test_meters_are_sent_for_as_long_as_they_are_asked_for():
    rig = Rig()
    assert rig.ask(SEND_METERS, 2000)[0] == 0  # where nothing has one
    meter = rig.policy.load_meters().add("hungry", 0, 1, None)

    def run_for(us):
        meter.spent_us = meter.worst_us = us
        meter.count = 1
        return _of(METER, rig.evaluate())

    assert run_for(1000) == []
    assert rig.ask(SEND_METERS, 2000)[0] == 0
    assert run_for(300_000) == [[0, 1, "hungry", 0, 1, 300, 300, 1, None]]
    assert len(run_for(1000)) == 1
    assert run_for(1000) == []
    assert _of(METER, rig.receive(64, 1, 2, _HOST, None)) == []
    for wrong in (-1, 60_001, None, "x"):
        assert rig.ask(SEND_METERS, wrong)[0] == 2, wrong


def test_a_collection_is_made_when_asked_for_but_not_time_and_again():
    rig = Rig()
    memory = rig.agent.memory
    adapter = rig.agent.board
    memory.cost_us = 0  # of the one that it began with
    made = memory.collections
    code, freed, _ = rig.ask(COLLECT)
    assert code == 0 and isinstance(freed, int) and freed >= 0
    assert memory.collections == made + 1
    memory.cost_us = 100_000
    code, value, _ = rig.ask(COLLECT)
    assert code == DENIED and value[0] == "collected" and value[1] is None
    assert 15_000 < value[2] <= 20_000 and value[3] == []  # 200 times what the last one took
    assert memory.collections == made + 1

    memory.cost_us = 0
    collect = adapter.collect
    adapter.collect = lambda: False
    try:
        assert rig.ask(COLLECT)[:2] == (DENIED, ["gc_off", None, None, []])
    finally:
        adapter.collect = collect


def test_learned_memory_is_sent():
    rig = Rig()
    op_id = rig.ask(BEGIN, "flash", None, None, -1, None)[1][0]
    rig.policy.profile.least -= 5000
    sent = rig.ask(COMPLETE, op_id)[2]
    row = _of(NEED, sent)[0]
    assert row[:3] == [0, "flash", 1] and row[3] == row[4] >= 5000
    assert _of(ROWS, rig.receive(64, 1, 2, _HOST, None))[-1][6] == 1


def test_a_new_subscription_sends_all_of_it_again():
    rig = Rig()
    rig.ask(SET_THRESHOLD, 4, 800, 900, 700, 0, 0)
    rig.ask(ALLOCATE, 0, 100, "x", None, None, None)
    sent = rig.receive(64, 1, 2, _HOST, None)
    kinds = [message[0] for message in sent]
    assert kinds[0] == 1 and kinds.count(5) == 1
    kinds = kinds[: kinds.index(5)]
    for kind, count in ((3, 1), (ROWS, 1), (THRESHOLD, 2), (LEASE, 1), (SESSION, 1), (EVENT, 1)):
        assert kinds.count(kind) == count, kind


def test_the_longest_names_fit_a_frame():
    rig = Rig()
    snakes = "\U0001f40d" * 30
    rig.ask(BEGIN, "x", None, None, None, None)
    operations = rig.policy.operations
    op = operations.begin(new_operation(operations, snakes))
    op.progress(1000, snakes)
    rig.policy.sessions.open(snakes)
    new_lease(rig.policy.leases, 0, 10, owner=snakes)
    sent = rig.poll()
    assert _of(OPERATION, sent)[-1][2] == _of(OPERATION, sent)[-1][6] == "\U0001f40d" * 6
    assert _of(SESSION, sent)[-1][2] == _of(LEASE, sent)[-1][4] == "\U0001f40d" * 6


def test_what_can_never_be_had_is_not_to_be_asked_for_again():
    rig = Rig()
    refusal = rig.ask(ALLOCATE, 0, 0x3FFFFFFF, None, None, None, None)[1]
    assert refusal[0] == "memory" and refusal[2] is None


def test_over_a_link_without_control_nothing_can_be_changed():
    rig = Rig(Lookout())
    looking = (
        (0, ()),
        (3, (0, 0, 0)),
        (8, (1,)),
        (9, (None,) * 4),
        (12, (0,)),
        (14, (0,)),
        (16, (0,)),
    )
    for number, arguments in looking + ((18, ()), (18, (None,))):
        assert rig.ask(number, *arguments)[0] != DENIED, number
    changing = ((1, (100, None)), (2, ()), (4, (0, 100)), (5, (1,)), (6, ("flash",)), (7, (1,)))
    changing += ((9, (1, None, None, None)), (9, (None, None, None, 0)), (11, (1,)))
    changing += ((10, (0, 1, 2, None, 0, 2)), (14, (1,)), (14, (2,)), (15, ()), (18, (True,)))
    for number, arguments in changing + ((17, ("a", 1, 1, 1, 1)),):
        assert rig.ask(number, *arguments)[:2] == (DENIED, ["needs_control", None, None, []]), (
            number
        )
    assert rig.agent.governor.wanted_interval_ms == 600_000
    assert rig.policy.leases.all() == rig.policy.operations.all() == []
    assert rig.ask(99)[0] == 1  # the board does not know it, and says so


def test_a_host_cannot_name_anything_with_control_characters():
    """Other hosts show names at terminals, which act on them."""
    rig = Rig()
    for text in ("a\x1b[31m", "a\nb", "\r", "\x7f", "a\x9b31m", "\x00"):
        assert rig.ask(BEGIN, text)[0] == 2, text
        assert rig.ask(ALLOCATE, 0, 100, text)[0] == 2, text
    for text in ("", "a b", "\xe9t\xe9", "\u6e29\u5ea6", "\xa0"):
        code, lease_id, _ = rig.ask(ALLOCATE, 3, 100, text)
        assert code == 0, text
        assert rig.ask(RELEASE, lease_id)[0] == 0
