# targets: unix frozen
"""What asyncio's own loop shows: idle time, steps, tasks. Real asyncio, real time."""

import asyncio
import io
import time
from asyncio import core
from asyncio import create_task as imported_create_task

import warden
from figures import figure, put_figure
from harness import no_heap, raises
from rig import FakeTicks
from warden.detect import detect
from warden.policy.operation import current_task
from warden.running import running_agent
from warden.sensors.capabilities import update_reasons
from warden.sensors.threads import get_ident
from warden.setup import make_load, make_sample


def _load():
    return make_load(detect())


def _read(load, period_ms):
    """Have it read as a sample after so many ms has it; return CPU, lag, worst lag and tasks."""
    sample = make_sample()
    sample.period_ms = period_ms
    load.read(sample)
    return [
        figure(sample, "cpu_permille"),
        figure(sample, "loop_lag_ms"),
        figure(sample, "loop_lag_worst_ms"),
        figure(sample, "tasks"),
    ]


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


async def test_the_first_reading_has_no_load():
    load = _load()
    assert _read(load, 1000)[:3] == [None] * 3
    load.detach()


async def test_a_period_in_which_ticks_jumped_back_has_no_load():
    load = _load()
    load.attach()
    await asyncio.sleep_ms(0)
    _read(load, 1)
    assert _read(load, 1000)[0] is not None
    load.idle_us = -5000
    assert _read(load, 1000)[:3] == [None] * 3
    load.detach()


async def test_a_new_task_finds_the_agents_own_gone_also_where_ticks_jumped_back():
    load = _load()
    load.attach()
    called = []
    load.on_create = lambda: called.append(1)
    load.task_queue = core._task_queue
    load.patience_ms = 10_000
    for polled_ms, times in ((0, 0), (60_000, 1)):
        load.polled_ms = time.ticks_add(time.ticks_ms(), polled_ms)
        await asyncio.create_task(_nap(0))
        assert len(called) == times
    load.detach()


async def test_tasks_are_counted_as_they_come_and_go():
    load = _load()
    load.attach()
    assert _read(load, 10)[3] == 1

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


async def test_a_task_runs_the_applications_own_coroutine():
    load = _load()
    load.attach()
    coro = _nap(5)
    task = asyncio.create_task(coro)
    await asyncio.sleep_ms(0)
    load.detach()
    assert task.coro is coro
    await task


async def test_a_task_that_fails_is_counted_until_it_has_ended_awaited_or_not():
    load = _load()
    load.attach()
    on_error = asyncio.get_event_loop().get_exception_handler()
    asyncio.get_event_loop().set_exception_handler(lambda loop, context: None)

    class Nothing(Exception):
        def __bool__(self):
            return False

    async def fail(error=ValueError):
        raise error("on purpose")

    async def rest():
        await asyncio.sleep_ms(20)

    async def find_later(task):
        await asyncio.sleep_ms(5)
        try:
            await task
        except ValueError:
            return

    rests = asyncio.create_task(rest())
    asyncio.create_task(fail())  # noqa: RUF006, nobody awaits it
    asyncio.create_task(fail(Nothing))  # noqa: RUF006
    await asyncio.sleep_ms(2)
    found = [_read(load, 10)[3]]
    task = asyncio.create_task(fail())
    try:
        await asyncio.gather(task, _nap(1))
    except ValueError:
        pass
    await asyncio.sleep_ms(2)
    found.append(_read(load, 10)[3])
    task = asyncio.create_task(fail())
    await asyncio.sleep_ms(0)  # it has failed, and is to be run once more
    found.append(_read(load, 10)[3])
    try:
        await task
    except ValueError:
        pass
    await asyncio.sleep_ms(2)
    found.append(_read(load, 10)[3])
    await rests
    await asyncio.sleep_ms(0)
    found.append(_read(load, 10)[3])
    asyncio.get_event_loop().set_exception_handler(on_error)
    load.detach()
    assert found == [2, 2, 2, 2, 1], found


def test_the_main_task_counts_as_long_as_its_loop_runs():
    load = _load()
    asyncio.new_event_loop()
    load.attach()
    try:
        for _ in range(3):
            assert _run_main(load)[3] == 3
            assert _read(load, 10)[3] == 0
    finally:
        load.detach()
        asyncio.new_event_loop()


