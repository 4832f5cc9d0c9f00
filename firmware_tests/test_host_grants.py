"""What hosts are granted: asked over the line, decided on the board, told in rows and events."""

from rig import FakeLine, board, turn
from warden.agent import Agent

_HOST = 77
LEASE, OPERATION, SESSION, EVENT, ROWS, THRESHOLD, METER, NEED = 8, 9, 10, 11, 12, 13, 14, 15
ALLOCATE, RELEASE, BEGIN, COMPLETE, CAN_EXECUTE, SET_LIMITS = 4, 5, 6, 7, 8, 9
SET_THRESHOLD, CANCEL, TELL_METERS, COLLECT = 10, 11, 12, 15
DENIED, NOT_FOUND = 4, 5


class Rig:
    """An agent with a host that has subscribed."""

    def __init__(self):
        self.line = FakeLine()
        self.agent = Agent(board(), 600_000, self.line, (2, 300_000, 100, 5000))
        self._next = 0
        self.hear(64, 1, 1, _HOST, None)

    def hear(self, *message):
        self.line.hear(*message)
        return self.turn()

    def turn(self):
        turn(self.agent)
        assert self.agent.faults == 0
        return self.line.told()

    def ask(self, operation, *arguments):
        """Return the code and value of the reply, and what else was told."""
        told = self.hear(67, _HOST, self._next, operation, list(arguments))
        self._next += 1
        reply = next(message for message in told if message[0] == 7)
        return reply[3], reply[4], [message for message in told if message[0] != 7]

    def silent_for(self, seconds):
        """Let so much time pass on the board's clock, unheard."""
        for _ in range(seconds):
            self.agent.clock.s += 1
            self.agent.clock.now()
            self.agent.step()
        return self.line.told()


def _of(kind, told):
    return [message[2:] for message in told if message[0] == kind]


def test_a_lease_is_granted_told_and_given_back():
    rig = Rig()
    code, lease_id, told = rig.ask(ALLOCATE, 0, 1000, "ota", 2, 5000, None)
    assert (code, lease_id) == (0, 1)
    row = _of(LEASE, told)[0]
    assert row[:6] == [0, 1, 0, 1000, "ota", 2]
    assert 4000 < row[8] <= 5000
    assert _of(SESSION, told)[0][2].startswith("host")
    assert _of(ROWS, rig.ask(RELEASE, 1)[2])[-1][:3] == [0, 0, 1]
    assert rig.ask(RELEASE, 1)[:2] == (NOT_FOUND, None)


def test_what_was_granted_before_a_host_came_is_told_when_it_comes():
    line = FakeLine()
    agent = Agent(board(), 600_000, line, (2, 300_000, 100, 5000))
    before = len(agent.session.tables)
    agent.decide().allocate(3, 100, owner="early")
    turn(agent)
    assert len(agent.session.tables) == before  # that nobody would read
    for _ in range(2):
        line.hear(64, 1, 1, _HOST, None)
        turn(agent)
        assert [row[4] for row in _of(LEASE, line.told())] == ["early"]
        line.hear(65, _HOST)
        turn(agent)
    assert len(agent.session.tables) == before + 8
    assert agent.faults == 0


def test_a_refusal_tells_why():
    rig = Rig()
    code, value, told = rig.ask(ALLOCATE, 0, 0x3FFFFFFF, None, None, None, None)
    assert code == DENIED
    assert value[0] == "memory" and value[1] > 0 and value[3] == []
    assert [event[1] for event in _of(EVENT, told)] == ["denied"]
    assert _of(EVENT, told)[0][4:] == [None, "memory", 0x3FFFFFFF]
    for wrong in ((0, 0), (0, -1), (9, 5), (0, "x"), (None, 5), (0, 5, 5), (0, 5, "x", 9)):
        arguments = list(wrong) + [None] * (6 - len(wrong))
        assert rig.ask(ALLOCATE, *arguments)[0] == 2, wrong
    assert rig.ask(ALLOCATE)[0] == 2
    assert rig.agent.policy.ledger.active() == []


def test_operations_are_begun_told_and_completed():
    rig = Rig()
    code, value, told = rig.ask(BEGIN, "flash", 2, 30_000, 500, None)
    assert (code, value) == (0, [1, 1])
    assert _of(OPERATION, told)[0][:5] == [0, 1, "flash", 2, 1]
    assert rig.ask(CAN_EXECUTE, 0)[1] is True
    rig.agent.policy.operations.find(1).progress(420, "half")
    assert _of(OPERATION, rig.turn())[0][5:7] == [420, "half"]
    assert rig.ask(COMPLETE, 1)[0] == 0
    assert rig.ask(COMPLETE, 1)[0] == NOT_FOUND
    assert rig.agent.policy.ledger.outstanding(0) == 0


def test_one_that_waits_is_told_as_waiting_then_active():
    rig = Rig()
    for name in ("one", "two"):
        rig.ask(BEGIN, name, None, None, None, None)
    assert rig.ask(BEGIN, "three", None, None, None, None)[0] == DENIED
    code, value, told = rig.ask(BEGIN, "three", None, None, None, 60_000)
    assert (code, value) == (0, [3, 0])
    told = rig.ask(COMPLETE, 1)[2]
    assert _of(OPERATION, told)[-1][1:5] == [3, "three", 1, 1]


