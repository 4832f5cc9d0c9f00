"""Operations: never more than the limit, real preemption, and every one of them ends."""

from harness import no_heap, raises
from policy_rig import ACTIVE, ENDED, OVERDUE, STOPPING, WAITING, PolicyRig, WatchedRows
from usual import new_operation
from warden.errors import Denied, Preempted, TimedOut
from warden.sensors.threads import get_ident

LOW, NORMAL, HIGH, CRITICAL = range(4)


def _active(rig):
    return [op.name for op in rig.operations.all() if op.state == ACTIVE]


def test_at_most_max_operations_run_at_once():
    rig = PolicyRig(max_operations=2)
    one = rig.begin("one")
    rig.begin("two", timeout_ms=4000)
    error = raises(Denied, rig.begin, "three")
    assert (error.reason, error.blockers) == ("operations", (1, 2))
    assert error.retry_after_ms == 4000
    one.complete()
    assert rig.begin("three").state == ACTIVE


def test_completion_happens_whatever_is_raised():
    rig = PolicyRig(max_operations=1)
    for error in (ValueError, KeyboardInterrupt, MemoryError):
        try:
            with rig.begin("one") as op:
                raise error
        except error:
            pass
        assert op.state == ENDED
    op.complete()
    assert rig.operations.all() == []


def test_high_takes_the_place_of_the_lowest_begun_last():
    rig = PolicyRig(max_operations=3)
    rig.begin("normal", NORMAL)
    rig.begin("low, old", LOW)
    victim = rig.begin("low, new", LOW)
    high = rig.begin("high", HIGH)
    assert (victim.state, high.state) == (STOPPING, WAITING)
    raises(Preempted, victim.check)
    victim.complete()
    assert high.state == ACTIVE
    assert _active(rig) == ["normal", "low, old", "high"]


def test_a_victim_that_does_not_stop_is_overdue_and_its_place_passes_on():
    rig = PolicyRig(max_operations=1)
    victim = rig.begin("stubborn", LOW)
    high = rig.begin("high", HIGH)
    rig.pass_ms(1999)
    assert not rig.operations.poll_admission(high)
    rig.pass_ms(1)
    assert rig.operations.poll_admission(high)
    assert victim.state == OVERDUE
    assert victim in rig.operations.all()
    victim.complete()
    assert victim not in rig.operations.all()
    assert [event for event in rig.posted if event[1] == victim.id] == [
        ("operation", victim.id, "began"),
        ("operation", victim.id, "preempted"),
        ("operation", victim.id, "overdue"),
        ("operation", victim.id, "ended"),
    ]


def test_nobody_is_preempted_while_a_place_is_free():
    rig = PolicyRig(max_operations=2)
    low = rig.begin("low", LOW)
    running = rig.begin("running", LOW)
    rig.begin("waits for memory", HIGH, memory=200_000, wait_ms=60_000)
    assert running.state == STOPPING
    running.complete()
    assert not rig.operations.can_execute(HIGH)
    assert raises(Denied, rig.begin, "high", HIGH).reason == "operations"
    low.check()


def test_high_and_critical_are_never_victims():
    rig = PolicyRig(max_operations=1)
    rig.begin("high", HIGH)
    assert raises(Denied, rig.begin, "critical", CRITICAL).reason == "operations"


def test_normal_preempts_nobody():
    rig = PolicyRig(max_operations=1)
    low = rig.begin("low", LOW)
    raises(Denied, rig.begin, "normal", NORMAL)
    low.check()


def test_timeouts_work_as_preemption_does():
    rig = PolicyRig(max_operations=1)
    op = rig.begin("slow", timeout_ms=1000)
    waiting = rig.begin("next", wait_ms=60_000)
    rig.pass_ms(1000)
    raises(TimedOut, op.check)
    assert waiting.state == WAITING
    rig.pass_ms(2000)
    assert (op.state, waiting.state) == (OVERDUE, ACTIVE)


def test_a_task_is_cancelled_when_it_must_stop():
    class FakeTask:
        cancelled = 0

        def cancel(self):
            self.cancelled += 1

    rig = PolicyRig(max_operations=1)
    task = FakeTask()
    rig.begin("task", LOW, task=task)
    rig.begin("high", HIGH)
    assert task.cancelled == 1


