# targets: unix frozen
"""Three ways to run: asyncio, a timer (a fake: this port has none) with the real schedule, poll."""

import asyncio
import io
import sys
import time
from asyncio import core

import machine
import micropython

import warden
from figures import figure
from frames import framed
from harness import raises
from rig import free_port, skip_seconds
from warden.running import get_runner


def _agent():
    """Return the agent, without a public call: each of those would run what is overdue."""
    return get_runner().agent


def _uptime_s():
    return figure(_agent().sample, "uptime_s")


def _sleep_until(condition, poll=False):
    deadline = time.ticks_add(time.ticks_ms(), 10_000)
    while not condition():
        assert time.ticks_diff(deadline, time.ticks_ms()) > 0, "waited too long"
        if poll:
            warden.poll()
        time.sleep_ms(2)


def _without_asyncio(test):
    """Run `test` as an application that has not imported asyncio sees the world."""
    module = sys.modules.pop("asyncio.core")
    try:
        test()
    finally:
        sys.modules["asyncio.core"] = module
        warden.stop()


async def _uptime_reaches(seconds):
    for _ in range(1000):
        if _uptime_s() >= seconds:
            return
        await asyncio.sleep_ms(10)
    raise AssertionError("waited too long")


async def test_as_a_task_of_asyncio():
    warden.start(interval_ms=50, budget_permille=1000, link=False)
    await _uptime_reaches(1)
    found = warden.status()
    warden.stop()
    assert found["faults"] == 0
    assert found["running"] and found["age_ms"] < 500
    assert found["cpu"]["usage_permille"] is not None
    assert found["cpu"]["active_tasks"] == 1


def test_started_before_the_loop_runs():
    warden.start(interval_ms=50, budget_permille=1000, link=False)

    async def main():
        await _uptime_reaches(1)

    asyncio.run(main())
    found = warden.status()
    warden.stop()
    assert found["cpu"]["active_tasks"] == 1, found["cpu"]


def test_from_the_application_loop():
    def application():
        warden.start(interval_ms=50, budget_permille=1000, link=False)
        _sleep_until(lambda: _uptime_s() >= 1, poll=True)
        found = warden.status()
        assert found["faults"] == 0
        assert found["cpu"]["usage_permille"] is None
        assert found["cpu"]["loop_lag_ms"] is None

    _without_asyncio(application)


def test_poll_says_when_it_is_due_again():
    def application():
        warden.start(interval_ms=200, budget_permille=1000, link=False)
        # The C module reads a large heap bit by bit, and is then due again in two.
        _sleep_until(lambda: warden.poll() > 2)
        warden.start_monitoring(200)
        _sleep_until(lambda: warden.poll() > 100)
        waits = [warden.poll() for _ in range(3)]
        assert all(100 < wait <= 200 for wait in waits), waits

    _without_asyncio(application)


class FakeTimer:
    """Stands in for `machine.Timer` (docs.micropython.org/en/latest/library/machine.Timer.html).

    `fire()` is the interrupt.
    """

    PERIODIC = 1
    made = None

    def __init__(self, number):
        if number != -1:
            raise ValueError("no such timer")
        self.callback = None
        FakeTimer.made = self

    def init(self, period, mode, callback):
        self.period = period
        self.callback = callback

    def deinit(self):
        self.callback = None

    def fire(self):
        if self.callback:
            self.callback(self)


class FakeMachine:
    """The real module, and a Timer."""

    def __init__(self):
        self.Timer = FakeTimer

    def __getattr__(self, name):
        return getattr(machine, name)


def _with_timer(test):
    sys.modules["machine"] = FakeMachine()
    try:
        test()
    finally:
        warden.stop()
        sys.modules["machine"] = machine


def test_by_a_timer_and_schedule():
    def application():
        def fire():
            FakeTimer.made.fire()  # micropython.schedule runs it soon after
            return _uptime_s() >= 1

        warden.start(interval_ms=50, budget_permille=1000, link=False)
        assert FakeTimer.made.callback is not None
        _sleep_until(fire)
        assert warden.status()["faults"] == 0
        timer = FakeTimer.made
        warden.stop()
        assert timer.callback is None

    _without_asyncio(lambda: _with_timer(application))


