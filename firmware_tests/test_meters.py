# targets: unix frozen
"""Who uses the core: real tasks of asyncio, real threads, real time."""

import asyncio
import sys
import time

import warden
from harness import needs, no_heap, raises
from warden.policy.meters import Meter
from warden.running import running_agent, running_policy


class Started:
    """The agent, sampling every 200 ms."""

    def __init__(self, **options):
        self._options = options

    async def __aenter__(self):
        warden.start(interval_ms=200, budget_permille=1000, link=False, **self._options)
        self.events = []
        warden.on(None, self._note)
        await asyncio.sleep_ms(50)
        return self

    async def __aexit__(self, kind, error, trace):
        warden.stop()
        return False

    def _note(self, event):
        self.events.append((event[1], event[4], event[5]))

    def meters(self):
        return {meter.name: meter for meter in _meters().rows if meter}


def _meters():
    return running_policy().load_meters()


def _spin(ms):
    began = time.ticks_us()
    while time.ticks_diff(time.ticks_us(), began) < ms * 1000:
        pass


async def _busy(ms, every_ms, steps_us=None):
    while True:
        began = time.ticks_us()
        _spin(ms)
        if steps_us is not None:
            steps_us.append(time.ticks_diff(time.ticks_us(), began))
        await asyncio.sleep_ms(every_ms - ms)


async def _until(true):
    for _ in range(500):
        if true():
            return
        await asyncio.sleep_ms(10)
    raise AssertionError("it did not come to that")