def test_a_task_is_cancelled_in_its_own_thread_only():
    class FakeTask:
        cancelled = 0

        def cancel(self):
            self.cancelled += 1

    rig = PolicyRig(max_operations=1)
    task = FakeTask()
    rig.begin("task", LOW, task=task)
    rig.agent.thread = None
    rig.begin("high", HIGH)
    rig.pass_ms(10)
    assert task.cancelled == 0
    rig.agent.thread = get_ident()
    rig.pass_ms(10)
    rig.pass_ms(10)
    assert task.cancelled == 1


def test_waiting_goes_by_priority_then_age():
    rig = PolicyRig(max_operations=1)
    running = rig.begin("running", HIGH)
    waiting = [
        rig.begin(name, priority, wait_ms=60_000)
        for name, priority in (("a", LOW), ("b", NORMAL), ("c", NORMAL), ("d", HIGH))
    ]
    order = []
    while waiting:
        running.complete()
        running = next(op for op in waiting if op.state == ACTIVE)
        waiting.remove(running)
        order.append(running.name)
    assert order == ["d", "b", "c", "a"]


def test_a_later_equal_does_not_overtake_one_that_waits():
    rig = PolicyRig(max_operations=1)
    running = rig.begin("running")
    waiting = rig.begin("waiting", memory=200_000, wait_ms=60_000)
    running.complete()
    assert waiting.state == WAITING  # its memory is not there yet
    assert raises(Denied, rig.begin, "late").reason == "operations"
    rig.supply.amounts[0] = 300_000
    rig.operations.promote_waiters()  # as when a limit is set
    assert waiting.state == ACTIVE


def test_an_operation_waiting_for_memory_begins_when_a_lease_ends():
    rig = PolicyRig(max_operations=1)
    running = rig.begin("running")
    lease = rig.allocate(0, 60_000)
    waiting = rig.begin("waiting", memory=90_000, wait_ms=60_000)
    running.complete()
    assert waiting.state == WAITING
    lease.release()
    rig.pass_ms(10)
    assert waiting.state == ACTIVE


def test_a_wait_that_is_over_is_denied():
    rig = PolicyRig(max_operations=1)
    rig.begin("running")
    waiting = rig.begin("waiting", wait_ms=500)
    rig.pass_ms(499)
    assert not rig.operations.poll_admission(waiting)
    rig.pass_ms(1)
    raises(Denied, rig.operations.poll_admission, waiting)
    assert waiting.state == ENDED
    assert len(rig.operations.all()) == 1


def test_of_those_whose_wait_is_over_none_gets_a_place():
    rig = PolicyRig(max_operations=2)
    rig.begin("running", memory=60_000)
    running = rig.begin("running")
    rig.begin("first", memory=90_000, wait_ms=500)
    second = rig.begin("second", wait_ms=500)
    running.complete()
    rig.pass_ms(500)
    assert second.state == ENDED


def test_an_operation_that_lost_its_slot_before_it_resumed_is_denied():
    rig = PolicyRig(max_operations=1)
    running = rig.begin("running")
    waiting = rig.begin("waiting", wait_ms=60_000)
    running.complete()
    rig.begin("high", HIGH)
    assert waiting.state == STOPPING
    raises(Denied, rig.operations.poll_admission, waiting)
    rig.pass_ms(2000)
    assert waiting.state == OVERDUE
    raises(Denied, rig.operations.poll_admission, waiting)


def test_memory_is_admitted_with_it_or_not_at_all():
    rig = PolicyRig(max_operations=2)
    op = rig.begin("fits", memory=90_000)
    assert rig.leases.outstanding(0) == 90_000
    assert raises(Denied, rig.begin, "too much", memory=90_000).reason == "memory"
    assert len(rig.operations.all()) == 1
    op.complete()
    assert rig.leases.outstanding(0) == 0


def test_can_execute_says_what_begin_would_do():
    rig = PolicyRig(max_operations=1)
    assert rig.operations.can_execute(LOW)
    low = rig.begin("low", LOW)
    assert not rig.operations.can_execute(NORMAL)
    assert rig.operations.can_execute(HIGH)
    assert low.state == ACTIVE  # it was only asked
    low.complete()
    rig.begin("high", HIGH)
    assert not rig.operations.can_execute(CRITICAL)
    for wrong in ("1", None, 1.5, float("nan"), True):
        raises(TypeError, rig.operations.can_execute, wrong)
    for wrong in (-1, 4, 1 << 64):
        raises(ValueError, rig.operations.can_execute, wrong)