def test_what_the_timer_runs_does_not_wait_for_a_lock_of_whom_it_came_into():
    """The scheduled function runs in the main thread, which may be anywhere in its own calls."""

    def application():
        def stopped():
            FakeTimer.made.fire()
            return op.why is not None

        warden.start(interval_ms=50, budget_permille=1000, link=False)
        op = warden.begin("late", timeout_ms=1)
        time.sleep_ms(5)
        with _agent().policy.lock:
            for _ in range(5):
                FakeTimer.made.fire()
                time.sleep_ms(1)  # where it runs
                assert op.why is None
        _sleep_until(stopped)
        assert warden.status()["faults"] == 0

    _without_asyncio(lambda: _with_timer(application))


def _fire(count=1):
    for _ in range(count):
        FakeTimer.made.fire()
        for _ in range(50):  # what is scheduled runs between two of its bytecodes
            pass


def test_by_a_timer_no_stack_left_is_counted_and_not_printed():
    """MicroPython prints what a scheduled function raises: ten tracebacks a second."""

    def application():
        warden.start(interval_ms=50, budget_permille=1000, link=False)
        agent = _agent()
        before = agent.faults

        def ticks_ms():  # which a poll calls first
            raise RuntimeError("maximum recursion depth exceeded")

        real = agent.ticks_ms
        agent.ticks_ms = ticks_ms
        runner = get_runner()
        for _ in range(3):
            runner.callback(0)
        agent.ticks_ms = real
        assert agent.faults == before + 3

    _without_asyncio(lambda: _with_timer(application))


def test_by_a_timer_only_what_a_repl_leaves_is_read():
    """A prompt takes a typed byte at once; what an application does not read still waits then."""

    def application():
        stream = Typed()
        warden.start(interval_ms=50, budget_permille=1000, link=stream)
        for byte in b"print(6 * 7)\r":
            stream.arrived = bytes([byte])
            _fire()
            assert stream.arrived == bytes([byte])
            stream.arrived = b""  # the prompt takes it
            _fire()
        stream.arrived = b"\xc0noise\xc0"
        _fire(5)
        assert stream.arrived  # somebody has typed on while a statement ran
        _fire(10)
        assert stream.arrived == b""

    _without_asyncio(lambda: _with_timer(application))


def test_by_a_timer_what_a_host_that_subscribed_sends_is_read_at_the_second_time():
    def application():
        stream = Typed()
        warden.start(interval_ms=50, budget_permille=1000, link=stream)
        stream.arrived = framed([64, 1, 0, 7])
        _fire(15)
        assert _agent().session.host_id == 7
        stream.arrived = framed([66, 7, None])
        _fire()
        assert stream.arrived
        _fire()
        assert stream.arrived == b""

    _without_asyncio(lambda: _with_timer(application))


def test_by_a_timer_a_host_that_says_nothing_any_more_is_lost():
    def application():
        stream = Typed()
        warden.start(interval_ms=50, budget_permille=1000, link=stream)
        stream.arrived = framed([64, 1, 0, 7])
        _fire(15)
        session = _agent().session
        assert session.host_id == 7
        skip_seconds(_agent(), 4)
        session.agent.clock.poll_now = True
        _fire()
        assert session.host_id == 0

    _without_asyncio(lambda: _with_timer(application))


def test_by_a_timer_nothing_is_read_of_what_streams_into_a_repl():
    """A file that mpremote copies, say: at each time a part waits, which the REPL then takes."""

    def application():
        stream = Typed()
        warden.start(interval_ms=50, budget_permille=1000, link=stream)
        stream.is_taken = True
        for _ in range(40):
            stream.arrived = b"0123456789"
            _fire()
        assert stream.count == 0
        assert warden.status()["faults"] == 0

    _without_asyncio(lambda: _with_timer(application))


