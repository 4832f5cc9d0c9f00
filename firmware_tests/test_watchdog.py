# targets: unix frozen qemu
# heap: 600k
"""The watchdog's decisions, in a time that is set by hand, with a fake Timer and a fake WDT."""

import sys

import warden
from harness import no_heap, raises
from rig import FakeLink
from usual import new_operation
from virtual_board import VirtualBoard
from warden.crash_setup import attach, make_crashes
from warden.duties_setup import add
from warden.hardware_watchdog import start_hardware
from warden.launch import make_runner
from warden.runner import Runner
from warden.setup import make_agent
from warden.sleep import Sleeping
from warden.watchdog_setup import launch, make_watchdog

_CRITICAL = 2
_LIMITS = (4, 300_000, 100, 5000)
_STEPS = ("begun", "over", "stopped", "reset", "late")  # ids.HANG_STEPS
_AVAILABLE, _NO_WATCHDOG, _NO_TICKER = 0, 14, 15
_CAN_HANG = 15
_UNFED = 6
_TELL, _STOP, _RESET = "tell", "stop", "reset"
_TEN_MINUTES_MS = 600_000


class SmallTicks:
    """Ticks that never wrap, nor take heap on 32 bits, as those of `FakeTicks` do."""

    def __init__(self):
        self.now = 0

    def pass_ms(self, ms):
        self.now += ms

    def ticks_ms(self):
        return self.now

    def ticks_us(self):
        return self.now % 1000 * 1000

    def ticks_diff(self, end, start):
        return end - start


class FakeTimer:
    """Stands in for a virtual `machine.Timer`; `fire()` is the interrupt."""

    PERIODIC = 1

    def __init__(self, number):
        assert number == -1

    def init(self, period, mode, callback):
        self.period = period
        self.callback = callback

    def deinit(self):
        self.callback = None


class FakeWDT:
    """Stands in for `machine.WDT`: it cannot be stopped, and `has_bitten` once it was not fed."""

    def __init__(self, ticks, timeout):
        if timeout > 8388:
            raise ValueError("timeout exceeds 8388")
        self.ticks = ticks
        self.timeout = timeout
        self.fed_ms = ticks.ticks_ms()
        self.has_bitten = False
        self.feeds = 0

    def look(self):
        """Bite if it is time; return whether it has bitten."""
        if self.ticks.ticks_diff(self.ticks.ticks_ms(), self.fed_ms) > self.timeout:
            self.has_bitten = True
        return self.has_bitten

    def feed(self):
        if not self.look():
            self.fed_ms = self.ticks.ticks_ms()
            self.feeds += 1


class FakeMachine:
    """Stands in for `machine`: with a WDT, and a Timer unless there is none."""

    def __init__(self, ticks, has_timer):
        self.ticks = ticks
        self.dog = None
        if has_timer:
            self.Timer = FakeTimer

    def WDT(self, timeout):
        self.dog = FakeWDT(self.ticks, timeout)
        return self.dog


