# targets: unix frozen
"""Invariant 14: the agent is alive, or says that it is not.

Whatever ran it may end: an event loop is replaced or ends, Ctrl-C ends its task, asyncio comes
late. It goes on with the next loop, and at the latest with the next public call.
"""

import _thread
import asyncio
import select
import socket
import sys
import time

import warden
from figures import figure
from frames import framed
from harness import has_module, raises
from rig import FakeLink, free_port, in_next_sample
from usual import new_lease
from warden.running import get_runner

_INTERVAL_MS = 20
_SLICED = has_module("_warden")  # a large heap is read in slices, of which a call runs the next one


def _agent():
    """Return the agent, without a public call: each of those would run what is overdue."""
    return get_runner().agent


def _uptime_ms():
    sample = _agent().sample
    return figure(sample, "uptime_s") * 1000 + figure(sample, "uptime_ms")


def _start(**options):
    options["link"] = options.get("link", False)
    warden.start(interval_ms=_INTERVAL_MS, budget_permille=1000, **options)


async def _samples_go_on(most_ms=3000):
    """Wait for three more samples, with no call of the agent's."""
    for _ in range(3):
        before = _uptime_ms()
        began = time.ticks_ms()
        while _uptime_ms() == before:
            assert time.ticks_diff(time.ticks_ms(), began) < most_ms, "no sample was taken"
            await asyncio.sleep_ms(2)


def _samples_go_on_in_its_own_loop(most_ms=3000):
    """Poll until there are three more samples; a busy machine may give no time for as long."""
    for _ in range(3):
        before = _uptime_ms()
        began = time.ticks_ms()
        while _uptime_ms() == before:
            assert time.ticks_diff(time.ticks_ms(), began) < most_ms, "no sample was taken"
            warden.poll()
            time.sleep_ms(2)


async def _sleep(ms):
    await asyncio.sleep_ms(ms)


def _tested(test):
    """Run a test that starts the agent; stop it and forget the loop, whatever comes."""
    try:
        test()
    finally:
        warden.stop()
        asyncio.new_event_loop()


# --- event loops ----------------------------------------------------------------------------------


def _in_a_thread(work):
    """Call work() in a thread; wait until it has ended, and raise what it raised."""
    found = []

    def run():
        try:
            work()
            found.append(None)
        except Exception as error:
            found.append(error)

    _thread.start_new_thread(run, ())
    while not found:
        time.sleep_ms(1)
    if found[0] is not None:
        raise found[0]


def test_event_loops_that_follow_each_other_in_a_thread():
    def restart():
        _start()  # here: the main thread has the REPL, say

        def work():
            for _ in range(3):
                asyncio.run(_samples_go_on())
                asyncio.new_event_loop()

        _in_a_thread(work)

    _tested(restart)


def test_a_start_in_a_thread_and_event_loops_here():
    def restart():
        _in_a_thread(_start)
        for _ in range(2):
            asyncio.run(_samples_go_on())
            asyncio.new_event_loop()

    _tested(restart)


def _slow_server(port):
    """Return a TcpServer that takes so long to open that other threads come meanwhile."""
    link = warden.TcpServer(port, "127.0.0.1")
    open_at_once = link.open

    def open_slowly():
        time.sleep_ms(20)
        open_at_once()

    link.open = open_slowly
    return link


def test_a_start_in_three_threads_at_once_is_one_start():
    for _ in range(5):
        port = free_port()
        found = []

        def start(link, found=found):
            try:
                _start(link=link)
                found.append(get_runner())
            except Exception as error:
                found.append(error)

        for link in [_slow_server(port) for _ in range(3)]:
            _thread.start_new_thread(start, (link,))
        while len(found) < 3:
            time.sleep_ms(1)
        try:
            assert found == [get_runner()] * 3, found
        finally:
            warden.stop()