def test_the_table_has_a_fixed_size():
    rig = PolicyRig(max_operations=1)
    rig.begin("running")
    for _ in range(11):
        rig.begin("waiting", wait_ms=60_000)
    assert raises(Denied, rig.begin, "one more", wait_ms=1).reason == "table"


def test_wrong_arguments_are_refused():
    rig = PolicyRig()
    for arguments in ((None,), ("",), (5,), ("x", 4), ("x", -1), ("x", 1, 0), ("x", 1, -5)):
        raises(ValueError, rig.begin, *arguments)
    for arguments in (("x", "1"), ("x", None), ("x", 1, "1"), ("x", 1, 1.5), ("x", True)):
        raises(TypeError, rig.begin, *arguments)
    raises(ValueError, rig.begin, "x", wait_ms=-1)
    for memory in (-2, 1 << 30):
        raises(ValueError, rig.begin, "x", memory=memory)
    for memory in ("1", 1.5):
        raises(TypeError, rig.begin, "x", memory=memory)
    for limit in (0, 9):
        raises(ValueError, rig.set_limits, limit, None, None, None)
    assert rig.operations.all() == []


def test_progress_is_bounded():
    rig = PolicyRig()
    op = rig.begin("op")
    op.progress(2000, "x" * 100)
    assert (op.permille, op.text) == (1000, "x" * 24)
    op.progress(-5)
    assert (op.permille, op.text) == (0, "")
    op.progress(float("inf"))
    assert op.permille == 1000
    op.progress(3 * 1000 / 7)
    assert type(op.permille) is int and op.permille == 428


def test_progress_and_time_of_one_that_has_ended_are_nobody_elses():
    rig = PolicyRig()
    op = rig.begin("op")
    assert op.left_ms == 300_000
    op.progress(500, "half")
    op.complete()
    next_one = rig.begin("next", timeout_ms=5000)
    op.progress(700, "more")
    assert op.row == next_one.row
    assert (next_one.permille, next_one.text) == (0, "")
    assert (op.left_ms, next_one.left_ms) == (None, 5000)
    raises(AttributeError, getattr, op, "right_ms")


def test_its_memory_is_granted_for_its_time():
    rig = PolicyRig()
    op = rig.begin("stubborn", timeout_ms=1000, memory=90_000)
    rig.pass_ms(1000)
    assert (op.state, rig.leases.all()) == (STOPPING, [])


def test_whatever_is_raised_while_it_begins_leaves_nothing():
    for error in (KeyboardInterrupt, MemoryError, ValueError):
        for after in range(8):
            rig = PolicyRig(max_operations=2)
            low = rig.begin("low", LOW)
            rig.begin("other", HIGH)
            session = rig.sessions.open("s")
            op = new_operation(rig.operations, "new", HIGH, memory=1000, session=session)
            calls = [after]

            def failing(*args, calls=calls, error=error):
                calls[0] -= 1
                if calls[0] < 0:
                    raise error

            held = (rig.clock.advance, rig.events.add)
            rig.clock.advance = rig.events.add = failing
            try:
                rig.operations.begin(op)
                low.complete()
            except (error, Denied):
                pass
            rig.clock.advance, rig.events.add = held
            assert not rig.lock.taken
            for each in rig.operations.all():
                each.complete()
            rig.pass_ms(2000)
            assert rig.leases.all() == rig.operations.all() == [], after
            assert (rig.operations.places, rig.operations.waiting) == (0, 0), after
            assert rig.begin("next").state == ACTIVE


