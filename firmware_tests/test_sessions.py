"""Sessions: quotas hold, and with a session all that was its own ends."""

from harness import no_heap, raises
from policy_rig import Desk
from warden.errors import Denied, Preempted
from warden.slots import ACTIVE, ENDED

MEMORY, STORAGE = 0, 1


def test_a_quota_is_named_when_it_is_exceeded():
    desk = Desk()
    session = desk.sessions.open("s", memory=1000, storage=2000, operations=1)
    session.admit(MEMORY, 1000)
    lease = desk.ledger.allocate(MEMORY, 600, session=session)
    error = raises(Denied, session.admit, MEMORY, 401)
    assert (error.reason, error.available) == ("quota:memory", 400)
    assert error.blockers == (lease.id,)
    session.admit(MEMORY, 400)
    assert raises(Denied, session.admit, STORAGE, 2001).reason == "quota:storage"
    session.admit_operation()
    desk.operations.begin("op", session=session)
    assert raises(Denied, session.admit_operation).reason == "quota:operations"


def test_the_memory_that_a_waiting_operation_needs_counts():
    desk = Desk(max_operations=1)
    session = desk.sessions.open("s", memory=1000)
    running = desk.operations.begin("running")
    desk.operations.begin("waiting", memory=600, wait_ms=60_000, session=session)
    assert raises(Denied, session.admit, MEMORY, 401).available == 400
    running.complete()
    assert raises(Denied, session.admit, MEMORY, 401).available == 400


def test_what_others_have_does_not_count():
    desk = Desk()
    session = desk.sessions.open("s", memory=1000)
    desk.ledger.allocate(MEMORY, 5000)
    desk.ledger.allocate(MEMORY, 5000, session=desk.sessions.open("other"))
    session.admit(MEMORY, 1000)


def test_closing_ends_all_that_was_its_own_the_newest_first():
    desk = Desk()
    session = desk.sessions.open("s")
    other = desk.ledger.allocate(MEMORY, 10)
    leases = [desk.ledger.allocate(MEMORY, 10, session=session) for _ in range(3)]
    op = desk.operations.begin("op", memory=50, session=session)
    session.close()
    session.close()
    assert (op.state, other.active) == (ENDED, True)
    raises(Preempted, op.check)
    assert not any(lease.active for lease in leases)
    ended = [subject for kind, subject, _ in desk.events if kind == "lease"]
    assert ended[-3:] == [lease.id for lease in reversed(leases)]
    assert desk.ledger.outstanding(MEMORY) == 10
    assert desk.events[-1] == ("session", session.id, "closed")


def test_a_closed_session_owns_nothing_more():
    desk = Desk()
    session = desk.sessions.open("s")
    session.close()
    assert raises(Denied, session.admit, MEMORY, 1).reason == "session"
    assert raises(Denied, session.admit_operation).reason == "session"


def test_closing_gives_none_of_its_own_the_place_of_another():
    desk = Desk(max_operations=1)
    others = desk.ledger.allocate(MEMORY, 60_000, priority=0, on_preempt=lambda lease: None)
    session = desk.sessions.open("s")
    running = desk.operations.begin("running", 2)
    waits = {"wait_ms": 60_000, "session": session}
    older = desk.operations.begin("older", 2, memory=90_000, **waits)
    newer = desk.operations.begin("newer", 3, **waits)
    running.complete()
    assert newer.state == ACTIVE
    next_one = desk.operations.begin("next", 1, wait_ms=60_000)
    session.close()
    assert (older.state, newer.state, next_one.state) == (ENDED, ENDED, ACTIVE)
    assert others.active  # it would have been preempted for the older one


def test_sessions_that_are_over_at_once_give_each_other_nothing():
    desk = Desk(max_operations=1)
    sessions = [desk.sessions.open("s", ttl_ms=1000) for _ in range(2)]
    desk.operations.begin("running", session=sessions[0])
    waits = desk.operations.begin("waits", wait_ms=60_000, session=sessions[1])
    next_one = desk.operations.begin("next", wait_ms=60_000)
    desk.pass_ms(1000)
    assert ("operation", waits.id, "began") not in desk.events
    assert next_one.state == ACTIVE


def test_a_task_that_fails_when_cancelled_keeps_nothing_alive():
    class FakeTask:
        def cancel(self):
            raise RuntimeError("can't cancel self")

    desk = Desk()
    session = desk.sessions.open("s")
    op = desk.operations.begin("op", session=session)
    op.task = FakeTask()
    lease = desk.ledger.allocate(MEMORY, 10, session=session)
    session.close()
    assert (op.state, lease.active) == (ENDED, False)


def test_one_that_is_not_used_ends_and_use_renews_it():
    desk = Desk()
    session = desk.sessions.open("s", ttl_ms=1000)
    lease = desk.ledger.allocate(MEMORY, 10, session=session)
    desk.pass_ms(900)
    session.admit(MEMORY, 1)
    desk.pass_ms(900)
    assert lease.active
    desk.pass_ms(100)
    assert not lease.active
    assert desk.sessions.all() == []
    raises(KeyError, desk.sessions.find, session.id)


def test_the_table_has_a_fixed_size():
    desk = Desk()
    sessions = [desk.sessions.open(str(number)) for number in range(8)]
    assert raises(Denied, desk.sessions.open, "one more").reason == "table"
    sessions[0].close()
    assert desk.sessions.open("now").id == 9


def test_wrong_quotas_are_refused():
    desk = Desk()
    for wrong in (0, -1, "1", 1.5):
        raises(ValueError, desk.sessions.open, "s", memory=wrong)
        raises(ValueError, desk.sessions.open, "s", ttl_ms=wrong)


def test_a_context_closes_it():
    desk = Desk()
    with desk.sessions.open("s") as session:
        lease = desk.ledger.allocate(MEMORY, 10, session=session)
    assert not lease.active


def test_closing_needs_no_memory():
    desk = Desk(max_operations=3)
    session = desk.sessions.open("s")
    leases = [desk.ledger.allocate(MEMORY, 10, session=session, ttl_ms=None) for _ in range(3)]
    ops = [desk.operations.begin("op", session=session) for _ in range(3)]

    def nothing(kind, subject=None, detail=None, value=None):
        """Post no event: the rig's takes memory."""

    desk.clock.advance = lambda: None  # the rig's ticks take memory, too
    desk.sessions.post = desk.ledger.put = desk.operations.put = nothing
    with no_heap():
        session.close()
    assert not any(lease.active for lease in leases)
    assert [op.state for op in ops] == [ENDED] * 3