def test_by_a_timer_nothing_is_read_that_arrives_after_the_look():
    def application():
        stream = Typed()
        warden.start(interval_ms=50, budget_permille=1000, link=stream)
        _fire()
        for _ in range(5):
            stream.empty_looks = 1
            stream.arrived = b"0123456789"
            _fire()
            assert stream.count == 0
            stream.arrived = b""
            _fire()

    _without_asyncio(lambda: _with_timer(application))


def test_by_a_timer_what_is_due_is_done_between_two_looks_at_what_waits():
    """On rp2 what is scheduled in a time.sleep_ms() runs at the timer's next tick, and not at once.

    MicroPython 1.28 does, on an emulated RP2040: its sleep runs one of them, then waits for one.
    """

    def application():
        stream = Typed()
        warden.start(interval_ms=50, budget_permille=1000, link=stream)
        agent = _agent()
        runner = get_runner()
        runner.schedule = lambda function, argument: None
        stream.arrived = b"noise"
        done = []
        run_due = agent.run_due

        def counted():
            done.append(runner.seen)
            run_due()

        agent.run_due = counted
        for _ in range(15):
            agent.clock.poll_now = True
            runner.callback(0)
        assert done == list(range(1, 16))
        runner.seen = 10
        agent.clock.poll_now = False
        agent.rest_ms = 60_000
        runner.callback(0)  # with nothing due a look is only that
        assert len(done) == 15 and stream.count == 0
        runner.seen = 15
        runner.callback(0)
        assert stream.count == 5
        del agent.run_due

    _without_asyncio(lambda: _with_timer(application))


def test_a_public_call_at_a_prompt_leaves_what_is_typed_behind_it():
    """After Ctrl-C in a loop that ended, and where a timer was held up."""

    def application():
        stream = Typed()
        warden.start(interval_ms=50, budget_permille=1000, link=stream)
        agent = _agent()
        agent.polled_ms = agent.ticks_ms() - 60_000
        stream.arrived = b"0123456789"
        assert get_runner().revive()
        assert stream.count == 0
        _fire(20)
        assert stream.count == 10

    _without_asyncio(lambda: _with_timer(application))


class Typed(io.IOBase):
    """Stands in for a stream at which somebody types.

    is_taken: whether a REPL takes what has arrived, once what is scheduled has run.
    """

    def __init__(self):
        self.arrived = b""
        self.count = 0  # of the bytes that were read
        self.is_taken = False
        self.empty_looks = 0  # before `arrived` has come

    def any(self):
        return len(self.arrived)

    def readinto(self, buf, count):
        buf[:count] = self.arrived[:count]
        self.arrived = self.arrived[count:]
        self.count += count
        return count

    def write(self, buf, start, count):
        return count

    def ioctl(self, request, arg):
        if request != 3:
            return -1
        if self.empty_looks:
            self.empty_looks -= 1
            return arg & 4
        if self.arrived and self.is_taken:
            micropython.schedule(self.take, 0)
        return arg & (5 if self.arrived else 4)

    def take(self, _):
        self.arrived = b""


def test_a_timer_that_finds_the_queue_of_what_is_scheduled_full_tries_again():
    def application():
        warden.start(interval_ms=50, budget_permille=1000, link=False)
        filled = [0]

        def fill():
            try:
                while True:
                    micropython.schedule(_nothing, 0)
                    filled[0] += 1
            except RuntimeError:
                FakeTimer.made.fire()

        def fire():
            if not filled[0]:
                micropython.schedule(lambda _: fill(), 0)  # while one runs, no other does
            else:
                FakeTimer.made.fire()
            return _uptime_s() >= 1

        _sleep_until(fire)
        assert filled[0]

    _without_asyncio(lambda: _with_timer(application))


def _nothing(_):
    """Stand for what an application has scheduled."""


def test_the_timer_ends_when_asyncio_runs():
    def application():
        warden.start(interval_ms=50, budget_permille=1000, link=False)

        async def main():
            await asyncio.sleep_ms(100)
            assert FakeTimer.made.callback is None

        asyncio.run(main())

    _with_timer(application)