class _Rig:
    """A board with an agent, and a watchdog for it; `with` removes the fake `machine`."""

    def __init__(self, has_timer=True, is_run_by_timer=False, limits=_LIMITS):
        self.board = VirtualBoard()
        self.board.ticks = ticks = SmallTicks()
        self.board.ticks_ms = ticks.ticks_ms
        self.board.ticks_us = ticks.ticks_us
        self.board.ticks_diff = ticks.ticks_diff
        self.board.reset = self.on_reset
        self.board.identity = ("fake", "fake", "fake", b"", None, "0")
        self.resets = 0
        self.machine = self.board.machine = FakeMachine(self.board.ticks, has_timer)
        self.real = sys.modules.get("machine")
        sys.modules["machine"] = self.machine
        self.agent = make_agent(self.board, 600_000, 10, FakeLink(), limits)
        if limits is not None:
            self.agent.policy.thresholds.set("memory")
        self.agent.threads.start = None  # a port without threads
        self.crashes = make_crashes(self.board)
        self.runner = Runner.current = make_runner(self.agent)
        if is_run_by_timer:
            self.runner.timer = FakeTimer(-1)
        attach(self.crashes, self.agent)
        self.crashes.main = _nothing
        self.dog = self.crashes.watchdog = make_watchdog(self.crashes)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        Runner.current = None
        if self.real is None:
            del sys.modules["machine"]
        else:
            sys.modules["machine"] = self.real
        return False

    def on_reset(self):
        self.resets += 1

    def configure(self, action=_TELL, hardware_ms=None, polled=False):
        launch(self.dog, 2000, action, hardware_ms, 60_000, 6, polled)

    def pass_ms(self, ms, turns=True, ticks=True):
        """Let time pass, with turns and ticks each 100 ms."""
        for _ in range(ms // 100):
            self.board.ticks.pass_ms(100)
            if turns:
                self.agent.poll()
            if ticks and self.dog.timer:
                self.dog.run_due(0)
            if self.machine.dog is not None:
                self.machine.dog.look()

    def events(self):
        """Return subject, detail and value of the events `hang`."""
        events = self.agent.policy.events
        found = [events.event(number) for number in range(events.seq)]
        return [
            tuple([_STEPS[event[4]], event[5], event[6]]) for event in found if event[1] == "hang"
        ]


class _Task:
    """Stands in for a task of asyncio."""

    coro = None


def _without_asyncio(test):
    """Return a test that sees no asyncio: whether one was imported depends on the tests before."""

    def run():
        module = sys.modules.pop("asyncio.core", None)
        try:
            test()
        finally:
            if module is not None:
                sys.modules["asyncio.core"] = module

    return run


@_without_asyncio
def test_a_hang_is_reported_while_it_lasts_and_when_it_is_over():
    with _Rig() as rig:
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


@_without_asyncio
def test_without_a_ticker_it_is_reported_when_it_is_over():
    with _Rig(has_timer=False) as rig:
        rig.configure()
        rig.pass_ms(3000, turns=False)
        rig.pass_ms(200)
        assert rig.events() == [("over", None, 3100)]
        assert rig.agent.reasons[_CAN_HANG] == _NO_TICKER


@_without_asyncio
def test_an_operation_with_a_timeout_of_its_own_has_that_time():
    with _Rig() as rig:
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


@_without_asyncio
def test_operations_that_a_thread_ends_do_not_hide_that_the_application_hangs():
    for thread, hung in ((None, []), ("another one", ["begun"])):
        with _Rig() as rig:
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


@_without_asyncio
def test_what_a_thread_announces_is_not_the_applications_time():
    with _Rig() as rig:
        rig.configure()
        rig.runner.thread = "another one"
        operations = rig.agent.policy.operations
        operations.begin(new_operation(operations, "long", timeout_ms=20_000))
        rig.pass_ms(2500, turns=False)
        assert [event[0] for event in rig.events()] == ["begun"]


@_without_asyncio
def test_an_announced_sleep_is_no_hang_and_not_the_time_of_check_ins():
    with _Rig() as rig:
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


@_without_asyncio
def test_a_hang_while_a_task_awaits_inside_an_announced_sleep_is_one():
    with _Rig() as rig:
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


@_without_asyncio
def test_a_sleep_that_never_ended_is_none_of_the_next_agent():
    with _Rig() as rig:
        rig.board.crashes = rig.crashes
        Sleeping().__enter__()
    with _Rig() as rig:
        rig.board.crashes = rig.crashes
        rig.configure()
        with Sleeping():
            rig.pass_ms(10_000, turns=False)
        assert rig.events() == []


@_without_asyncio
def test_turns_of_a_timer_prove_nothing():
    with _Rig(is_run_by_timer=True) as rig:
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
    with _Rig(is_run_by_timer=True) as rig:
        rig.configure(polled=True)
        rig.dog.skip = True  # as `on_timer` has it
        rig.pass_ms(3000)
        assert [event[0] for event in rig.events()] == ["begun"]


@_without_asyncio
def test_the_hardware_watchdog_bites_when_somebody_does_not_check_in_and_knows_who():
    for has_timer in (True, False):
        with _Rig(has_timer) as rig:
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


@_without_asyncio
def test_who_checks_in_again_before_it_bites_has_it_fed_again():
    with _Rig() as rig:
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


@_without_asyncio
def test_time_without_a_turn_is_not_the_check_ins():
    with _Rig() as rig:
        add(rig.dog, "sensor", 1500)
        rig.configure()
        rig.pass_ms(1900, turns=False)
        rig.pass_ms(1000)
        assert rig.events() == []
        rig.pass_ms(700)
        assert rig.events()[0][:2] == ("late", "sensor")


@_without_asyncio
def test_what_is_critical_for_too_long_is_not_fed():
    with _Rig() as rig:
        rig.configure(hardware_ms=1000)
        rig.agent.policy.pressure.level = _CRITICAL
        rig.pass_ms(59_000)
        assert not rig.machine.dog.has_bitten
        rig.pass_ms(3000)
        assert rig.machine.dog.has_bitten
        assert rig.crashes.subject == "pressure"


@_without_asyncio
def test_an_agent_that_only_watches_is_fed_and_has_no_events():
    with _Rig(limits=None) as rig:
        rig.configure(hardware_ms=1000)
        rig.pass_ms(70_000)
        assert not rig.machine.dog.has_bitten
        rig.pass_ms(4000, turns=False)
        assert rig.machine.dog.has_bitten


@_without_asyncio
def test_after_the_end_a_timer_feeds_it_for_ten_minutes():
    with _Rig() as rig:
        rig.configure(hardware_ms=1000)
        rig.pass_ms(2000)
        rig.dog.end(True)
        rig.pass_ms(_TEN_MINUTES_MS - 1000, turns=False)
        assert not rig.machine.dog.has_bitten
        rig.pass_ms(3000, turns=False)
        assert rig.machine.dog.has_bitten
    with _Rig() as rig:  # after an exception nothing feeds it
        rig.configure(hardware_ms=1000)
        rig.dog.end(True)  # as `warden.stop()` does, inside the application
        rig.dog.end(False)
        rig.pass_ms(2000, turns=False)
        assert rig.machine.dog.has_bitten


@_without_asyncio
def test_a_board_that_cannot_interrupt_is_reset_for_a_hang():
    with _Rig() as rig:
        rig.configure(action=_RESET)
        rig.dog.action.interrupter = None
        rig.pass_ms(3000, turns=False)
        assert rig.resets
        assert rig.events()[0][0] == "begun"


@_without_asyncio
def test_nothing_is_stopped_for_time_in_which_the_ticker_did_not_tick_either():
    with _Rig() as rig:
        rig.configure(action=_RESET)
        rig.dog.action.interrupter = None
        rig.pass_ms(1000)
        for is_ticker_first in (True, False):
            rig.board.ticks.pass_ms(6000)  # a debugger has the core
            if is_ticker_first:
                rig.dog.run_due(0)
            rig.pass_ms(1000)
            assert rig.resets == 0
        assert [event[0] for event in rig.events()] == ["begun", "over"]
        rig.board.ticks.pass_ms(6000)
        rig.pass_ms(1900, turns=False)
        assert rig.resets == 0
        rig.pass_ms(300, turns=False)  # it does hang
        assert rig.resets > 0
        rig.pass_ms(1000)
        rig.resets = 0
        rig.board.ticks.pass_ms(6000)
        rig.agent.poll()  # then it hangs
        rig.pass_ms(2300, turns=False)
        assert rig.resets > 0


@_without_asyncio
def test_a_hang_is_stopped_though_each_of_its_parts_holds_up_the_ticker_too():
    """As collections of a large heap do, or reading its flash, again and again."""
    for part_ms in (1100, 1900, 6000):
        with _Rig() as rig:
            rig.configure(action=_RESET)
            rig.dog.action.interrupter = None
            rig.pass_ms(1000)
            began = rig.board.ticks.now
            while not rig.resets:
                rig.board.ticks.pass_ms(part_ms)
                rig.dog.run_due(0)
                assert rig.board.ticks.now - began < 2000 + 3 * part_ms, part_ms


@_without_asyncio
def test_nothing_is_stopped_either_where_the_ticker_ticked_last_before_the_last_turn():
    with _Rig() as rig:
        rig.configure(action=_RESET)
        rig.dog.action.interrupter = None
        rig.pass_ms(1000)
        rig.board.ticks.pass_ms(50)
        rig.agent.poll()
        rig.board.ticks.pass_ms(6000)
        rig.dog.run_due(0)
        rig.board.ticks.pass_ms(1100)  # again, but shorter
        rig.dog.run_due(0)
        rig.pass_ms(800, turns=False)
        assert rig.resets == 0
        rig.pass_ms(300, turns=False)  # it does hang
        assert rig.resets > 0
        rig.pass_ms(1000)
        rig.resets = 0
        rig.dog.patience_ms = 3000  # as before an event loop begins
        rig.board.ticks.pass_ms(4000)
        rig.pass_ms(4900, turns=False)
        assert rig.resets == 0
        rig.pass_ms(300, turns=False)
        assert rig.resets > 0


@_without_asyncio
def test_of_a_hang_only_that_is_left_out_for_which_the_ticker_stood_still_during_it():
    def announced_sleep(rig):
        with Sleeping():
            stall(rig)

    def operation(rig):
        operations = rig.agent.policy.operations
        op = operations.begin(new_operation(operations, "flash", timeout_ms=60_000))
        stall(rig)
        operations.end(op)

    def start_anew(rig):
        stall(rig)
        rig.dog.begin()

    def turn(rig):
        stall(rig)
        rig.agent.poll()

    def stall(rig):
        rig.board.ticks.pass_ms(6000)
        rig.dog.run_due(0)

    for before in (announced_sleep, operation, start_anew, turn):
        with _Rig() as rig:
            rig.board.crashes = rig.crashes
            rig.configure(action=_RESET)
            rig.dog.action.interrupter = None
            rig.pass_ms(1000)
            before(rig)
            rig.pass_ms(2000, turns=False)
            assert rig.resets == 0, before.__name__
            rig.pass_ms(300, turns=False)
            assert rig.resets > 0, before.__name__


def _nothing():
    """Stand for an application."""


@_without_asyncio
def test_what_makes_no_sense_raises():
    with _Rig() as rig:
        rig.crashes.main = None  # not run by warden.run()
        raises(RuntimeError, rig.configure, _STOP)
        raises(RuntimeError, rig.configure, hardware_ms=1000)
        rig.crashes.main = _nothing
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


@_without_asyncio
def test_turns_and_ticks_allocate_nothing():
    with _Rig() as rig:
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


@_without_asyncio
def test_a_sleep_inside_another_leaves_the_outer_one_announced():
    with _Rig() as rig:
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


@_without_asyncio
def test_ticks_that_jump_back_keep_it_fed_and_check_ins_in_force():
    with _Rig() as rig:
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


@_without_asyncio
def test_the_hour_of_restarts_ends_in_whatever_half_of_the_ticks_it_began():
    with _Rig() as rig:
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
