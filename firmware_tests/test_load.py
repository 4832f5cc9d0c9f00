# targets: unix frozen
"""What asyncio's own loop shows: idle time, steps, tasks. Real asyncio, real time."""

import asyncio
import time
from asyncio import core

from warden import hal
from warden.load import Load
from warden.sampler import Sampler

_PERIOD_MS = 29
_UNKNOWN = -0x40000000


def _load():
    return Load(hal.detect(), Sampler().values)


def _read(load, period_ms):
    """Have it read as a sample after so many ms has it; return CPU, lag, worst lag and tasks."""
    load._values[_PERIOD_MS] = period_ms
    load.read()
    return [None if value == _UNKNOWN else value for value in load._values[7:11]]


def _spin(ms):
    began = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), began) < ms:
        pass


async def _nap(ms):
    await asyncio.sleep_ms(ms)


class Watched:
    """Steps of a task that time themselves: what `Load` should find, also where others are busy."""

    def __init__(self):
        self.steps_us = []
        self.figures = None
        self.period_us = 0

    async def measure(self, work):
        """Run `work` under a Load; keep the figures of that time."""
        load = _load()
        load.attach()
        await asyncio.sleep_ms(0)
        _read(load, 1)
        began = time.ticks_us()
        await work()
        self.period_us = time.ticks_diff(time.ticks_us(), began)
        self.figures = _read(load, (self.period_us + 500) // 1000)[:3]
        load.detach()

    def spin(self, ms):
        began = time.ticks_us()
        _spin(ms)
        self.steps_us.append(time.ticks_diff(time.ticks_us(), began))

    def check(self):
        cpu, lag, worst = self.figures
        busy = sum(self.steps_us) * 1000 // self.period_us
        assert busy - 20 <= cpu <= busy + 40, (cpu, busy)
        longest = max(self.steps_us) // 1000
        assert longest <= worst <= longest + 15, (worst, longest)
        mean = sum([us * us for us in self.steps_us]) // (2 * self.period_us) // 1000
        assert mean - 2 <= lag <= mean + 4, (lag, mean)


async def test_thirty_percent_reads_thirty_percent():
    watched = Watched()

    async def work():
        for _ in range(20):
            next_ms = time.ticks_add(time.ticks_ms(), 100)
            watched.spin(30)
            await asyncio.sleep_ms(max(0, time.ticks_diff(next_ms, time.ticks_ms())))

    await watched.measure(work)
    watched.check()


async def test_an_idle_loop_reads_idle():
    watched = Watched()
    await watched.measure(lambda: asyncio.sleep_ms(500))
    cpu, lag, worst = watched.figures
    assert cpu < 30, cpu
    assert lag <= 1, lag
    assert worst < 20, worst


async def test_a_busy_loop_reads_busy():
    watched = Watched()

    async def work():
        for _ in range(5):
            watched.spin(100)
            await asyncio.sleep_ms(0)

    await watched.measure(work)
    watched.check()


async def test_the_first_reading_says_nothing_of_a_time_it_did_not_see():
    load = _load()
    assert _read(load, 1000)[:3] == [None] * 3
    assert load.cpu_permille is None
    load.detach()


async def test_tasks_are_counted_as_they_come_and_go():
    load = _load()
    load.attach()
    assert load.tasks_known

    async def fail():
        await asyncio.sleep_ms(1)
        raise ValueError("on purpose")

    tasks = [asyncio.create_task(_nap(50)) for _ in range(3)]
    tasks.append(core.create_task(fail()))
    await asyncio.sleep_ms(0)
    assert _read(load, 10)[3] == 5  # this one too
    tasks[0].cancel()
    try:
        await tasks[3]
    except ValueError:
        pass
    await asyncio.sleep_ms(0)
    assert _read(load, 10)[3] == 3
    await asyncio.sleep_ms(80)
    assert _read(load, 10)[3] == 1
    load.detach()


async def test_a_counted_task_gives_its_result_and_its_cancellation():
    load = _load()
    load.attach()

    async def work():
        await asyncio.sleep_ms(1)
        return 42

    assert await asyncio.create_task(work()) == 42
    assert await asyncio.wait_for(work(), 1) == 42
    task = asyncio.create_task(_nap(1000))
    await asyncio.sleep_ms(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        cancelled = True
    load.detach()
    assert cancelled


async def test_tasks_that_began_earlier_make_the_count_unknown():
    task = asyncio.create_task(_nap(20))
    load = _load()
    load.attach()
    assert _read(load, 10)[3] is None
    load.detach()
    await task


async def test_a_new_event_loop_is_watched_too():
    load = _load()
    load.attach()
    first = core._io_queue
    load.attach()
    assert core._io_queue is first
    queue = core.IOQueue()
    old, core._io_queue = core._io_queue, queue
    load.attach()
    watched = "wait_io_event" in queue.__dict__
    core._io_queue = old
    load.detach()
    assert watched


async def test_detaching_leaves_asyncio_as_it_was():
    create_task = core.create_task
    load = _load()
    load.attach()
    assert core.create_task is not create_task
    assert asyncio.create_task is core.create_task
    load.detach()
    assert core.create_task is create_task
    assert asyncio.create_task is create_task
    assert "wait_io_event" not in core._io_queue.__dict__


async def test_reading_allocates_nothing():
    from harness import no_heap

    load = _load()
    load.attach()
    _read(load, 10)
    with no_heap():
        load.read()
    load.detach()