def test_in_a_new_loop_after_ctrl_c_no_task_of_the_former_one_counts():
    load = _load()
    asyncio.new_event_loop()
    load.attach()

    async def fail(error):
        raise error

    async def main(error):
        asyncio.create_task(fail(error))  # noqa: RUF006, nobody awaits it
        await asyncio.sleep_ms(5)

    try:
        for error in (KeyboardInterrupt, SystemExit):
            for coro in (fail(error), main(error)):
                raises(error, lambda coro=coro: asyncio.run(coro))
                asyncio.new_event_loop()
                for _ in range(2):
                    assert _run_main(load)[3] == 3
    finally:
        load.detach()
        asyncio.new_event_loop()


def test_a_loop_that_runs_forever_has_no_main_task():
    load = _load()
    loop = asyncio.new_event_loop()
    load.attach()
    found = []

    async def look():
        await asyncio.sleep_ms(2)
        found.append(_read(load, 10)[3])
        await asyncio.sleep_ms(2)
        loop.stop()

    try:
        for _ in range(2):
            other = loop.create_task(_nap(1000))
            looking = loop.create_task(look())
            loop.run_forever()
            found.append(_read(load, 10)[3])
            other.cancel()
            assert looking.done()
    finally:
        load.detach()
        asyncio.new_event_loop()
    assert found == [2, 1, 2, 1], found


async def test_where_more_tasks_end_than_were_seen_their_number_is_not_known():
    load = _load()
    create_task = core.create_task
    kept = [create_task]
    load.attach()
    sample = make_sample()
    load.read(sample)
    await kept[0](_nap(1))
    assert load.read(sample)  # of a capability
    assert not load.read(sample)
    task = asyncio.create_task(_nap(1))
    await asyncio.sleep_ms(0)
    load.read(sample)
    load.detach()
    assert figure(sample, "tasks") is None
    await task


async def test_tasks_made_by_a_name_imported_before_are_counted():
    before = imported_create_task
    load = _load()
    load.attach()
    counted = imported_create_task
    load.detach()
    assert imported_create_task is before and counted is not before
    load.attach()
    task = imported_create_task(_nap(5))
    await asyncio.sleep_ms(0)
    found = _read(load, 10)[3]
    await task
    load.detach()
    assert found == 2


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
    assert load.wait_hook is None  # else who keeps a load keeps the tasks that came later
    assert core.create_task is create_task
    assert asyncio.create_task is create_task
    assert "wait_io_event" not in core._io_queue.__dict__


async def test_reading_allocates_nothing():
    load = _load()
    load.attach()
    sample = make_sample()
    sample.period_ms = 10
    load.read(sample)
    load.read(sample)
    with no_heap():
        load.read(sample)
    load.detach()
    assert figure(sample, "cpu_permille") is not None


class Microseconds(FakeTicks):
    """Ticks of which one is a microsecond."""

    def ticks_us(self):
        return self.now

    pass_us = FakeTicks.pass_ms


class Queue:
    """Stands in for asyncio's, whose own waits allocate: `wait` is called for its time."""

    def __init__(self, wait=lambda queue, dt: None):
        self.poller = self
        self.wait = wait

    def ipoll(self, dt):
        return ()


def test_waiting_allocates_nothing():
    load = _load()
    queue = Queue()
    watch = load.watch(queue, queue.wait, core)
    next(watch)
    hook = watch.send
    with no_heap():
        hook(0)
        hook(1)
    time.sleep_ms(2)
    with no_heap():
        hook(0)
    assert load.worst_us > 1000


def test_what_is_summed_up_stays_within_30_bits():
    ticks = Microseconds()
    load = make_load(ticks)
    queue = Queue(lambda queue, dt: ticks.pass_us(dt))
    watch = load.watch(queue, queue.wait, core)
    next(watch)
    hook = watch.send
    for step in (1000, 1 << 28, (1 << 29) - 1, 170_000_000, 100_000_000):
        for _ in range(20):
            ticks.pass_us(step)
            hook(step)
            for value in (load.idle_us, load.worst_us, load.squares):
                assert 0 <= value < 1 << 30, (step, value)


def test_a_wait_that_is_broken_off_is_watched_again_and_tasks_are_still_counted():
    """By Ctrl-C, say: the application may go on in the same event loop."""
    load = _load()
    asyncio.new_event_loop()
    load.attach()

    class Broken(io.IOBase):
        error = KeyboardInterrupt()

        def ioctl(self, request, flags):
            if request == 3:  # MP_STREAM_POLL
                error, self.error = self.error, None
                if error:
                    raise error
                return 0
            return -22  # EINVAL: it has no file descriptor

    async def main(source):
        task = asyncio.create_task(_nap(30))
        _read(load, 1)
        if source:
            try:
                await asyncio.wait_for_ms(asyncio.StreamReader(source).read(1), 20)
            except asyncio.TimeoutError:
                pass
        await asyncio.sleep_ms(5)
        found.append(_read(load, 10))
        await task

    found = []
    try:
        raises(KeyboardInterrupt, lambda: asyncio.run(main(Broken())))
        asyncio.run(main(None))
    finally:
        load.detach()
        asyncio.new_event_loop()
    cpu, _, _, tasks = found[-1]
    assert cpu is not None
    assert tasks >= 2