def test_what_tasks_of_an_event_loop_had_begun_ends_with_it():
    async def work():
        async with warden.operation("work", memory=100, wait_ms=60_000):
            await asyncio.sleep_ms(60_000)

    async def main():
        _start(max_operations=2)
        for _ in range(4):  # two of them wait
            warden.spawn(work(), "work")
        await asyncio.sleep_ms(20)
        assert len(warden.operations()) == 4
        raise OSError

    def restart():
        own = []
        for _ in range(6):  # with all tables that a main fills
            raises(OSError, asyncio.run, main())
            if not own:
                own.append(warden.allocate(warden.MEMORY, 100))
            asyncio.new_event_loop()
        asyncio.run(_sleep(1))
        assert not warden.operations()
        assert warden.allocations() == own
        assert not [meter for meter in _agent().policy.meters.rows if meter]

    _tested(restart)


def test_a_metered_task_that_was_just_cancelled_ends_with_its_event_loop():
    async def main():
        _start()
        warden.spawn(_sleep(60_000), "low", priority=warden.LOW)
        await asyncio.sleep_ms(1)
        meters = _agent().policy.meters
        assert meters.preempt(meters.rows[0])  # at critical, say
        assert not meters.preempt(meters.rows[0])  # once
        raise MemoryError

    def restart():
        raises(MemoryError, asyncio.run, main())
        asyncio.new_event_loop()
        asyncio.run(_sleep(1))
        assert not [meter for meter in _agent().policy.meters.rows if meter]

    _tested(restart)


def test_what_plain_code_began_after_ctrl_c_does_not_end_with_the_loop_before():
    async def interrupted():
        await asyncio.sleep_ms(1)
        raise KeyboardInterrupt

    def restart():
        _start()
        warden.begin("early")
        raises(KeyboardInterrupt, asyncio.run, interrupted())
        asyncio.new_event_loop()  # which leaves asyncio's current task as it was
        with warden.operation("backup"):
            asyncio.run(_sleep(1))
            assert [op.name for op in warden.operations()] == ["early", "backup"]

    _tested(restart)


def test_a_new_event_loop_at_any_moment():
    for ms in range(0, 50, 3):

        def restart(ms=ms):
            _start()
            asyncio.run(_sleep(ms))
            asyncio.new_event_loop()
            asyncio.run(_samples_go_on())
            assert warden.status()["running"]
            assert warden.status()["faults"] == 0

        _tested(restart)


def test_a_new_event_loop_before_the_first_and_time_and_again():
    def restart():
        _start()
        for _ in range(10):
            asyncio.new_event_loop()
            asyncio.run(_samples_go_on())
        found = warden.status()
        assert found["running"] and found["faults"] == 0
        assert found["cpu"]["active_tasks"] == 1, found["cpu"]

    _tested(restart)


def test_tasks_that_sleep_since_ticks_jumped_back_are_made_anew_by_a_public_call():
    """asyncio sleeps until the ticks that it was told are there again."""

    def jump():
        _start()

        async def main():
            await _samples_go_on()
            runner = get_runner()
            generation = runner.generation
            later = time.ticks_add(time.ticks_ms(), 60_000)
            runner.agent.polled_ms = runner.load.polled_ms = later
            warden.can_execute()
            assert runner.generation == generation + 1
            await _samples_go_on()

        asyncio.run(main())

    _tested(jump)


def test_a_link_is_read_in_the_new_loop_too():
    def restart():
        link = FakeLink()
        _start(link=link)
        asyncio.run(_sleep(30))
        asyncio.new_event_loop()

        async def main():
            link.receive(64, 1, 3, 77, None)
            for _ in range(500):
                await asyncio.sleep_ms(2)
                if 5 in [message[0] for message in link.sent()]:
                    return
            raise AssertionError("the host was not served")

        asyncio.run(main())

    _tested(restart)


def test_asyncio_and_plain_loops_in_turn():
    def application():
        _start()
        for _ in range(4):
            asyncio.run(_samples_go_on())
            _samples_go_on_in_its_own_loop()
            assert warden.status()["running"]
        assert warden.status()["faults"] == 0

    _tested(application)