def test_limits_are_set_all_or_none():
    rig = Rig()
    assert rig.ask(SET_LIMITS, None, None, None)[1] == [2, 300_000, 100, 5000]
    code, value, told = rig.ask(SET_LIMITS, 3, 1000, 200, 7000)
    assert (code, value) == (0, [3, 1000, 200, 7000])
    assert _of(ROWS, told)[-1][3] == [3, 1000, 200, 7000]
    for wrong in ((9,), (None, 0), (4, 5000, 901), ("x",), (4, 1, 1, -1), (1, 1, 1, 1, 1)):
        assert rig.ask(SET_LIMITS, *wrong)[0] == 2, wrong
    assert rig.ask(SET_LIMITS)[1] == [3, 1000, 200, 7000]


def test_a_host_that_is_gone_leaves_nothing():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, None, None)
    rig.ask(BEGIN, "x", None, None, 500, None)
    rig.silent_for(9)
    assert len(rig.agent.policy.ledger.active()) == 2
    rig.silent_for(2)
    policy = rig.agent.policy
    assert policy.ledger.active() == policy.operations.all() == policy.sessions.all() == []


def test_one_that_comes_back_in_time_finds_it_as_it_was():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, None, None)
    rig.silent_for(6)
    assert rig.agent.session.host_id == 0
    told = rig.hear(64, 1, 1, _HOST, None)
    assert [row[4] for row in _of(LEASE, told)] == ["x"]
    rig.silent_for(2)
    rig.hear(66, _HOST, 0)
    rig.silent_for(9)
    assert len(rig.agent.policy.ledger.active()) == 1


def test_a_goodbye_ends_it_at_once():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, None, None)
    rig.hear(65, _HOST)
    assert rig.agent.policy.ledger.active() == []


def test_another_host_does_not_end_what_the_first_has():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, 60_000, None)
    told = rig.hear(64, 1, 1, 99, None)
    assert len(_of(LEASE, told)) == 1
    rig.hear(67, 99, 0, ALLOCATE, [0, 10, "y", None, None, None])
    assert len(rig.agent.policy.sessions.all()) == 2
    rig.silent_for(11)
    assert rig.agent.policy.ledger.active() == []


def test_one_that_comes_back_after_another_finds_it_as_it_was():
    rig = Rig()
    rig.ask(ALLOCATE, 0, 1000, "x", None, 60_000, None)
    rig.hear(64, 1, 1, 99, None)
    rig.hear(67, 99, 0, ALLOCATE, [0, 10, "y", None, 60_000, None])
    rig.silent_for(2)
    rig.hear(64, 1, 1, _HOST, None)
    rig.ask(ALLOCATE, 0, 1000, "z", None, 60_000, None)
    assert len(rig.agent.policy.sessions.all()) == 2
    rig.silent_for(9)
    assert [lease.owner for lease in rig.agent.policy.ledger.active()] == ["x", "z"]


def test_events_come_in_order_and_again_from_where_the_host_wants():
    rig = Rig()
    numbers = []
    for _ in range(3):
        _, lease_id, told = rig.ask(ALLOCATE, 0, 10, None, None, None, None)
        numbers += [event[0] for event in _of(EVENT, told)]
        numbers += [event[0] for event in _of(EVENT, rig.ask(RELEASE, lease_id)[2])]
    assert numbers == [0, 1, 2]
    told = rig.hear(64, 1, 1, _HOST, 1)
    assert [event[:2] for event in _of(EVENT, told)] == [[1, "lease"], [2, "lease"]]
    for wrong in (-5, 1 << 40):
        rig.hear(64, 1, 1, _HOST, wrong)
    for _ in range(20):
        lease_id = rig.ask(ALLOCATE, 0, 10, None, None, None, None)[1]
        rig.ask(RELEASE, lease_id)
    told = rig.hear(64, 1, 1, _HOST, None)
    assert [event[0] for event in _of(EVENT, told)] == list(range(7, 23))


def test_a_board_that_grants_nothing_tells_nothing_of_it():
    told = Rig().hear(64, 1, 1, _HOST, None)
    assert all(message[0] < LEASE for message in told)


def test_thresholds_are_set_told_and_taken_away():
    rig = Rig()
    code, value, told = rig.ask(SET_THRESHOLD, 0, 1, 999, 0, 100, 1)
    assert (code, value) == (0, None)
    assert [0, 0, 1, 999, 0, 100, 1, 0, None] in _of(THRESHOLD, told)
    assert _of(ROWS, told)[-1][4] == 1
    told = rig.ask(SET_THRESHOLD, 13, -70, -85, None, None, None)[2]
    assert _of(THRESHOLD, told) == [[1, 13, -70, -85, -70, 0, 0, 0, None]]
    told = rig.ask(SET_THRESHOLD, 0, None, None, None, None, None)[2]
    assert _of(ROWS, told)[-1][4] == 2
    for wrong in ((99, 1, 2, 0, 0, 0), (0, 2, 1, 5, 0, 9), ("memory ", 1, 2, 0, 0, 0), (0, 1)):
        assert rig.ask(SET_THRESHOLD, *wrong)[0] == 2, wrong


