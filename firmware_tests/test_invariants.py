"""Invariants 1, 5, 7 and 9 of the design, each by its name, over a whole agent in virtual time."""

from harness import raises
from rig import FakeLink
from virtual_board import Rig
from warden.errors import Denied
from warden.history_reader import column

MEMORY, STORAGE, CPU_TIME, BANDWIDTH = range(4)
LOW, NORMAL, HIGH, CRITICAL = range(4)
SUBSCRIBE, UNSUBSCRIBE, KEEPALIVE, REQUEST = range(64, 68)
START_MONITORING, ALLOCATE, RELEASE, BEGIN, COMPLETE = 1, 4, 5, 6, 7
PROTECT = 1
_HOST = 77

# --- invariant 1: the board needs nobody ----------------------------------------------------------


class _Stalled(FakeLink):
    """A host that subscribed, and has taken nothing from the line since its first few bytes."""

    def __init__(self):
        super().__init__()
        self.room = 30  # a frame is stuck halfway
        self.receive(SUBSCRIBE, 1, 2, _HOST, None)

    def speak(self):
        self.receive(KEEPALIVE, _HOST, 0)


class _Lying(FakeLink):
    """A host that says whatever it likes, as long as it is granted nothing by it."""

    def speak(self):
        for message in (
            (SUBSCRIBE, 1, 2, _HOST, -5),
            (SUBSCRIBE, 9, 0, 3, None),
            (KEEPALIVE, _HOST, 40_000),
            (KEEPALIVE, None, "x"),
            (REQUEST, _HOST, 3, RELEASE, [999]),
            (REQUEST, _HOST, 1, COMPLETE, ["x"]),
            (REQUEST, _HOST, 2, 200, [[[]]]),
            (REQUEST, 78, 0, START_MONITORING, [20]),
            (UNSUBSCRIBE, 12),
            (99, "?"),
        ):
            self.receive(*message)
        self.inbox.extend(b"\xc0\x93garbage\xc0\x7d\x00")


def _what_happens(link):
    """Play some seconds at a board with that line; return all that it decided and measured."""
    rig = Rig(max_operations=1, link=link, interval_ms=1000)
    policy = rig.policy
    events = []
    answers = []

    def note(event):
        if event[1] != "link":  # who came and went is all that may differ
            events.append(event[1:])

    def pass_seconds(count):
        for _ in range(count):
            if hasattr(rig.link, "speak"):
                rig.link.speak()
            rig.pass_ms(1000)
            if rig.link is not None:
                rig.link.outbox = bytearray()  # the heap of a small board is small

    policy.events.on(None, note)
    policy.thresholds.set("memory", 700, 900, 600, 0, PROTECT)
    lease = rig.allocate(MEMORY, 100_000, ttl_ms=4500)
    answers.append(raises(Denied, rig.allocate, MEMORY, 50_000).available)  # it refuses
    low = rig.begin("low", priority=LOW)
    high = rig.begin("high", priority=HIGH, timeout_ms=3000)
    answers.append((low.state, high.state))  # it preempts
    pass_seconds(2)
    answers.append((low.state, high.state))
    pass_seconds(3)
    answers.append((lease.active, high.state))  # what is granted expires
    rig.board.taken = 140_000
    pass_seconds(1)
    answers.append(raises(Denied, rig.allocate, BANDWIDTH, 1).reason)  # it protects itself
    rig.board.taken = 0
    pass_seconds(2)
    answers.append(rig.allocate(BANDWIDTH, 1).id)  # and recovers
    low.complete()
    pass_seconds(3)
    answers.append(policy.operations.all() == [])
    history = [list(column(rig.agent.history, 0, metric, 1))[-10:] for metric in range(4)]
    return events, answers, history


def test_invariant_1_the_board_decides_the_same_with_nobody_a_stalled_and_a_lying_host():
    alone = _what_happens(None)
    events, answers, history = alone
    assert answers == [30_000, (2, 0), (3, 1), (False, 2), "pressure", 2, False], answers
    for said in ("expired", "preempted", "overdue", "timed out", "critical", "clear", "memory"):
        assert [event for event in events if said in event], said
    assert 0xFFFF not in history[0]
    for link in (FakeLink, _Stalled, _Lying):
        assert _what_happens(link) == alone, link.__name__


