# targets: unix frozen qemu
# heap: 600k
"""The watchdog's decisions, in a time that is set by hand, with a fake Timer and a fake WDT."""

import warden
from harness import no_heap, raises
from usual import new_operation
from warden.duties_setup import add
from warden.hardware_watchdog import start_hardware
from warden.sleep import Sleeping
from watchdog_rig import Rig, nothing, without_asyncio

_CRITICAL = 2
_AVAILABLE, _NO_WATCHDOG, _NO_TICKER = 0, 14, 15
_CAN_HANG = 15
_UNFED = 6
_STOP, _RESET = "stop", "reset"
_TEN_MINUTES_MS = 600_000


class _Task:
    """Stands in for a task of asyncio."""

    coro = None


@without_asyncio
def test_a_hang_is_reported_while_it_lasts_and_when_it_is_over():
    with Rig() as rig:
        rig.configure()
        rig.pass_ms(5000)
        assert rig.events() == []
        operation = new_operation(rig.agent.policy.operations, "upload")
        rig.agent.policy.operations.begin(operation)
        rig.pass_ms(3000, turns=False)
        assert rig.events() == [("begun", "upload", 2100)]
        rig.pass_ms(100)
        assert rig.events()[1:] == [("over", "upload", 3100)]
        assert rig.agent.reasons[_CAN_HANG] == _AVAILABLE


@without_asyncio
def test_without_a_ticker_it_is_reported_when_it_is_over():
    with Rig(has_timer=False) as rig:
        rig.configure()
        rig.pass_ms(3000, turns=False)
        rig.pass_ms(200)
        assert rig.events() == [("over", None, 3100)]
        assert rig.agent.reasons[_CAN_HANG] == _NO_TICKER


@without_asyncio
def test_an_operation_with_a_timeout_of_its_own_has_that_time():
    with Rig() as rig:
        rig.configure(hardware_ms=1000)
        operations = rig.agent.policy.operations
        for timeout_ms, hung in ((10_000, []), (None, ["begun"])):
            operation = new_operation(operations, "flash", timeout_ms=timeout_ms)
            operations.begin(operation)
            rig.pass_ms(9000 if timeout_ms else 2500, turns=False)
            assert [event[0] for event in rig.events()] == hung
            assert not rig.machine.dog.has_bitten
            operations.end(operation)
            rig.pass_ms(100)
        operation = new_operation(operations, "erase", timeout_ms=4000)
        operations.begin(operation)
        rig.pass_ms(4500, turns=False)
        assert rig.events()[-1][:2] == ("begun", "erase")
        rig.pass_ms(1000, turns=False)
        operations.end(operation)
        rig.pass_ms(100)
        assert rig.events()[-1] == ("over", "erase", 5500)


@without_asyncio
def test_operations_that_a_thread_ends_do_not_hide_that_the_application_hangs():
    for thread, hung in ((None, []), ("another one", ["begun"])):
        with Rig() as rig:
            rig.configure()
            operations = rig.agent.policy.operations
            if thread:
                rig.runner.thread = thread
            for _ in range(6):
                operation = new_operation(operations, "poll", timeout_ms=500)
                operations.begin(operation)
                operations.end(operation)
                rig.pass_ms(1000, turns=False)
            assert [event[0] for event in rig.events()] == hung


@without_asyncio
def test_what_a_thread_announces_is_not_the_applications_time():
    with Rig() as rig:
        rig.configure()
        rig.runner.thread = "another one"
        operations = rig.agent.policy.operations
        operations.begin(new_operation(operations, "long", timeout_ms=20_000))
        rig.pass_ms(2500, turns=False)
        assert [event[0] for event in rig.events()] == ["begun"]


@without_asyncio
def test_an_announced_sleep_is_no_hang_and_not_the_time_of_check_ins():
    with Rig() as rig:
        rig.board.crashes = rig.crashes
        rig.configure(hardware_ms=1000)
        uplink = add(rig.dog, "uplink", 3000)
        rig.pass_ms(300)
        with Sleeping():
            rig.pass_ms(5000, turns=False)
            rig.agent.poll()  # as a thread's call does
            rig.pass_ms(5000, turns=False)
        rig.pass_ms(2000)
        assert rig.events() == [] and not rig.machine.dog.has_bitten
        uplink.feed()
        rig.pass_ms(2500, turns=False)
        assert [event[0] for event in rig.events()] == ["begun"]


