# targets: unix frozen
"""`warden.sleeping()`: an announced sleep is no load and no lag, and loses no host."""

import _thread
import asyncio
import time

import warden
from rig import FakeLink
from warden.running import get_runner, running_agent, running_policy

_ASLEEP = 20
_HOST = 77


def _events():
    events = running_policy().events
    return [events.event(number)[1:6] for number in range(events.seq)]


def test_an_announced_sleep_is_neither_load_nor_lag_nor_the_end_of_a_host():
    link = FakeLink()
    found = []

    async def work():
        for _ in range(3):
            await asyncio.sleep_ms(30)
            with warden.sleeping():
                time.sleep_ms(200)
            found.append(warden.status())

    async def main():
        warden.start(interval_ms=200, budget_permille=1000, link=link)
        link.receive(64, 1, 1, _HOST, None)
        await asyncio.sleep_ms(250)
        link.sent()
        await asyncio.create_task(work())
        await warden.spawn(work(), "metered")
        await asyncio.sleep_ms(250)
        sent = [message[0] for message in link.sent()]
        assert sent.count(_ASLEEP) == 6, sent
        with warden.sleeping():
            time.sleep_ms(3200)  # longer than a silent host is waited for
        await asyncio.sleep_ms(50)
        assert running_agent().session.host_id == _HOST
        assert [event[4] for event in _events() if event[0] in ("agent", "link")] == ["found"]

    asyncio.run(main())
    try:
        for status in found[1:]:
            assert status["running"] and status["faults"] == 0
            cpu = status["cpu"]
            assert cpu["usage_permille"] < 400 and cpu["loop_lag_worst_ms"] < 150, cpu
    finally:
        warden.stop()


def test_a_metered_task_did_not_work_while_it_slept():
    meters = []

    async def work():
        for _ in range(3):
            await asyncio.sleep_ms(10)
            with warden.sleeping():
                time.sleep_ms(200)
            await asyncio.sleep_ms(10)
            meters.append([meter.cpu_permille for meter in running_policy().meters.rows if meter])

    async def main():
        warden.start(interval_ms=100, budget_permille=1000, link=False)
        await warden.spawn(work(), "metered")

    try:
        asyncio.run(main())
        assert max([sum(each) for each in meters[1:]]) < 300, meters
    finally:
        warden.stop()


def test_a_sleep_without_asyncio_is_no_late_sample():
    warden.start(interval_ms=100, link=False)
    try:
        with warden.sleeping():
            time.sleep_ms(1500)
        warden.poll()
        assert not _events()
    finally:
        warden.stop()


def test_a_sleep_in_which_a_timer_polls_the_agent_is_one():
    """Between two event loops, or where asyncio was imported and nobody runs it."""

    def poll(runner):
        runner.agent.poll()  # with a sample

    def revive(runner):
        runner.end(runner.generation)
        runner.start()

    async def main():
        await asyncio.sleep_ms(30)

    for on_timer in (poll, revive):
        try:
            warden.start(interval_ms=100, budget_permille=1000, link=False)
            asyncio.run(main())
            runner = get_runner()
            with warden.sleeping():
                time.sleep_ms(150)
                on_timer(runner)
            assert runner.load.idle_us > 100_000, (on_timer.__name__, runner.load.idle_us)
        finally:
            warden.stop()
            asyncio.new_event_loop()


def _work(ms):
    began = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), began) < ms:
        pass


def _loads(step, count=12):
    """Return what the CPU's load was while a step was done again and again, in the second half."""
    found = []

    async def main():
        warden.start(interval_ms=300, budget_permille=1000, link=False)
        await asyncio.sleep_ms(10)
        for _ in range(count):
            step()
            await asyncio.sleep_ms(0)
            found.append(warden.status()["cpu"]["usage_permille"])

    try:
        asyncio.run(main())
    finally:
        warden.stop()
        asyncio.new_event_loop()
    return found[count // 2 :]


def test_the_time_of_a_sleep_inside_another_counts_once():
    idle_ms = []

    async def main():
        warden.start(interval_ms=60_000, link=False)  # no sample: it would begin to count anew
        load = running_agent().load
        before_us = load.idle_us
        began = time.ticks_ms()
        sleeping = warden.sleeping()
        with sleeping:
            with warden.sleeping():
                time.sleep_ms(60)
            time.sleep_ms(60)
        with sleeping, sleeping:  # one and the same
            pass
        idle_ms.append(time.ticks_diff(time.ticks_ms(), began))
        idle_ms.append((load.idle_us - before_us) // 1000)

    try:
        asyncio.run(main())
    finally:
        warden.stop()
        asyncio.new_event_loop()
    passed_ms, counted_ms = idle_ms
    assert 110 <= counted_ms <= passed_ms, idle_ms


def test_what_awaits_inside_an_announced_sleep_does_not_sleep():
    """Two tasks that overlap: the loop works meanwhile, and a hang after it is one."""
    loads = []

    async def wait(ms):
        with warden.sleeping():
            await asyncio.sleep_ms(ms)

    async def wait_often():
        for _ in range(20):
            await wait(20)

    async def main():
        warden.start(interval_ms=200, budget_permille=1000, link=False)
        warden.watchdog(1000)
        tasks = [asyncio.create_task(each) for each in (wait(700), wait_often())]
        await asyncio.sleep_ms(10)
        tasks.append(asyncio.create_task(wait(800)))
        for _ in range(24):
            _work(40)
            await asyncio.sleep_ms(1)
            loads.append(warden.status()["cpu"]["usage_permille"])
        await asyncio.gather(*tasks)
        _work(1700)
        await asyncio.sleep_ms(20)

    try:
        asyncio.run(main())
        # Nearly all: where another program has the core while it waits, it waits longer.
        assert sorted(loads[8:])[6] > 700, loads
        assert [event[3] for event in _events() if event[0] == "hang"] == [0, 1], _events()
    finally:
        warden.stop()
        asyncio.new_event_loop()


def test_the_sleep_of_a_thread_is_not_that_of_the_loop():
    is_over = []

    def sleep():
        while not is_over:
            with warden.sleeping():
                time.sleep_ms(50)
        is_over.append(2)

    def step():
        if not is_over and not started:
            started.append(1)
            _thread.start_new_thread(sleep, ())
        _work(60)

    started = []
    try:
        loads = _loads(step)
    finally:
        is_over.append(1)
    while len(is_over) < 2:  # the thread has ended
        time.sleep_ms(1)
    assert min(loads) > 700, loads