# --- invariant 5: an acknowledged request happened exactly once -----------------------------------


def test_invariant_5_a_request_that_is_repeated_happened_once():
    """Over a whole session with losses: tests/boards/test_exactly_once.py, on CPython."""
    rig = Rig()
    frames = (
        (ALLOCATE, [MEMORY, 100, "x", None, None, None]),
        (BEGIN, ["op", None, None, 100, None]),
        (RELEASE, [1]),
        (COMPLETE, [1]),
    )
    for number, (operation, arguments) in enumerate(frames):
        replies = []
        for again in range(3):
            if again:  # another host comes between, then a silence
                rig.link.receive(SUBSCRIBE, 1, 2, 99, None)
                rig.poll()
                rig.pass_ms(4000 * (again - 1))
            rig.link.receive(SUBSCRIBE, 1, 2, _HOST, None)
            rig.link.receive(REQUEST, _HOST, number, operation, arguments)
            rig.poll()
            replies += [message[2:] for message in rig.link.sent() if message[0] == 7]
        assert len(replies) == 3 and replies.count(replies[0]) == 3, replies
        assert replies[0][:2] == [number, 0], replies
    assert rig.policy.leases.next_id == 3  # one that was asked for, and that of the operation
    assert rig.policy.operations.next_id == 2
    assert rig.policy.leases.all() == rig.policy.operations.all() == []


# --- invariant 7: all that is granted ends --------------------------------------------------------


def _nothing(rig):
    policy = rig.policy
    assert policy.leases.all() == policy.operations.all() == []
    for kind, mount in ((MEMORY, None), (STORAGE, "/"), (CPU_TIME, None), (BANDWIDTH, None)):
        assert policy.leases.outstanding(kind, mount) == 0
    assert policy.leases.rows == [None] * 16
    assert policy.operations.rows == [None] * 12
    assert policy.operations.can_execute(LOW)


def _grants(rig, session=None):
    """Have a lease of each kind and operations in each state, without an end where that may be."""
    options = {"session": session, "ttl_ms": None}
    leases = [rig.allocate(kind, 500, **options) for kind in range(4)]
    begin = {"memory": 500, "session": session}
    operations = [rig.begin("op", priority=LOW, **begin) for _ in range(2)]
    operations.append(rig.begin("waits", priority=HIGH, wait_ms=60_000, **begin))
    return leases, operations


def test_invariant_7_what_is_released_and_completed_ends():
    rig = Rig(max_operations=2)
    leases, operations = _grants(rig)
    for each in leases:
        each.release()
    for op in reversed(operations):
        op.complete()
    _nothing(rig)


def test_invariant_7_what_is_over_its_time_ends_with_nobody_asking():
    rig = Rig(max_operations=1, link=None)
    for kind in range(4):
        rig.allocate(kind, 500, ttl_ms=5000)
    op = rig.begin("op", memory=500, timeout_ms=5000)
    rig.begin("waits", memory=500, wait_ms=4000)
    rig.pass_ms(5000)
    assert rig.policy.leases.all() == []
    assert rig.policy.operations.all() == [op] and op.why is not None
    rig.pass_ms(2000)
    assert rig.policy.operations.can_execute(LOW)  # its place has passed on, though it did not stop
    op.complete()
    _nothing(rig)


def test_invariant_7_with_a_session_all_that_is_its_own_ends():
    for end in ("close", "time"):
        rig = Rig(max_operations=2)
        session = rig.policy.sessions.open("s", ttl_ms=5000)
        _grants(rig, session)
        if end == "close":
            session.close()
        else:
            rig.pass_ms(5000)
        _nothing(rig)
        assert rig.policy.sessions.all() == []


