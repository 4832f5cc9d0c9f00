# targets: unix frozen
"""What applications write: leases, operations and sessions on the real board, with no host."""

import _thread
import asyncio
import gc
import os
import sys
import time

import warden
from harness import raises
from warden.policy.deadlines import schedule
from warden.running import running_policy

_IN_USE = "policy_test.tmp"


class Started:
    """The agent, with so many operations at once; without asyncio where it is not wanted."""

    def __init__(self, asynchronous=False, **options):
        self._asynchronous = asynchronous
        self._options = options
        self._core = None

    def __enter__(self):
        if not self._asynchronous:
            self._core = sys.modules.pop("asyncio.core")
        warden.start(interval_ms=50, budget_permille=1000, link=False, **self._options)
        return self

    def __exit__(self, kind, error, trace):
        warden.stop()
        if self._core:
            sys.modules["asyncio.core"] = self._core
        return False


def test_memory_is_granted_up_to_the_reserve():
    with Started(memory_reserve_permille=500):
        gc.collect()
        half = (gc.mem_free() + gc.mem_alloc()) // 2
        error = raises(warden.Denied, warden.allocate, warden.MEMORY, half)
        assert error.reason == "memory"
        assert 0 < error.available < half
        lease = warden.allocate(warden.MEMORY, error.available * 9 // 10, owner="upload")
        assert warden.allocations() == [lease]
        lease.release()
        assert warden.allocations() == []


def test_a_backed_lease_really_takes_its_memory():
    with Started():
        gc.collect()
        before = gc.mem_alloc()
        lease = warden.allocate(warden.MEMORY, 100_000, backed=True)
        assert gc.mem_alloc() - before >= 100_000
        lease.release()
        gc.collect()
        assert gc.mem_alloc() - before < 50_000


def test_storage_cannot_be_overdrawn():
    with Started():
        lease = warden.allocate(warden.STORAGE, 10, mount="/")
        path = os.getcwd() + "/" + _IN_USE
        with lease.open(path, "w") as file:
            file.write("12345")
            file.write("678")
            assert raises(OSError, file.write, "9ab").errno == 28
            file.write("9a")
        with open(path) as file:
            assert file.read() == "123456789a"
        os.remove(path)
        assert raises(warden.Denied, warden.allocate, warden.STORAGE, 0x3FFFFFFF, mount="/nowhere")


def test_a_file_is_on_the_mount_of_its_lease_or_is_not_opened():
    with Started():
        here = os.getcwd()
        lease = warden.allocate(warden.STORAGE, 10, mount="/")
        with lease.open(_IN_USE, "w") as file:  # where the application is
            file.write("1")
        os.stat(here + "/" + _IN_USE)
        lease.mount = here
        lease.open(_IN_USE).close()
        lease.open(here + "/" + _IN_USE).close()
        outside = (here + "x/" + _IN_USE, "/" + _IN_USE, here + "/../" + _IN_USE, "../" + _IN_USE)
        for path in outside:
            raises(ValueError, lease.open, path, "w")
        os.remove(_IN_USE)


def test_leases_expire_by_polling_alone():
    with Started():
        lease = warden.allocate(warden.MEMORY, 100, ttl_ms=60)
        ended = []
        warden.on("lease", ended.append)
        while lease.active:
            warden.poll()
        warden.poll()
        assert ended[0][4:] == (lease.id, "expired", 100)


def test_a_callback_that_fails_stops_no_other():
    with Started():
        heard = []

        def fail(event):
            raise ValueError("on purpose")

        warden.on("lease", fail)
        warden.on(None, heard.append)
        warden.allocate(warden.MEMORY, 100).release()
        warden.poll()
        assert [event[1] for event in heard] == ["lease", "callback_failed"]
        assert heard[1][4:6] == (heard[0][0], "ValueError")


def test_a_callback_may_ask_the_agent_anything():
    with Started():
        answers = []

        def ask(event):
            warden.poll()
            lease = warden.allocate(warden.MEMORY, 10)
            answers.append((warden.status()["faults"], len(warden.allocations())))
            lease.commit()

        warden.on("operation", ask)
        with warden.operation("op"):
            pass
        warden.poll()
        assert answers


def test_plain_code_waits_for_its_place_and_takes_it_by_priority():
    with Started(max_operations=1):
        low = warden.begin("low", priority=warden.LOW)
        raises(warden.Denied, warden.begin, "normal")
        began = time.ticks_ms()
        with warden.operation("high", priority=warden.HIGH) as high:
            raises(warden.Preempted, low.check)
            assert 1900 <= time.ticks_diff(time.ticks_ms(), began) < 4000  # the victim's grace
            assert [op.name for op in warden.operations()] == ["low", "high"]
            high.progress(500, "half")
        low.complete()
        assert warden.operations() == []


def test_a_wait_is_bounded():
    with Started(max_operations=1):
        warden.begin("running")
        began = time.ticks_ms()
        raises(warden.Denied, warden.begin, "late", wait_ms=200)
        assert 190 <= time.ticks_diff(time.ticks_ms(), began) < 1000
        assert len(warden.operations()) == 1


def test_decorated_functions_are_operations():
    with Started(max_operations=1):

        @warden.guarded("plain", priority=warden.HIGH)
        def plain(a, b=2):
            return a + b, [op.name for op in warden.operations()]

        assert plain(1, b=3) == (4, ["plain"])

        @warden.guarded("fails")
        def fails():
            raise ValueError("on purpose")

        raises(ValueError, fails)
        assert warden.operations() == []


async def test_the_task_of_a_victim_is_cancelled():
    with Started(asynchronous=True, max_operations=1):
        log = []
        await asyncio.sleep_ms(20)  # the agent's task has run: it knows the loop's thread

        async def low():
            try:
                async with warden.operation("low", priority=warden.LOW):
                    await asyncio.sleep_ms(10_000)
            except asyncio.CancelledError:
                log.append("cancelled")
                raise

        task = asyncio.create_task(low())
        await asyncio.sleep_ms(20)
        began = time.ticks_ms()
        async with warden.operation("high", priority=warden.HIGH):
            log.append("high")
        assert log == ["cancelled", "high"]
        assert time.ticks_diff(time.ticks_ms(), began) < 1000
        assert task.done()
        assert warden.operations() == []


async def test_async_functions_queue_and_plain_ones_cannot():
    with Started(asynchronous=True, max_operations=1):
        order = []
        await asyncio.sleep_ms(20)

        @warden.guarded("job", wait_ms=5000)
        async def job(number):
            await asyncio.sleep_ms(20)
            order.append(number)
            return number

        assert await asyncio.gather(job(1), job(2), job(3)) == [1, 2, 3]
        assert order == [1, 2, 3]
        async with warden.operation("running"):
            raises(warden.Denied, warden.begin, "plain", wait_ms=5000)
        assert warden.operations() == []


async def test_one_that_is_cancelled_while_it_waits_leaves_nothing():
    with Started(asynchronous=True, max_operations=1):
        await asyncio.sleep_ms(20)

        async def wait():
            async with warden.operation("waits", wait_ms=60_000, memory=1000):
                pass

        async with warden.operation("running"):
            task = asyncio.create_task(wait())
            await asyncio.sleep_ms(20)
            assert len(warden.operations()) == 2
            task.cancel()
            await asyncio.sleep_ms(20)
            assert len(warden.operations()) == 1
        assert warden.allocations() == []


def test_a_session_takes_all_with_it():
    with Started():
        with warden.session("s", memory=5000, operations=1) as session:
            lease = warden.allocate(warden.MEMORY, 4000, session=session)
            op = warden.begin("op", session=session, memory=500)
            error = raises(warden.Denied, warden.allocate, warden.MEMORY, 501, session=session)
            assert (error.reason, error.available) == ("quota:memory", 500)
            error = raises(warden.Denied, warden.begin, "second", session=session)
            assert error.reason == "quota:operations"
        assert not lease.active
        raises(warden.Preempted, op.check)
        assert warden.operations() == warden.allocations() == []


def test_a_watching_agent_refuses_with_the_reason():
    with Started(protect=False):
        assert warden.status()["memory"]["total_bytes"] > 0
        for call in (
            lambda: warden.allocate(0, 100),
            lambda: warden.begin("op"),
            warden.can_execute,
            lambda: warden.threshold("memory", 750),
            lambda: warden.session("s"),
        ):
            assert "watches" in raises(RuntimeError, call).args[0]


def test_what_protects_is_armed_at_the_start():
    with Started():
        (threshold,) = warden.thresholds()
        assert (threshold.metric, threshold.warn, threshold.critical) == (0, 750, 850)
        assert threshold.action == warden.PROTECT


def test_wrong_limits_start_nothing():
    for wrong in ({"max_operations": 0}, {"max_operations": 9}, {"operation_timeout_ms": 0}):
        raises(ValueError, warden.start, link=False, **wrong)
    raises(ValueError, warden.start, link=False, memory_reserve_permille=901)
    raises(RuntimeError, warden.allocations)


def test_no_module_hides_a_function():
    """A submodule becomes an attribute of its package when it is first imported."""
    with Started():
        warden.allocations()
        warden.allocate(warden.STORAGE, 1).release()
        warden.trends(1000)
    names = "start stop poll status trends start_monitoring stop_monitoring allocate allocations "
    names += "operation operations begin can_execute guarded session on counted use_wlan on_trim "
    names += "set_limits threshold thresholds spawn thread TcpServer"
    for name in names.split():
        assert callable(getattr(warden, name)), name


def test_ctrl_c_while_time_is_looked_at_makes_nothing_late():
    with Started():
        policy = running_policy()
        clock = policy.leases.clock

        def interrupted():
            raise KeyboardInterrupt

        policy.leases.run_due = interrupted
        schedule(clock, 0, 0)
        raises(KeyboardInterrupt, policy.run_due)
        del policy.leases.run_due
        assert clock.until_ms(clock.deadline_s, clock.deadline_ms) <= 0
        policy.run_due()
        assert clock.until_ms(clock.deadline_s, clock.deadline_ms) > 0


def test_what_is_no_session_is_refused():
    with Started():
        for wrong in (5, "upload", warden.allocate(warden.MEMORY, 10)):
            raises(TypeError, warden.allocate, warden.MEMORY, 10, session=wrong)
            raises(TypeError, warden.operation, "upload", session=wrong)
        assert len(warden.allocations()) == 1 and warden.operations() == []


def test_what_else_is_wrong_says_so_at_once():
    with Started():
        for call in (
            lambda: warden.guarded("upload")(5),
            lambda: warden.counted(5),
            lambda: warden.use_wlan(5),
            lambda: warden.file_budget(5, 1000),
            lambda: warden.allocate(warden.STORAGE, 10).open({}),
            lambda: warden.MqttLink(object(), "board"),
        ):
            raises(TypeError, call)
        assert "no such metric" in raises(ValueError, warden.threshold, "memmory", 5).args[0]
        assert set(warden.trends(10**30)) == set(warden.trends(1000))


def test_an_operation_begun_before_the_agent_had_a_turn_is_cancelled_too():
    why = []

    async def main():
        warden.start(interval_ms=50, link=False)
        op = warden.operation("slow", timeout_ms=20)
        try:
            async with op:
                await asyncio.sleep_ms(5000)
        except asyncio.CancelledError:
            why.append(op.why)

    try:
        asyncio.run(main())
        assert why == ["timed out"]
    finally:
        warden.stop()
        asyncio.new_event_loop()


def test_a_thread_that_begins_one_before_the_agent_had_a_turn_has_no_task_of_the_loop():
    begun = []

    async def main():
        warden.start(interval_ms=50, link=False)
        _thread.start_new_thread(lambda: begun.append(warden.begin("slow", timeout_ms=20)), ())
        while not begun:
            time.sleep_ms(1)
        while begun[0].why is None:
            await asyncio.sleep_ms(10)
        assert begun[0].why == "timed out"

    try:
        asyncio.run(main())  # was cancelled in its place
        assert begun[0].task is None
    finally:
        warden.stop()
        asyncio.new_event_loop()
