"""Operations: never more than the limit, real preemption, and every one of them ends."""

from harness import no_heap, raises
from policy_rig import Desk, Shown
from warden.errors import Denied, Preempted, TimedOut
from warden.slots import ACTIVE, ENDED, OVERDUE, STOPPING, WAITING

LOW, NORMAL, HIGH, CRITICAL = range(4)


def _active(desk):
    return [op.name for op in desk.operations.all() if op.state == ACTIVE]


def test_at_most_so_many_at_once():
    desk = Desk(max_operations=2)
    one = desk.operations.begin("one")
    desk.operations.begin("two", timeout_ms=4000)
    error = raises(Denied, desk.operations.begin, "three")
    assert (error.reason, error.blockers) == ("operations", (1, 2))
    assert error.retry_after_ms == 4000
    one.complete()
    assert desk.operations.begin("three").state == ACTIVE


def test_completion_happens_whatever_is_raised():
    desk = Desk(max_operations=1)
    for error in (ValueError, KeyboardInterrupt, MemoryError):
        try:
            with desk.operations.begin("one") as op:
                raise error
        except error:
            pass
        assert op.state == ENDED
    op.complete()
    assert desk.operations.all() == []


def test_high_takes_the_place_of_the_lowest_begun_last():
    desk = Desk(max_operations=3)
    desk.operations.begin("normal", NORMAL)
    desk.operations.begin("low, old", LOW)
    victim = desk.operations.begin("low, new", LOW)
    high = desk.operations.begin("high", HIGH)
    assert (victim.state, high.state) == (STOPPING, WAITING)
    raises(Preempted, victim.check)
    victim.complete()
    assert high.state == ACTIVE
    assert _active(desk) == ["normal", "low, old", "high"]


def test_a_victim_that_does_not_stop_is_overdue_and_its_place_passes_on():
    desk = Desk(max_operations=1)
    victim = desk.operations.begin("stubborn", LOW)
    high = desk.operations.begin("high", HIGH)
    desk.pass_ms(1999)
    assert not desk.operations.settle(high)
    desk.pass_ms(1)
    assert desk.operations.settle(high)
    assert victim.state == OVERDUE
    assert victim in desk.operations.all()
    assert ("operation", victim.id, "overdue") in desk.events
    victim.complete()
    assert victim not in desk.operations.all()


def test_nobody_is_preempted_while_a_place_is_free():
    desk = Desk(max_operations=2)
    low = desk.operations.begin("low", LOW)
    running = desk.operations.begin("running", LOW)
    desk.operations.begin("waits for memory", HIGH, memory=200_000, wait_ms=60_000)
    assert running.state == STOPPING
    running.complete()
    assert not desk.operations.can_execute(HIGH)
    assert raises(Denied, desk.operations.begin, "high", HIGH).reason == "operations"
    low.check()


def test_high_and_critical_are_never_victims():
    desk = Desk(max_operations=1)
    desk.operations.begin("high", HIGH)
    assert raises(Denied, desk.operations.begin, "critical", CRITICAL).reason == "operations"


def test_normal_preempts_nobody():
    desk = Desk(max_operations=1)
    low = desk.operations.begin("low", LOW)
    raises(Denied, desk.operations.begin, "normal", NORMAL)
    low.check()


def test_timeouts_work_as_preemption_does():
    desk = Desk(max_operations=1)
    op = desk.operations.begin("slow", timeout_ms=1000)
    waiting = desk.operations.begin("next", wait_ms=60_000)
    desk.pass_ms(1000)
    raises(TimedOut, op.check)
    assert waiting.state == WAITING
    desk.pass_ms(2000)
    assert (op.state, waiting.state) == (OVERDUE, ACTIVE)


def test_a_task_is_cancelled_when_it_must_stop():
    class FakeTask:
        cancelled = 0

        def cancel(self):
            self.cancelled += 1

    desk = Desk(max_operations=1)
    op = desk.operations.begin("task", LOW)
    op.task = task = FakeTask()
    desk.operations.begin("high", HIGH)
    assert task.cancelled == 1


def test_a_task_is_cancelled_in_its_own_thread_only():
    class FakeTask:
        cancelled = 0

        def cancel(self):
            self.cancelled += 1

    desk = Desk(max_operations=1)
    op = desk.operations.begin("task", LOW)
    op.task = task = FakeTask()
    desk.in_loop = False
    desk.operations.begin("high", HIGH)
    desk.pass_ms(10)
    assert task.cancelled == 0
    desk.in_loop = True
    desk.pass_ms(10)
    desk.pass_ms(10)
    assert task.cancelled == 1