def test_invariant_7_with_a_host_all_that_is_its_own_ends():
    for goodbye in (True, False):
        rig = Rig(max_operations=1)
        rig.link.receive(SUBSCRIBE, 1, 2, _HOST, None)
        for kind in range(4):
            rig.link.receive(REQUEST, _HOST, kind, ALLOCATE, [kind, 500, "x", 1, 60_000, None])
            rig.poll()
        for number in (4, 5):
            rig.link.receive(REQUEST, _HOST, number, BEGIN, ["op", 1, None, 500, 60_000])
            rig.poll()
        assert len(rig.policy.leases.all()) == 5
        assert [op.state for op in rig.policy.operations.all()] == [1, 0]
        if goodbye:
            rig.link.receive(UNSUBSCRIBE, _HOST)
            rig.poll()
        else:
            rig.pass_ms(10_000)
        _nothing(rig)
        assert rig.policy.sessions.all() == []


def test_invariant_7_what_is_preempted_ends():
    rig = Rig(max_operations=1)
    heard = []
    rig.allocate(MEMORY, 130_000, priority=LOW, ttl_ms=None, on_preempt=heard.append)
    low = rig.begin("low", priority=LOW)
    lease = rig.allocate(MEMORY, 130_000, priority=HIGH, ttl_ms=None)
    high = rig.begin("high", priority=HIGH)
    assert len(heard) == 1 and low.why is not None
    low.complete()
    assert rig.policy.leases.all() == [lease]
    assert rig.policy.operations.all() == [high]
    lease.release()
    high.complete()
    _nothing(rig)


# --- invariant 9: all tables have a fixed size ----------------------------------------------------


def _until_refused(kind, take):
    """Take until that is refused; return how often it was not, and the refusal."""
    taken = 0
    while True:
        try:
            take()
        except kind as refusal:
            return taken, refusal
        taken += 1
        assert taken < 100, "no end"


def _full_tables(rig):
    """Return what each table of grants says when it is full: (name, how many, the reason)."""
    yield "leases", 16, lambda: rig.allocate(BANDWIDTH, 1)
    yield "operations", 12, lambda: rig.begin("op", wait_ms=60_000)
    yield "sessions", 8, lambda: rig.policy.sessions.open("s")
    yield "meters", 16, lambda: rig.policy.load_meters().add("task", 0, NORMAL, None)


def test_invariant_9_a_table_that_is_full_refuses_and_says_so():
    rig = Rig(max_operations=4)
    policy = rig.policy
    for name, size, take in _full_tables(rig):
        taken, refusal = _until_refused(Denied, take)
        assert (taken, refusal.reason) == (size, "table"), name
        rig.board.ticks.pass_ms(700)
        assert raises(Denied, take).reason == "table"
        event = policy.events.event(policy.events.seq - 1)
        assert event[1] == "denied" and event[5] == "table", event
        now_ms = rig.board.ticks_ms()
        assert event[2] * 1000 + event[3] == now_ms, (event, now_ms)
    owners = (policy.leases, policy.operations, policy.sessions, policy.meters)
    assert [len(owner.rows) for owner in owners] == [16, 12, 8, 16]


def test_invariant_9_so_do_callbacks_and_thresholds():
    policy = Rig().policy
    metrics = list(range(19))
    for take in (
        lambda: policy.events.on(None, lambda event: None),
        lambda: policy.pressure.on_trim(lambda level: 0),
        lambda: policy.thresholds.set(metrics.pop(), 5),
    ):
        taken, refusal = _until_refused(ValueError, take)
        assert taken == 8 and "eight" in refusal.args[0]


def test_invariant_9_what_hosts_and_names_come_and_go_leaves_no_more_than_fits():
    rig = Rig(max_operations=4)
    policy = rig.policy
    for host in range(1, 41):
        rig.link.receive(SUBSCRIBE, 1, 2, host, None)
        rig.link.receive(REQUEST, host, 0, ALLOCATE, [BANDWIDTH, 1, "x", 1, 60_000, None])
        rig.link.receive(REQUEST, host, 1, BEGIN, ["name " + str(host), 1, 1000, -1, None])
        rig.pass_ms(500)
        rig.link.sent()
        assert len(policy.sessions.hosts) <= 8
    assert len(policy.sessions.all()) == 8
    assert len(policy.profile.rows) == 8
    assert policy.events.seq > 16
    assert policy.events.event(0)[0] == policy.events.seq - 16  # the oldest that is remembered
    rig.pass_ms(11_000)
    assert policy.sessions.all() == []