def test_when_the_loop_has_ended_a_public_call_runs_what_is_overdue_and_says_so():
    def application():
        _start()
        asyncio.run(_sleep(50))
        lease = warden.allocate(warden.MEMORY, 100, ttl_ms=100)
        op = warden.begin("late", timeout_ms=100)
        time.sleep_ms(800)
        assert lease.active  # nobody has run it
        found = warden.status()
        assert not found["running"]
        assert found["age_ms"] < 100 or _SLICED
        assert not lease.active
        raises(warden.TimedOut, op.check)
        assert warden.status()["running"]
        for call in (
            warden.allocations,
            warden.can_execute,
            lambda: warden.begin("op").complete(),
            lambda: warden.allocate(warden.MEMORY, 1).release(),
            lambda: warden.threshold("cpu", 900),
            lambda: warden.session("s").close(),
        ):
            before = _agent().polled_ms
            time.sleep_ms(_INTERVAL_MS + 520)
            call()
            assert _agent().polled_ms != before

    _tested(application)


def test_a_gap_makes_an_event():
    def application():
        _start()
        found = []
        warden.on("agent", found.append)
        asyncio.run(_sleep(50))
        time.sleep_ms(1200)
        asyncio.run(_sleep(50))
        assert len(found) == 1, found
        assert found[0][4:6] == (None, "late")
        assert 1000 < found[0][6] < 3000, found

    _tested(application)


# --- asyncio that comes late ----------------------------------------------------------------------


def test_asyncio_imported_after_the_start():
    def application():
        core = sys.modules.pop("asyncio.core")  # as if nobody had imported it
        try:
            _start()
        finally:
            sys.modules["asyncio.core"] = core

        async def main():
            await asyncio.sleep_ms(700)
            found = warden.status()
            assert not found["running"]
            assert found["age_ms"] < 100 or _SLICED
            await _samples_go_on()  # by itself from now on
            lease = warden.allocate(warden.MEMORY, 100, ttl_ms=50)
            for _ in range(200):
                await asyncio.sleep_ms(5)
                if not lease.active:
                    break
            assert not lease.active
            assert warden.status()["running"]

        asyncio.run(main())

    _tested(application)


def test_a_watchdog_that_is_set_just_after_asyncio_came_late():
    """The loop's first wait may be longer than hang_ms; the agent's task has its turns in it."""

    def application():
        core = sys.modules.pop("asyncio.core")
        try:
            _start()
        finally:
            sys.modules["asyncio.core"] = core

        async def main():
            warden.watchdog(hang_ms=500)
            await asyncio.sleep_ms(1500)

        asyncio.run(main())
        events = _agent().policy.events
        found = [events.event(number) for number in range(events.seq)]
        assert not [event for event in found if event[1] == "hang"], found

    _tested(application)


# --- Ctrl-C ---------------------------------------------------------------------------------------


def _interrupt():
    raise KeyboardInterrupt


class InterruptedLink(FakeLink):
    """A link in whose calls Ctrl-C comes, once, when it is set."""

    where = None

    def _check(self, where):
        if self.where == where:
            self.where = None
            raise KeyboardInterrupt

    def read(self, buf):
        self._check("read")
        return super().read(buf)

    def write(self, buf, start, end):
        self._check("write")
        count = super().write(buf, start, end)
        self._check("written")
        return count


def test_ctrl_c_inside_the_task_of_the_agent():
    def application():
        link = InterruptedLink()
        _start(link=link)
        agent = _agent()
        link.receive(64, 1, 3, 77, None)
        policy = agent.policy

        def in_a_sample():
            in_next_sample(agent, _interrupt)

        def in_a_callback():
            heard = []

            def interrupt_once(event):
                heard.append(event)
                if len(heard) == 1:
                    raise KeyboardInterrupt

            policy.events.on("lease", interrupt_once)
            warden.allocate(warden.MEMORY, 1).release()

        def in_what_is_due():
            def interrupted():
                del policy.leases.run_due
                raise KeyboardInterrupt

            lease = new_lease(policy.leases, 0, 1, ttl_ms=1)
            assert lease.active
            policy.leases.run_due = interrupted

        def in_the_link(where):
            def set_it():
                link.where = where
                link.receive(64, 1, 3, 77, None)

            return set_it

        places = [in_a_sample, in_a_callback, in_what_is_due]
        places += [in_the_link(where) for where in ("read", "write", "written")]
        for place in places:

            async def main(place=place):
                await asyncio.sleep_ms(5)
                place()
                await asyncio.sleep_ms(3000)

            raises(KeyboardInterrupt, asyncio.run, main())
            assert not agent.threads.locked()
            asyncio.run(_samples_go_on())  # the application's main, again
            lease = warden.allocate(warden.MEMORY, 1, ttl_ms=30)
            asyncio.run(_sleep(80))
            assert not lease.active
        assert agent.faults == 0

    _tested(application)