async def test_overhead_has_what_watching_takes():
    """As much as the trial says, for each wait and for each task."""
    load = _load()
    load.attach()
    sample = make_sample()
    sample.period_ms = 10
    load.read(sample)
    for _ in range(20):
        await asyncio.create_task(_nap(0))
    await asyncio.sleep_ms(1)
    assert load.wrapped >= 21
    assert load.wrap_us > 0
    load.wrapped, load.wrap_us = 32, 16_000
    put_figure(sample, "overhead_permille", 5)
    sample.period_ms = 1000
    load.read(sample)
    load.detach()
    assert figure(sample, "overhead_permille") == 5 + 32


async def test_what_a_wait_takes_is_found_though_something_else_had_the_core_meanwhile():
    board = detect()
    ticks_us = board.ticks_us
    for late in (2, 4, 6):  # each time that the clock is read from then on
        read = []
        board.ticks_us = lambda read=read, late=late: (
            read.append(None) or ticks_us() + 100_000 * (len(read) >= late)
        )
        assert 0 < make_load(board).wrap_us < 2600, late
    board.ticks_us = lambda: ticks_us() * 1000
    assert make_load(board).wrap_us == 2600  # all are late: no more than a sample can take


async def test_without_steps_asyncio_is_left_as_it_is():
    load = make_load(detect(), False)
    load.attach()
    assert "wait_io_event" not in core._io_queue.__dict__
    await asyncio.create_task(_nap(1))
    load.watch_loop(core)
    assert "wait_io_event" not in core._io_queue.__dict__
    _read(load, 10)
    found = _read(load, 10)
    load.detach()
    assert found == [None] * 4


async def test_without_steps_the_capabilities_say_so():
    warden.start(600_000, link=False, protect=False, steps=False)
    try:
        update_reasons(running_agent())
        found = list(running_agent().reasons[3:6])  # cpu, loop_lag, tasks
    finally:
        warden.stop()
    assert found == [19] * 3  # ids.TURNED_OFF


async def test_a_create_task_of_the_application_is_called():
    calls = []
    create_task = core.create_task

    def own(coro):
        calls.append(coro)
        return create_task(coro)

    core.create_task = asyncio.create_task = own
    load = _load()
    load.attach()
    await asyncio.create_task(_nap(1))
    load.detach()
    assert core.create_task is own
    core.create_task = asyncio.create_task = create_task
    assert len(calls) == 1


async def test_a_create_task_that_took_the_place_of_the_agents_stays_after_detach():
    create_task = core.create_task
    load = _load()
    load.attach()

    def own(coro):
        return create_task(coro)

    core.create_task = asyncio.create_task = own
    load.detach()
    found = core.create_task, asyncio.create_task
    result = await imported_create_task(_nap(1))
    load.set_create_task(imported_create_task, create_task)
    core.create_task = asyncio.create_task = create_task
    assert found == (own, own) and result is None


class Profiled:
    """Stands for a coroutine, as profilers wrap one: asyncio asks for no more than this."""

    def __init__(self, coro):
        self.coro = coro
        self.steps = 0

    def send(self, value):
        self.steps += 1
        return self.coro.send(value)

    def __getattr__(self, name):
        return getattr(self.coro, name)


async def test_what_has_only_send_and_throw_is_a_task_as_without_the_agent():
    async def work():
        await asyncio.sleep_ms(1)
        return 42

    load = _load()
    load.attach()
    before = load.tasks
    coro = Profiled(work())
    found = await asyncio.create_task(coro)
    cancelled = asyncio.create_task(Profiled(_nap(1000)))
    await asyncio.sleep_ms(0)
    cancelled.cancel()
    try:
        await cancelled
    except asyncio.CancelledError:
        found += 1
    tasks = load.tasks
    load.detach()
    assert (found, coro.steps) == (43, 2)
    assert tasks == before >= 0


def test_a_metered_task_may_have_only_send_and_throw():
    async def main():
        warden.start(interval_ms=20, link=False)
        coro = Profiled(_nap(1))
        await warden.spawn(coro, "profiled")
        return coro.steps

    try:
        assert asyncio.run(main()) == 2
    finally:
        warden.stop()
        asyncio.new_event_loop()