def test_a_timer_takes_over_when_the_loop_has_ended_or_another_has_taken_its_place():
    def application():
        warden.start(interval_ms=50, budget_permille=1000, link=False)

        async def main():
            await asyncio.sleep_ms(50)

        asyncio.run(main())
        asyncio.new_event_loop()
        warden.start()  # as an application would that begins again
        assert FakeTimer.made.callback is not None
        before = _uptime_s()

        def fire():
            FakeTimer.made.fire()
            return _uptime_s() > before

        _sleep_until(fire)

    _with_timer(application)


async def test_starting_twice_is_starting_once():
    warden.start(interval_ms=500, link=False)
    before = warden.status()["board"]["boot_id"]
    warden.start(interval_ms=50, budget_permille=1000, link=False)
    after = warden.status()
    warden.stop()
    assert after["board"]["boot_id"] == before
    assert after["interval_ms"] == 500


async def test_stopping_leaves_asyncio_as_it_was_and_may_be_repeated():
    create_task = core.create_task
    warden.start(link=False)
    warden.stop()
    warden.stop()
    assert core.create_task is create_task
    assert asyncio.create_task is create_task
    assert "wait_io_event" not in core._io_queue.__dict__
    raises(RuntimeError, warden.status)
    raises(RuntimeError, warden.poll)


def test_stopping_with_no_loop_running_leaves_no_task_that_holds_the_agent():
    asyncio.new_event_loop()
    for _ in range(3):
        warden.start(link=False)
        warden.stop()
        assert core._task_queue.peek() is None


def test_a_metered_task_needs_asyncio():
    def application():
        warden.start(link=False)
        error = raises(RuntimeError, warden.spawn, asyncio.sleep_ms(1))
        assert "asyncio" in str(error), error

    _without_asyncio(application)


async def test_monitoring_stops_and_starts():
    warden.start(interval_ms=20, budget_permille=1000, link=False)
    warden.stop_monitoring()
    await asyncio.sleep_ms(50)
    assert warden.status()["interval_ms"] == 0
    before = _uptime_s()
    await asyncio.sleep_ms(1100)
    assert _uptime_s() == before
    assert warden.status()["age_ms"] >= 1000
    warden.start_monitoring(20)
    await _uptime_reaches(before + 1)
    for wrong in (0, 19, 600_001, "5", None, 1.5, True):
        raises((ValueError, TypeError), warden.start_monitoring, wrong)
    warden.stop()


def test_a_wrong_interval_starts_nothing():
    create_task = core.create_task
    raises(ValueError, warden.start, 5)
    raises(RuntimeError, warden.poll)
    assert core.create_task is create_task
    warden.stop()


def test_wrong_arguments_start_nothing_and_leave_the_link_closed():
    wrong = [{name: None} for name in ("max_operations", "overrun_ms", "budget_permille")]
    wrong += [{"link": link} for link in (5, "tcp", True)]
    for arguments in wrong:
        raises(TypeError, warden.start, **arguments)
        raises(RuntimeError, warden.poll)

    class Link:
        """Counts how often it is closed."""

        waitable = None
        closed = 0

        def open(self):
            pass

        def close(self):
            self.closed += 1

    link = Link()
    raises(ValueError, warden.start, 5, link=link)  # else its port would be taken for the next one
    assert link.closed == 1


def test_the_link_over_tcp_is_loaded_when_asked_for():
    link = warden.TcpServer(free_port(), "127.0.0.1")
    link.close()
    raises(AttributeError, getattr, warden, "NoSuchLink")


def test_under_asyncio_what_ends_in_time_does_so_between_samples_that_are_far_apart():
    warden.start(interval_ms=600_000, budget_permille=1000, link=False)

    async def main():
        await asyncio.sleep_ms(2200)  # until the agent's task sleeps as long as it will
        lease = warden.allocate(warden.MEMORY, 10, ttl_ms=100)
        for _ in range(300):
            if not lease.active:
                return
            await asyncio.sleep_ms(10)
        raise AssertionError("three seconds later it has not ended")

    try:
        asyncio.run(main())
    finally:
        warden.stop()