def test_a_crossed_threshold_is_told_as_row_and_event():
    rig = Rig()
    rig.agent.values[10] = 7  # tasks
    rig.ask(SET_THRESHOLD, 10, 5, 9, 3, 0, 0)
    rig.agent.policy.look(1000)
    told = rig.turn()
    assert _of(THRESHOLD, told)[0][7:] == [1, 7]
    assert _of(EVENT, told)[-1][1:2] + _of(EVENT, told)[-1][4:] == ["threshold", 10, "warn", 7]


def test_an_operation_is_cancelled():
    rig = Rig()
    op_id = rig.ask(BEGIN, "flash", None, None, None, None)[1][0]
    code, _, told = rig.ask(CANCEL, op_id)
    assert code == 0
    assert _of(OPERATION, told)[-1][4] == 2 and _of(OPERATION, told)[-1][-1] == "preempted"
    assert rig.ask(CANCEL, 99)[0] == NOT_FOUND


def test_meters_are_told_for_as_long_as_they_are_asked_for():
    rig = Rig()
    rig.ask(CAN_EXECUTE, 1)
    meters = rig.agent.policy.meters
    meters._enter("hungry", 0, 1, None).add(1000)
    rig.agent.policy.look(1000)
    assert _of(METER, rig.turn()) == []
    assert rig.ask(TELL_METERS, 2000)[0] == 0
    meters.table[0].add(300_000)
    rig.agent.policy.look(1000)
    assert _of(METER, rig.turn()) == [[0, 1, "hungry", 0, 1, 300, 300, 1, None]]
    rig.agent.clock.s += 2
    rig.agent.policy.look(1000)
    assert _of(METER, rig.turn()) == []
    assert _of(METER, rig.hear(64, 1, 2, _HOST, None)) == []
    for wrong in (-1, 60_001, None, "x"):
        assert rig.ask(TELL_METERS, wrong)[0] == 2, wrong


def test_a_collection_is_made_when_asked_for_but_not_time_and_again():
    rig = Rig()
    memory = rig.agent.memory
    hal = memory._board
    memory._cost_us = 0  # of the one that it began with
    made = memory.collections
    code, freed, _ = rig.ask(COLLECT)
    assert code == 0 and isinstance(freed, int) and freed >= 0
    assert memory.collections == made + 1
    memory._cost_us = 10_000
    code, value, _ = rig.ask(COLLECT)
    assert code == DENIED and value[0] == "collected" and value[1] is None
    assert 0 < value[2] <= 2000 and value[3] == []
    assert memory.collections == made + 1

    memory._cost_us = 0
    collect = hal.collect
    hal.collect = lambda: False
    try:
        assert rig.ask(COLLECT)[:2] == (DENIED, ["gc_off", None, None, []])
    finally:
        hal.collect = collect


def test_what_was_learned_is_told():
    rig = Rig()
    op_id = rig.ask(BEGIN, "flash", None, None, None, None)[1][0]
    needs = rig.agent.policy.needs
    needs._used -= 5000
    told = rig.ask(COMPLETE, op_id)[2]
    row = _of(NEED, told)[0]
    assert row[:3] == [0, "flash", 1] and row[3] == row[4] >= 5000
    assert _of(ROWS, rig.hear(64, 1, 2, _HOST, None))[-1][6] == 1


def test_a_new_subscription_tells_all_of_it_again():
    rig = Rig()
    rig.ask(SET_THRESHOLD, 4, 800, 900, 700, 0, 0)
    rig.ask(ALLOCATE, 0, 100, "x", None, None, None)
    told = rig.hear(64, 1, 2, _HOST, None)
    kinds = [message[0] for message in told]
    assert kinds[:2] == [1, 4] and kinds[-1] == 5
    assert kinds.count(THRESHOLD) == 2 and kinds.count(LEASE) == 1


def test_the_longest_names_fit_a_frame():
    rig = Rig()
    snakes = "\U0001f40d" * 30
    rig.ask(BEGIN, "x", None, None, None, None)
    op = rig.agent.policy.operations.begin(snakes)
    op.progress(1000, snakes)
    rig.agent.policy.sessions.open(snakes)
    rig.agent.policy.allocate(0, 10, owner=snakes)
    told = rig.turn()
    assert _of(OPERATION, told)[-1][2] == _of(OPERATION, told)[-1][6] == "\U0001f40d" * 6
    assert _of(SESSION, told)[-1][2] == _of(LEASE, told)[-1][4] == "\U0001f40d" * 6


def test_what_can_never_be_had_is_not_to_be_asked_for_again():
    rig = Rig()
    refusal = rig.ask(ALLOCATE, 0, 0x3FFFFFFF, None, None, None, None)[1]
    assert refusal[0] == "memory" and refusal[2] is None