async def test_shares_steps_and_the_longest_are_measured():
    async with Started() as board:
        warden.stop_monitoring()
        spent = []
        hungry = warden.spawn(_busy(15, 50, spent), "hungry")
        modest = warden.spawn(_busy(1, 20), "modest")
        meters = board.meters()
        _meters().evaluate(1)
        del spent[:]
        began = time.ticks_us()
        await asyncio.sleep_ms(500)
        period_us = time.ticks_diff(time.ticks_us(), began)
        running_agent().load.wrapped = 0
        _meters().evaluate(period_us // 1000)
        meter = meters["hungry"]
        steps = [meter.steps for meter in meters.values()]
        assert running_agent().load.wrapped == sum(steps) > 0  # for `overhead`
        share = sum(spent) * 1000 // period_us
        assert share - 10 <= meter.cpu_permille <= share + 30, (share, meter.cpu_permille)
        assert meter.steps == len(spent)
        assert max(spent) // 1000 <= meter.worst_ms <= max(spent) // 1000 + 15
        assert 0 < meters["modest"].cpu_permille < meter.cpu_permille
        hungry.cancel()
        modest.cancel()
        await asyncio.sleep_ms(20)
        assert board.meters() == {}


async def test_a_step_in_whose_midst_a_sample_was_taken_is_no_more_than_the_whole_core():
    async with Started() as board:

        async def blocks():
            _spin(900)
            warden.status()  # takes the sample that is overdue
            await asyncio.sleep(2)

        warden.spawn(blocks(), "blocks")
        meter = board.meters()["blocks"]
        await _until(lambda: meter.worst_ms)
        assert meter.worst_ms >= 900
        assert 0 < meter.cpu_permille <= 1000, meter.cpu_permille


async def test_results_exceptions_and_cancellations_pass_through_a_meter():
    async with Started() as board:

        async def answer():
            await asyncio.sleep_ms(1)
            return 42

        async def fail():
            await asyncio.sleep_ms(1)
            raise ValueError("on purpose")

        cancelled = []

        async def wait():
            try:
                await asyncio.sleep_ms(10_000)
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        assert await warden.spawn(answer()) == 42
        try:
            await warden.spawn(fail())
            raise AssertionError("did not raise")
        except ValueError:
            pass
        task = warden.spawn(wait())
        await asyncio.sleep_ms(5)
        task.cancel()
        await asyncio.sleep_ms(5)
        assert cancelled == [True]
        warden.spawn(wait()).cancel()  # before its first step
        await asyncio.sleep_ms(5)
        assert board.meters() == {}
        assert warden.status()["faults"] == 0


async def test_metered_tasks_count_among_the_others():
    async with Started():

        async def nap():
            await asyncio.sleep_ms(1500)

        await asyncio.sleep_ms(450)
        before = warden.status()["cpu"]["active_tasks"]
        task = warden.spawn(nap())
        await asyncio.sleep_ms(450)
        assert warden.status()["cpu"]["active_tasks"] == before + 1
        task.cancel()
        warden.spawn(nap()).cancel()  # one that never starts is none
        await asyncio.sleep_ms(450)
        assert warden.status()["cpu"]["active_tasks"] == before


async def test_a_task_over_its_lease_is_reported_then_cancelled():
    async with Started(overrun_ms=600) as board:
        lease = warden.allocate(warden.CPU_TIME, 100, ttl_ms=None)
        task = warden.spawn(_busy(15, 30), "hungry", lease=lease)
        began = time.ticks_ms()
        await _until(lambda: ("overrun", lease.id, "hungry") in board.events)
        assert not task.done()
        await _until(task.done)
        assert time.ticks_diff(time.ticks_ms(), began) >= 600
        await _until(lambda: ("overrun", lease.id, "cancelled") in board.events)
        lease.release()


async def test_a_task_within_its_lease_goes_on_and_overrun_0_cancels_nobody():
    async with Started(overrun_ms=0) as board:
        lease = warden.allocate(warden.CPU_TIME, 500, ttl_ms=None)
        task = warden.spawn(_busy(2, 30), "modest", lease=lease)
        small = warden.allocate(warden.CPU_TIME, 1, ttl_ms=None)
        hungry = warden.spawn(_busy(10, 30), "hungry", lease=small)
        await _until(lambda: ("overrun", small.id, "hungry") in board.events)
        await asyncio.sleep_ms(700)
        assert not task.done() and not hungry.done()
        assert [event for event in board.events if event[1] == lease.id] == []
        task.cancel()
        hungry.cancel()
        await asyncio.sleep_ms(5)


async def test_low_ones_are_cancelled_while_something_is_critical():
    async with Started():
        low = warden.spawn(_busy(1, 20), "low", warden.LOW)
        normal = warden.spawn(_busy(1, 20), "normal")
        warden.threshold("tasks", critical=1, action=warden.PROTECT)
        await _until(low.done)
        assert not normal.done()
        normal.cancel()
        await asyncio.sleep_ms(5)


async def test_threads_have_a_name_and_no_made_up_share():
    needs("_thread")
    async with Started() as board:
        go = []
        done = []

        def work(what):
            while not go:
                time.sleep_ms(1)
            done.append(what)

        warden.thread(work, ("x",), name="worker")
        meter = board.meters()["worker"]
        await asyncio.sleep_ms(450)
        assert (meter.kind, meter.cpu_permille, meter.worst_ms, meter.steps) == (
            1,
            None,
            None,
            None,
        )
        go.append(True)
        await _until(lambda: done and not board.meters())
        assert done == ["x"]


async def test_the_coroutine_of_a_metered_task_has_the_repr_of_the_applications():
    async with Started():
        coro = _busy(0, 1)
        task = warden.spawn(coro)
        assert repr(task.coro) == repr(coro)
        task.cancel()
        await asyncio.sleep_ms(20)


async def test_there_are_sixteen_at_most():
    async with Started() as board:
        tasks = [warden.spawn(_busy(0, 50)) for _ in range(16)]
        coro = _busy(0, 50)
        assert raises(warden.Denied, warden.spawn, coro).reason == "table"
        coro.close()
        for task in tasks:
            task.cancel()
        await asyncio.sleep_ms(20)
        assert board.meters() == {}


async def test_to_evaluate_and_a_step_allocate_nothing():
    async with Started() as board:
        lease = warden.allocate(warden.CPU_TIME, 1, ttl_ms=None)
        task = warden.spawn(_busy(2, 20), "hungry", lease=lease)
        await _until(lambda: ("overrun", lease.id, "hungry") in board.events)
        meters = _meters()

        def endless():
            while True:
                yield

        meter = Meter(meters, 99, None, 0, 1, None)
        meter.coro = endless()
        meter.send(None)
        meters.send_ms = 1000
        with no_heap():
            meter.send(None)
            meters.evaluate(200)
        assert meter.count == 2
        task.cancel()
        await asyncio.sleep_ms(5)


async def test_a_task_without_a_step_has_used_nothing():
    async with Started():
        warden.stop_monitoring()
        meters = _meters()
        meter = meters.add("task", 0, 1, None)
        figures = []
        for count in (0, 3, 0, 0):
            meter.count = count
            meter.spent_us = count * 20_000
            meter.worst_us = count * 10_000
            meters.evaluate(1000)
            figures.append((meter.cpu_permille, meter.worst_ms, meter.steps))
        assert figures == [(0, 0, 0), (60, 30, 3), (0, 0, 0), (0, 0, 0)]
        meters.end(meter)


async def test_a_host_gets_meters_with_each_sample_for_the_requested_time():
    async with Started():
        warden.stop_monitoring()
        task = warden.spawn(_busy(0, 50))
        meters = _meters()
        for row in range(16):
            meters.dirty[row] = 0
        meters.subscribe()
        meters.evaluate(1000)
        assert not any(meters.dirty)  # nobody requested them
        meters.send_ms = 2500
        sent = []
        for _ in range(5):
            meters.evaluate(1000)
            sent.append(sum(meters.dirty))
            meters.dirty[0] = 0
        assert sent == [1, 1, 1, 0, 0]
        task.cancel()
        await asyncio.sleep_ms(5)


async def test_a_row_names_its_lease_after_that_has_ended():
    async with Started() as board:
        lease = warden.allocate(warden.CPU_TIME, 100)
        task = warden.spawn(_busy(0, 50), "x", lease=lease)
        lease.release()
        assert board.meters()["x"].lease.id == lease.id
        task.cancel()
        await asyncio.sleep_ms(5)


class FullThreads:
    """Stands in for the agent's threads on a port where no more can be started."""

    @staticmethod
    def start_new_thread(function, args, kwargs, name):
        raise OSError("core1 in use")


async def test_a_thread_that_does_not_start_leaves_nothing_behind():
    async with Started() as board:
        agent = running_agent()
        threads = agent.threads
        agent.threads = FullThreads
        try:
            raises(OSError, warden.thread, print, (), "x")
        finally:
            agent.threads = threads
        assert board.meters() == {}


async def test_without_threads_thread_raises():
    async with Started() as board:
        module = sys.modules["_thread"]
        del sys.modules["_thread"]
        try:
            raises(NotImplementedError, warden.thread, print)
        finally:
            sys.modules["_thread"] = module
        assert board.meters() == {}


async def test_what_a_task_is_held_to_is_a_lease_of_cpu_time():
    async def wait():
        await asyncio.sleep_ms(1)

    async with Started():
        for wrong in (5, warden.allocate(warden.MEMORY, 10)):
            coro = wait()
            raises(TypeError, warden.spawn, coro, "task", warden.NORMAL, wrong)
            coro.close()
        lease = warden.allocate(warden.CPU_TIME, 100)
        await warden.spawn(wait(), "task", warden.NORMAL, lease)


async def test_what_cannot_run_is_refused_at_once():
    async with Started() as board:
        for wrong in (None, 5, board.meters):
            raises(TypeError, warden.spawn, wrong)
            raises(TypeError, warden.thread, print, wrong)
        raises(TypeError, warden.thread, 5)
        raises(TypeError, warden.thread, test_what_cannot_run_is_refused_at_once)  # async
        assert board.meters() == {}
        await warden.spawn(asyncio.sleep_ms(1))