@without_asyncio
def test_a_hang_while_a_task_awaits_inside_an_announced_sleep_is_one():
    with Rig() as rig:
        rig.board.crashes = rig.crashes
        rig.configure()
        task = _Task()
        rig.runner.tasks.append(task)
        for sleeps_in_another in (True, False):
            with Sleeping():
                rig.dog.current = lambda: task  # the agent's task polls, so the loop goes on
                rig.pass_ms(300)
                rig.agent.load.polled_ms = rig.board.ticks_ms()  # as it notes
                rig.dog.current = lambda: None
                if sleeps_in_another:
                    with Sleeping():
                        rig.pass_ms(10_000, turns=False)
                    assert rig.events() == []
                else:
                    rig.pass_ms(2500, turns=False)
                    assert [event[0] for event in rig.events()] == ["begun"]


@without_asyncio
def test_a_sleep_that_never_ended_is_none_of_the_next_agent():
    with Rig() as rig:
        rig.board.crashes = rig.crashes
        Sleeping().__enter__()
    with Rig() as rig:
        rig.board.crashes = rig.crashes
        rig.configure()
        with Sleeping():
            rig.pass_ms(10_000, turns=False)
        assert rig.events() == []


@without_asyncio
def test_turns_of_a_timer_prove_nothing():
    with Rig(is_run_by_timer=True) as rig:
        raises(RuntimeError, rig.configure)
        sensor = add(rig.dog, "sensor", 3000)
        rig.configure(hardware_ms=1000)
        for _ in range(5):
            sensor.feed()
            rig.pass_ms(2000, turns=False)
        assert rig.events() == []
        rig.pass_ms(2000, turns=False)
        assert rig.events() == [("late", "sensor", 3100)]
        assert rig.machine.dog.has_bitten
    with Rig(is_run_by_timer=True) as rig:
        rig.configure(polled=True)
        polled_ms = rig.agent.polled_ms
        rig.pass_ms(3000, turns=False, by_timer=True)
        assert rig.agent.polled_ms != polled_ms
        assert [event[0] for event in rig.events()] == ["begun"]


@without_asyncio
def test_the_hardware_watchdog_bites_when_somebody_does_not_check_in_and_knows_who():
    for has_timer in (True, False):
        with Rig(has_timer) as rig:
            sensor = add(rig.dog, "sensor", 1000)
            uplink = add(rig.dog, "uplink", 5000)
            rig.configure(hardware_ms=1000)
            for _ in range(20):
                rig.pass_ms(500)
                sensor.feed()
                uplink.feed()
            assert not rig.machine.dog.has_bitten
            rig.pass_ms(1200)
            assert (rig.crashes.state, rig.crashes.subject) == (_UNFED, "sensor")
            assert not rig.machine.dog.has_bitten  # the name is there before
            rig.pass_ms(1000)
            assert rig.machine.dog.has_bitten
            assert rig.events()[0] == ("late", "sensor", 1100)


@without_asyncio
def test_who_checks_in_again_before_it_bites_has_it_fed_again():
    with Rig() as rig:
        sensor = add(rig.dog, "sensor", 1000)
        rig.configure(hardware_ms=1000)
        rig.pass_ms(1500)
        sensor.feed()
        rig.pass_ms(900)
        sensor.close()
        rig.pass_ms(5000)
        assert not rig.machine.dog.has_bitten
        assert rig.crashes.subject is None
        assert rig.crashes.state != _UNFED


@without_asyncio
def test_time_without_a_turn_is_not_the_check_ins():
    with Rig() as rig:
        add(rig.dog, "sensor", 1500)
        rig.configure()
        rig.pass_ms(1900, turns=False)
        rig.pass_ms(1000)
        assert rig.events() == []
        rig.pass_ms(700)
        assert rig.events()[0][:2] == ("late", "sensor")


@without_asyncio
def test_what_is_critical_for_too_long_is_not_fed():
    with Rig() as rig:
        rig.configure(hardware_ms=1000)
        rig.agent.policy.pressure.level = _CRITICAL
        rig.pass_ms(59_000)
        assert not rig.machine.dog.has_bitten
        rig.pass_ms(3000)
        assert rig.machine.dog.has_bitten
        assert rig.crashes.subject == "pressure"


@without_asyncio
def test_an_agent_that_only_watches_is_fed_and_has_no_events():
    with Rig(limits=None) as rig:
        rig.configure(hardware_ms=1000)
        rig.pass_ms(70_000)
        assert not rig.machine.dog.has_bitten
        rig.pass_ms(4000, turns=False)
        assert rig.machine.dog.has_bitten