def test_waiting_goes_by_priority_then_age():
    desk = Desk(max_operations=1)
    running = desk.operations.begin("running", HIGH)
    waiting = [
        desk.operations.begin(name, priority, wait_ms=60_000)
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
    desk = Desk(max_operations=1)
    running = desk.operations.begin("running")
    waiting = desk.operations.begin("waiting", memory=200_000, wait_ms=60_000)
    running.complete()
    assert waiting.state == WAITING  # its memory is not there yet
    assert raises(Denied, desk.operations.begin, "late").reason == "operations"
    desk.supply.amounts[0] = 300_000
    desk.operations.set_limit(1)  # whoever waits is looked at again
    assert waiting.state == ACTIVE


def test_who_waits_for_memory_has_it_when_a_lease_ends():
    desk = Desk(max_operations=1)
    running = desk.operations.begin("running")
    lease = desk.ledger.allocate(0, 60_000)
    waiting = desk.operations.begin("waiting", memory=90_000, wait_ms=60_000)
    running.complete()
    assert waiting.state == WAITING
    lease.release()
    desk.pass_ms(10)
    assert waiting.state == ACTIVE


def test_a_wait_that_is_over_is_denied():
    desk = Desk(max_operations=1)
    desk.operations.begin("running")
    waiting = desk.operations.begin("waiting", wait_ms=500)
    desk.pass_ms(499)
    assert not desk.operations.settle(waiting)
    desk.pass_ms(1)
    raises(Denied, desk.operations.settle, waiting)
    assert waiting.state == ENDED
    assert len(desk.operations.all()) == 1


def test_of_those_whose_wait_is_over_none_gets_a_place():
    desk = Desk(max_operations=2)
    desk.operations.begin("running", memory=60_000)
    running = desk.operations.begin("running")
    desk.operations.begin("first", memory=90_000, wait_ms=500)
    second = desk.operations.begin("second", wait_ms=500)
    running.complete()
    desk.pass_ms(500)
    assert second.state == ENDED


def test_who_lost_the_place_before_looking_is_denied():
    desk = Desk(max_operations=1)
    running = desk.operations.begin("running")
    waiting = desk.operations.begin("waiting", wait_ms=60_000)
    running.complete()
    desk.operations.begin("high", HIGH)
    assert waiting.state == STOPPING
    raises(Denied, desk.operations.settle, waiting)
    desk.pass_ms(2000)
    assert waiting.state == OVERDUE
    raises(Denied, desk.operations.settle, waiting)


def test_memory_is_admitted_with_it_or_not_at_all():
    desk = Desk(max_operations=2)
    op = desk.operations.begin("fits", memory=90_000)
    assert desk.ledger.outstanding(0) == 90_000
    assert raises(Denied, desk.operations.begin, "too much", memory=90_000).reason == "memory"
    assert len(desk.operations.all()) == 1
    op.complete()
    assert desk.ledger.outstanding(0) == 0


def test_can_execute_says_what_begin_would_do():
    desk = Desk(max_operations=1)
    assert desk.operations.can_execute(LOW)
    low = desk.operations.begin("low", LOW)
    assert not desk.operations.can_execute(NORMAL)
    assert desk.operations.can_execute(HIGH)
    assert low.state == ACTIVE  # it was only asked
    low.complete()
    desk.operations.begin("high", HIGH)
    assert not desk.operations.can_execute(CRITICAL)


def test_the_table_has_a_fixed_size():
    desk = Desk(max_operations=1)
    desk.operations.begin("running")
    for _ in range(11):
        desk.operations.begin("waiting", wait_ms=60_000)
    assert raises(Denied, desk.operations.begin, "one more", wait_ms=1).reason == "table"


def test_wrong_arguments_are_refused():
    desk = Desk()
    for arguments in (("",), (5,), ("x", 4), ("x", -1), ("x", 1, 0), ("x", 1, "1")):
        raises(ValueError, desk.operations.begin, *arguments)
    raises(ValueError, desk.operations.begin, "x", wait_ms=-1)
    for memory in (-1, 1 << 30, "1", 1.5):
        raises(ValueError, desk.operations.begin, "x", memory=memory)
    for limit in (0, 9):
        raises(ValueError, desk.operations.set_limit, limit)
    assert desk.operations.all() == []


def test_progress_is_bounded():
    desk = Desk()
    op = desk.operations.begin("op")
    op.progress(2000, "x" * 100)
    assert desk.operations.told[op.row] == (1000, "x" * 24)
    op.progress(-5)
    assert desk.operations.told[op.row] == (0, "")


def test_progress_of_one_that_has_ended_is_nobody_elses():
    desk = Desk()
    op = desk.operations.begin("op")
    op.progress(500, "half")
    op.complete()
    next_one = desk.operations.begin("next")
    op.progress(700)
    assert (op.row, desk.operations.told[op.row]) == (next_one.row, (0, ""))


def test_time_that_brings_nothing_allocates_nothing():
    desk = Desk(max_operations=8)
    for _ in range(8):
        desk.operations.begin("running")
    for _ in range(4):
        desk.operations.begin("waiting", wait_ms=60_000)
    with no_heap():
        desk.operations.tick()


def test_no_attribute_comes_after_others_can_see_an_operation_on_cpython():
    class FakeTask:
        def cancel(self):
            pass

    desk = Desk(max_operations=2)
    table = desk.operations.table = Shown(desk.operations.table)
    begin = desk.operations.begin
    session = desk.sessions.open("s")
    ops = [begin("task", LOW, task=FakeTask()), begin("memory", memory=1000, session=session)]
    ops.append(begin("waits", NORMAL, 5000, 90_000, 60_000, session))
    ops.append(begin("high", HIGH))
    ops[0].progress(500, "half")
    ops[0].complete()
    ops[1].complete()
    desk.pass_ms(5000)
    desk.pass_ms(2000)
    begin("slow", timeout_ms=10)
    desk.pass_ms(10)
    for op in desk.operations.all():
        op.complete()
    begin("short")
    desk.operations.start("short").complete()
    assert table.grown() == [set()] * 7
