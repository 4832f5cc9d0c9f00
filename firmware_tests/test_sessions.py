"""Sessions: quotas hold, and with a session all that was its own ends."""

from harness import no_heap, raises
from policy_rig import ACTIVE, ENDED, PolicyRig
from warden.errors import Denied, Preempted

MEMORY, STORAGE = 0, 1


def refused(rig, admit, *args):
    """Return the Denied of a call that is made with the lock, as it has to be."""
    with rig.lock:
        return raises(Denied, admit, *args)


def test_a_quota_is_named_when_it_is_exceeded():
    rig = PolicyRig()
    session = rig.sessions.open("s", memory=1000, storage=2000, operations=1)
    session.admit(MEMORY, 1000)
    lease = rig.allocate(MEMORY, 600, session=session)
    error = refused(rig, session.admit, MEMORY, 401)
    assert (error.reason, error.available) == ("quota:memory", 400)
    assert error.blockers == (lease.id,)
    session.admit(MEMORY, 400)
    assert refused(rig, session.admit, STORAGE, 2001).reason == "quota:storage"
    session.admit_operation(None)
    rig.begin("op", session=session)
    assert refused(rig, session.admit_operation, None).reason == "quota:operations"


def test_the_memory_that_a_waiting_operation_needs_counts():
    rig = PolicyRig(max_operations=1)
    session = rig.sessions.open("s", memory=1000)
    running = rig.begin("running")
    rig.begin("waiting", memory=600, wait_ms=60_000, session=session)
    assert refused(rig, session.admit, MEMORY, 401).available == 400
    running.complete()
    assert refused(rig, session.admit, MEMORY, 401).available == 400


def test_an_operation_may_have_all_the_memory_of_the_quota():
    rig = PolicyRig(max_operations=1)
    session = rig.sessions.open("s", memory=1000)
    running = rig.begin("running", memory=1000, session=session)
    assert running.state == ACTIVE
    running.complete()
    running = rig.begin("running")
    waiting = rig.begin("waiting", memory=1000, wait_ms=60_000, session=session)
    running.complete()
    assert waiting.state == ACTIVE


def test_to_get_the_place_that_one_waited_for_is_no_use_of_the_session():
    rig = PolicyRig(max_operations=1)
    session = rig.sessions.open("s", ttl_ms=5000)
    running = rig.begin("running")
    waiting = rig.begin("waiting", memory=1000, wait_ms=60_000, session=session)
    rig.pass_ms(4000)
    running.complete()
    assert waiting.state == ACTIVE
    rig.pass_ms(1000)
    assert (waiting.state, session.is_open()) == (ENDED, False)


def test_what_others_have_does_not_count():
    rig = PolicyRig()
    session = rig.sessions.open("s", memory=1000)
    rig.allocate(MEMORY, 5000)
    rig.allocate(MEMORY, 5000, session=rig.sessions.open("other"))
    session.admit(MEMORY, 1000)


def test_closing_ends_all_that_was_its_own_the_newest_first():
    rig = PolicyRig()
    session = rig.sessions.open("s")
    other = rig.allocate(MEMORY, 10)
    leases = [rig.allocate(MEMORY, 10, session=session) for _ in range(3)]
    op = rig.begin("op", memory=50, session=session)
    session.close()
    session.close()
    assert (op.state, other.active) == (ENDED, True)
    raises(Preempted, op.check)
    assert not any(lease.active for lease in leases)
    ended = [subject for kind, subject, _ in rig.posted if kind == "lease"]
    assert ended[-3:] == [lease.id for lease in reversed(leases)]
    assert rig.leases.outstanding(MEMORY) == 10
    assert rig.posted[-1] == ("session", session.id, "closed")


def test_a_closed_session_owns_nothing_more():
    rig = PolicyRig()
    session = rig.sessions.open("s")
    session.close()
    assert refused(rig, session.admit, MEMORY, 1).reason == "session"
    assert refused(rig, session.admit_operation, None).reason == "session"


def test_closing_gives_none_of_its_own_the_place_of_another():
    rig = PolicyRig(max_operations=1)
    others = rig.allocate(MEMORY, 60_000, priority=0, on_preempt=lambda lease: None)
    session = rig.sessions.open("s")
    running = rig.begin("running", 2)
    waits = {"wait_ms": 60_000, "session": session}
    older = rig.begin("older", 2, memory=90_000, **waits)
    newer = rig.begin("newer", 3, **waits)
    running.complete()
    assert newer.state == ACTIVE
    next_one = rig.begin("next", 1, wait_ms=60_000)
    session.close()
    assert (older.state, newer.state, next_one.state) == (ENDED, ENDED, ACTIVE)
    assert others.active  # it would have been preempted for the older one