def test_an_application_may_call_the_exception_handler_with_what_it_has():
    reported = []
    handled = []
    load = _load()
    load.report = lambda error, kind, name: reported.append(error)
    load.attach()
    loop = asyncio.get_event_loop()
    loop.set_exception_handler(lambda loop, context: handled.append(context))
    contexts = [{"message": "x"}, {"message": "x", "exception": ValueError(7)}, {"future": None}]
    try:
        for context in contexts:
            loop.call_exception_handler(context)
    finally:
        loop.set_exception_handler(None)
        load.detach()
    assert handled == contexts
    assert reported == []  # no task has raised it


async def test_a_create_task_that_was_kept_works_after_detach():
    load = _load()
    load.attach()
    kept = asyncio.create_task
    load.detach()
    assert await kept(_nap(1)) is None
    assert load.tasks == 0


async def test_what_is_no_coroutine_makes_no_task():
    load = _load()
    load.attach()
    raises(TypeError, lambda: asyncio.create_task(_nap))
    load.detach()


async def test_read_reports_new_knowledge_once():
    load = _load()
    sample = make_sample()
    assert load.read(sample)
    assert not load.read(sample)
    load.detach()


async def test_without_asyncio_the_load_is_none():
    import sys

    module = sys.modules.pop("asyncio.core")
    try:
        load = _load()
        sample = make_sample()
        assert not load.read(sample)
        assert (load.core, figure(sample, "tasks"), figure(sample, "cpu_permille")) == (
            None,
            None,
            None,
        )
        load.detach()
    finally:
        sys.modules["asyncio.core"] = module
    assert load.read(sample)  # imported late
    assert load.core is core
    load.detach()


def _run_main(load, period_ms=20):
    """Run a main program that has three tasks; return what its end reads."""
    found = []

    async def main():
        tasks = [asyncio.create_task(_nap(40)) for _ in range(2)]
        await asyncio.sleep_ms(1)
        _read(load, 1)
        await asyncio.sleep_ms(20)
        found.append(_read(load, period_ms))
        for task in tasks:
            await task

    asyncio.run(main())
    return found[0]


def test_a_new_event_loop_at_any_moment_is_watched():
    load = _load()
    asyncio.new_event_loop()
    load.attach()
    for _ in range(3):
        cpu, _, worst, tasks = _run_main(load)
        assert tasks == 3
        assert cpu < 500 and worst < 100, (cpu, worst)
        asyncio.new_event_loop()
    load.detach()


def test_tasks_of_a_loop_that_was_given_up_are_not_counted_on():
    load = _load()
    load.attach()
    left = []

    async def main():
        left.extend([asyncio.create_task(_nap(1000)) for _ in range(4)])
        await asyncio.sleep_ms(1)
        raise ValueError("on purpose")

    try:
        asyncio.run(main())
    except ValueError:
        pass
    assert load.tasks == 4
    asyncio.new_event_loop()
    assert _run_main(load)[3] == 3
    load.detach()


async def test_tasks_are_known_in_a_new_loop_that_were_not_before():
    task = asyncio.create_task(_nap(20))
    load = _load()
    load.attach()
    assert _read(load, 10)[3] is None
    old = core._io_queue
    core._io_queue = core.IOQueue()
    sample = make_sample()
    assert load.read(sample)
    core._io_queue = old
    assert figure(sample, "tasks") == 1  # the one that runs
    load.detach()
    del old.wait_io_event
    await task


async def test_an_event_queue_that_returns_is_wrapped_once():
    load = _load()
    load.attach()
    old = core._io_queue
    core._io_queue = core.IOQueue()
    load.attach()
    core._io_queue = old
    load.attach()
    await asyncio.sleep_ms(2)  # a wrapper of a wrapper would never come back
    load.detach()
    assert "wait_io_event" not in old.__dict__


def test_a_task_that_begins_after_detach_attaches_nothing():
    load = _load()
    load.attach()

    async def main():
        task = asyncio.create_task(_nap(1))
        load.detach()
        await task

    asyncio.run(main())
    assert load.core is None
    assert "wait_io_event" not in core._io_queue.__dict__


async def test_the_task_that_calls_is_known_in_its_thread_only():
    load = _load()
    assert current_task(load) is None
    load.attach()
    assert current_task(load) is None
    load.thread = get_ident()
    assert current_task(load) is core.cur_task
    load.thread += 1
    assert current_task(load) is None
    load.detach()