def test_ctrl_c_in_the_application_itself():
    def application():
        _start()

        async def main():
            await asyncio.sleep_ms(30)
            raise KeyboardInterrupt

        for _ in range(5):
            raises(KeyboardInterrupt, asyncio.run, main())
            asyncio.run(_samples_go_on())
        assert warden.status()["faults"] == 0

    _tested(application)


# --- threads --------------------------------------------------------------------------------------


def test_a_call_from_another_thread_runs_what_is_overdue_and_leaves_asyncio_alone():
    def application():
        _start()
        asyncio.run(_sleep(30))
        time.sleep_ms(700)
        done = []

        def work():
            try:
                done.append(warden.status()["running"])
            except Exception as error:
                done.append(error)

        before = _uptime_ms()
        _thread.start_new_thread(work, ())
        began = time.ticks_ms()
        while not done:
            assert time.ticks_diff(time.ticks_ms(), began) < 5000
            time.sleep_ms(1)
        assert done == [False], done
        assert _uptime_ms() > before
        asyncio.run(_samples_go_on())

    _tested(application)


def test_a_start_that_is_repeated_makes_anew_what_is_gone():
    def application():
        _start()
        boot_id = warden.status()["board"]["boot_id"]
        asyncio.run(_sleep(30))
        asyncio.new_event_loop()
        _start()  # as a main that is restarted does
        asyncio.run(_samples_go_on())
        assert warden.status()["board"]["boot_id"] == boot_id

    _tested(application)


# --- over TCP -------------------------------------------------------------------------------------


def test_a_main_that_is_run_again_starts_its_tcp_link_once_more():
    """Each run makes a TcpServer; the first one listens on, and a host is answered."""
    _tested(_run_main_three_times)


def _run_main_three_times():
    port = free_port()
    host = socket.socket()

    async def main(run):
        _start(link=warden.TcpServer(port, "127.0.0.1"))
        await asyncio.sleep_ms(3 * _INTERVAL_MS)
        if run < 2:
            raise ValueError("sensor")
        host.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        host.send(framed([64, 1, 4, 77]))
        poller = select.poll()
        poller.register(host, select.POLLIN)
        for _ in range(500):
            if poller.poll(0):
                return host.recv(1)
            await asyncio.sleep_ms(10)
        return None

    for run in range(2):
        raises(ValueError, asyncio.run, main(run))
    try:
        assert asyncio.run(main(2)) == b"\xc0"
    finally:
        host.close()


def test_strangers_at_the_port_keep_no_host_out():
    """One sends a byte each second, one says nothing: a host is answered within three seconds."""
    _tested(_squat)


def _squat():
    port = free_port()

    def dial(first):
        sock = socket.socket()
        sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        sock.send(first)
        return sock

    async def main():
        _start(link=warden.TcpServer(port, "127.0.0.1"))
        strangers = [dial(b"\xc0"), dial(b"A"), dial(b"")]
        host = dial(framed([64, 1, 4, 77]))
        poller = select.poll()
        poller.register(host, select.POLLIN)
        began = time.ticks_ms()
        while not poller.poll(0):
            passed = time.ticks_diff(time.ticks_ms(), began)
            assert passed < 3500, "it was kept out"
            try:
                strangers[0].send(b"\xc0")
            except OSError:
                pass
            await asyncio.sleep_ms(100)
        assert host.recv(1) == b"\xc0"  # b"" is the end
        for sock in strangers + [host]:
            sock.close()

    asyncio.run(main())