def test_sessions_that_are_over_at_once_give_each_other_nothing():
    rig = PolicyRig(max_operations=1)
    sessions = [rig.sessions.open("s", ttl_ms=1000) for _ in range(2)]
    rig.begin("running", session=sessions[0])
    waits = rig.begin("waits", wait_ms=60_000, session=sessions[1])
    next_one = rig.begin("next", wait_ms=60_000)
    rig.pass_ms(1000)
    assert ("operation", waits.id, "began") not in rig.posted
    assert next_one.state == ACTIVE


def test_a_task_that_fails_when_cancelled_keeps_nothing_alive():
    class FakeTask:
        def cancel(self):
            raise RuntimeError("can't cancel self")

    rig = PolicyRig()
    session = rig.sessions.open("s")
    op = rig.begin("op", session=session)
    op.task = FakeTask()
    lease = rig.allocate(MEMORY, 10, session=session)
    session.close()
    assert (op.state, lease.active) == (ENDED, False)


def test_one_that_is_not_used_ends_and_use_renews_it():
    rig = PolicyRig()
    session = rig.sessions.open("s", ttl_ms=1000)
    lease = rig.allocate(MEMORY, 10, session=session)
    rig.pass_ms(900)
    session.admit(MEMORY, 1)
    rig.pass_ms(900)
    assert lease.active
    rig.pass_ms(100)
    assert not lease.active
    assert rig.sessions.all() == []
    assert not session.is_open()


def test_the_table_has_a_fixed_size():
    rig = PolicyRig()
    sessions = [rig.sessions.open(str(number)) for number in range(8)]
    error = raises(Denied, rig.sessions.open, "one more")
    assert (error.reason, error.blockers) == ("table", tuple(range(1, 9)))
    assert error.retry_after_ms is None  # none of them ends by itself
    sessions[0].close()
    assert rig.sessions.open("now", ttl_ms=5000).id == 9
    assert raises(Denied, rig.sessions.open, "one more").retry_after_ms == 5000


def test_a_name_that_no_host_could_read_is_refused():
    rig = PolicyRig()
    for name in (b"a topic of umqtt", None, ["s"]):
        raises(TypeError, rig.sessions.open, name)
    raises(TypeError, rig.begin("op").progress, 500, b"half")
    assert rig.sessions.all() == []


def test_wrong_quotas_are_refused():
    rig = PolicyRig()
    for wrong, error in ((0, ValueError), (-1, ValueError), ("1", TypeError), (1.5, TypeError)):
        for name in ("memory", "storage", "operations", "ttl_ms"):
            raises(error, rig.sessions.open, "s", **{name: wrong})
    assert rig.sessions.all() == []


def test_a_context_closes_it():
    rig = PolicyRig()
    with rig.sessions.open("s") as session:
        lease = rig.allocate(MEMORY, 10, session=session)
    assert not lease.active


def test_closing_needs_no_memory():
    rig = PolicyRig(max_operations=3)
    session = rig.sessions.open("s")
    leases = [rig.allocate(MEMORY, 10, session=session, ttl_ms=None) for _ in range(3)]
    ops = [rig.begin("op", session=session) for _ in range(3)]

    def nothing(kind, subject=None, detail=None, value=None):
        """Post no event: the rig's takes memory."""

    rig.clock.advance = lambda: None  # the rig's ticks take memory, too
    rig.events.add = nothing
    with no_heap():
        session.close()
    assert not any(lease.active for lease in leases)
    assert [op.state for op in ops] == [ENDED] * 3


def test_what_comes_between_the_quota_and_the_grant_cannot_pass_it_too():
    """As another thread would, at each moment at which the session's lock is free."""
    for moment in range(1, 6):
        rig = PolicyRig(max_operations=8)
        session = rig.sessions.open("s", memory=1000, operations=1)
        left = [moment]

        def other(*args, rig=rig, session=session, left=left):
            left[0] -= 1
            if left[0] == 0 and not rig.lock.taken:
                grant_both(rig, session)

        rig.clock.advance = rig.pressure.admit = other
        grant_both(rig, session)
        assert rig.leases.outstanding(MEMORY) == 600, moment
        assert len(rig.operations.all()) == 1, moment


def grant_both(rig, session):
    """Grant the session a lease and an operation, as far as its quotas allow."""
    for grant, what in ((rig.allocate, (MEMORY, 600)), (rig.begin, ("op",))):
        try:
            grant(*what, session=session)
        except Denied:
            pass