@without_asyncio
def test_after_the_end_a_timer_feeds_it_for_ten_minutes():
    with Rig() as rig:
        rig.configure(hardware_ms=1000)
        rig.pass_ms(2000)
        rig.dog.end(True)
        rig.pass_ms(_TEN_MINUTES_MS - 1000, turns=False)
        assert not rig.machine.dog.has_bitten
        rig.pass_ms(3000, turns=False)
        assert rig.machine.dog.has_bitten
    with Rig() as rig:  # after an exception nothing feeds it
        rig.configure(hardware_ms=1000)
        rig.dog.end(True)  # as `warden.stop()` does, inside the application
        rig.dog.end(False)
        rig.pass_ms(2000, turns=False)
        assert rig.machine.dog.has_bitten


@without_asyncio
def test_a_board_that_cannot_interrupt_is_reset_for_a_hang():
    with Rig() as rig:
        rig.configure(action=_RESET)
        rig.dog.action.interrupt = None
        rig.pass_ms(3000, turns=False)
        assert rig.resets
        assert rig.events()[0][0] == "begun"


@without_asyncio
def test_what_makes_no_sense_raises():
    with Rig() as rig:
        rig.crashes.main = None  # not run by warden.run()
        raises(RuntimeError, rig.configure, _STOP)
        raises(RuntimeError, rig.configure, hardware_ms=1000)
        rig.crashes.main = nothing
        rig.board.reset = None
        raises(ValueError, rig.configure, _RESET)
        error = raises(ValueError, start_hardware, rig.board, 9000)
        assert "9000" in str(error) and "8388" in str(error)
        rig.machine.WDT = None
        raises(ValueError, start_hardware, rig.board, 100)
        for number in range(8):
            add(rig.dog, "n%d" % number, 1000)
        add(rig.dog, "n3", 2000)
        raises(ValueError, add, rig.dog, "n8", 1000)
    raises(ValueError, warden.checkin, "", 1000)
    raises(ValueError, warden.watchdog, 100)
    raises(ValueError, warden.watchdog, 1000, "panic")
    raises(RuntimeError, warden.watchdog)  # there is no agent


@without_asyncio
def test_turns_and_ticks_allocate_nothing():
    with Rig() as rig:
        add(rig.dog, "sensor", 100_000)
        rig.configure(hardware_ms=1000)
        rig.pass_ms(1000)
        ticks = rig.board.ticks
        poll = rig.agent.poll
        tick = rig.dog.run_due
        with no_heap():
            for _ in range(20):
                ticks.pass_ms(100)
                poll()
                tick(0)
        assert rig.machine.dog.feeds > 5


@without_asyncio
def test_a_sleep_inside_another_leaves_the_outer_one_announced():
    with Rig() as rig:
        rig.board.crashes = rig.crashes
        rig.configure()
        rig.pass_ms(500)
        with Sleeping():
            with Sleeping():
                rig.pass_ms(1000, turns=False)
            rig.pass_ms(3000, turns=False)
        rig.pass_ms(500)
        assert rig.events() == []
        rig.pass_ms(3000, turns=False)
        assert rig.events()[0][0] == "begun"


@without_asyncio
def test_ticks_that_jump_back_keep_it_fed_and_check_ins_in_force():
    with Rig() as rig:
        sensor = add(rig.dog, "sensor", 1000)
        rig.configure(hardware_ms=1000)
        for _ in range(3):
            rig.pass_ms(500)
            sensor.feed()
        rig.board.ticks.pass_ms(-1400)
        rig.machine.dog.fed_ms -= 1400  # its own clock has not jumped
        for _ in range(3):  # longer than it waits for
            rig.pass_ms(500)
            sensor.feed()
        assert not rig.machine.dog.has_bitten
        rig.board.ticks.pass_ms(-1400)
        rig.pass_ms(1800)
        assert rig.events()[0][:2] == ("late", "sensor")


@without_asyncio
def test_the_hour_of_restarts_ends_in_whatever_half_of_the_ticks_it_began():
    with Rig() as rig:
        rig.configure(_STOP)
        stopper = rig.dog.action
        stopper.restarts = stopper.max_restarts
        stopper.hour_ms = rig.board.ticks_ms() + 1000  # as after six days: ticks wrap
        stopper.requested_ms = rig.board.ticks_ms()
        assert stopper.act(KeyboardInterrupt())
        assert (rig.resets, stopper.restarts) == (0, 1)


def test_an_operation_of_an_agent_before_ends_where_it_began():
    for protect in (False, True):
        warden.start(link=False)
        warden.watchdog(2000, polled=True)
        before = warden.begin("before", timeout_ms=60_000)
        rows = before.table.rows
        warden.stop()
        warden.start(link=False, protect=protect)
        try:
            warden.watchdog(2000, polled=True)
            after = warden.begin("after") if protect else None
            assert before.complete() and before not in rows
            if protect:
                assert [op.name for op in warden.operations()] == ["after"]
                assert after.complete()
        finally:
            warden.stop()