def test_ctrl_c_between_a_row_and_its_count_keeps_no_place():
    rig = PolicyRig(max_operations=2)
    operations = rig.operations
    calls = [0]

    def interrupt_at(number, function):
        def interrupted(*args):
            calls[0] += 1
            if calls[0] == number:
                raise KeyboardInterrupt
            return function(*args)

        return interrupted

    for number in range(1, 12):
        calls[0] = 0
        names = ("add", "remove", "mark_dirty", "end_in")
        for name in names:
            setattr(operations, name, interrupt_at(number, getattr(operations, name)))
        try:
            op = new_operation(operations, "op", memory=100)
            operations.begin(op)
            op.complete()
        except KeyboardInterrupt:
            pass
        for name in names:
            delattr(operations, name)
        assert not rig.lock.taken
        for each in operations.all():
            each.complete()
        rig.pass_ms(1)
        assert (operations.places, operations.waiting) == (0, 0), number
        assert operations.rows == [None] * 12, number
    assert calls[0] > 3


def test_with_no_memory_left_two_more_begin_and_the_next_is_refused_on_micropython():
    rig = PolicyRig(max_operations=8)
    rig.events.add, rig.clock.advance = _post_nothing, _pass_no_time  # the rig's take memory
    operations = rig.operations
    denied = None
    with no_heap():
        one = operations.begin(new_operation(operations, "one"))
        two = operations.begin(new_operation(operations, "two"))
        try:
            operations.begin(new_operation(operations, "three"))
        except Denied as error:
            denied = error
        can_execute = operations.can_execute(NORMAL)
    assert denied.reason == "memory"
    assert can_execute
    assert [op.name for op in operations.all()] == ["one", "two"]
    assert (one.state, two.state) == (ACTIVE, ACTIVE)
    with no_heap():
        one.complete()
        two.complete()
    assert operations.all() == [] and operations.places == 0
    operations.renew_spares()
    with no_heap():
        third = operations.begin(new_operation(operations, "three"))
    assert third is not one and third is not two  # nobody else's handle speaks for it
    one.progress(900)
    assert third.permille == 0 and not one.complete() and third.state == ACTIVE


def _post_nothing(kind, subject=None, detail=None, value=None):
    """Stand for the ring of events."""


def _pass_no_time():
    """Stand for the clock."""


def test_time_that_brings_nothing_allocates_nothing():
    rig = PolicyRig(max_operations=8)
    for _ in range(8):
        rig.begin("running")
    for _ in range(4):
        rig.begin("waiting", wait_ms=60_000)
    with no_heap():
        rig.operations.run_due()


def test_no_attribute_comes_after_others_can_see_an_operation_on_cpython():
    class FakeTask:
        def cancel(self):
            pass

    rig = PolicyRig(max_operations=2)
    rows = rig.operations.rows = WatchedRows(rig.operations.rows)
    begin = rig.begin
    session = rig.sessions.open("s")
    ops = [begin("task", LOW, task=FakeTask()), begin("memory", memory=1000, session=session)]
    ops.append(begin("waits", NORMAL, 5000, 90_000, 60_000, session))
    ops.append(begin("high", HIGH))
    ops[0].progress(500, "half")
    ops[0].complete()
    ops[1].complete()
    rig.pass_ms(5000)
    rig.pass_ms(2000)
    begin("slow", timeout_ms=10)
    rig.pass_ms(10)
    for op in rig.operations.all():
        op.complete()
    begin("short")
    with new_operation(rig.operations, "context"):
        pass
    rig.operations.spares[0].name = "spare"
    rig.operations.begin(rig.operations.spares.pop()).complete()
    assert rows.grown() == [set()] * 8


def test_one_that_nobody_ends_is_abandoned_a_minute_after_it_became_overdue():
    rig = PolicyRig(max_operations=1)
    for _ in range(12):
        rig.begin("lost", timeout_ms=10, memory=1000)
        rig.pass_ms(10)
        rig.pass_ms(2000)
    lost = rig.operations.all()
    denied = raises(Denied, rig.begin, "one more")
    assert denied.reason == "table"
    assert denied.retry_after_ms == lost[0].left_ms == 60_000 - 11 * 2010
    rig.pass_ms(denied.retry_after_ms)
    assert rig.begin("one more").state == ACTIVE
    assert ("operation", lost[0].id, "abandoned") in rig.posted
    assert lost[0].state == ENDED and not lost[0].complete()
    raises(TimedOut, lost[0].check)  # whoever comes back to it
    rig.pass_ms(60_000)
    assert [op.name for op in rig.operations.all()] == ["one more"]
