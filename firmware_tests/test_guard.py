# targets: unix frozen
"""`@warden.guarded(…)` on functions, coroutines, methods and closures of both kinds."""

import asyncio

import warden
from harness import raises
from warden.running import running_agent


class Started:
    """The agent, with room for so many operations."""

    def __init__(self, max_operations=1):
        self._options = {"max_operations": max_operations}

    def __enter__(self):
        warden.start(interval_ms=200, budget_permille=1000, link=False, **self._options)
        return self

    def __exit__(self, kind, error, trace):
        warden.stop()
        return False


def _names():
    return [op.name for op in warden.operations()]


def _plain(a, b=2):
    return a + b, _names()


async def _coroutine(a, b=2):
    await asyncio.sleep_ms(1)
    return a + b, _names()


class Device:
    """Its methods are guarded where they are defined."""

    offset = 10

    def decorate(self):
        pass

    def read(self, value):
        return self.offset + value, _names()

    async def read_later(self, value):
        await asyncio.sleep_ms(1)
        return self.offset + value, _names()


def test_a_function_a_method_and_a_closure():
    with Started():
        outside = 5

        def closure(value):
            return outside + value, _names()

        guarded = warden.guarded("job", priority=warden.HIGH)
        assert guarded(_plain)(1, b=3) == (4, ["job"])
        assert guarded(closure)(1) == (6, ["job"])
        Device.decorate = guarded(Device.read)
        assert Device().decorate(1) == (11, ["job"])
        assert _names() == []


def test_an_exception_ends_the_operation_and_propagates():
    with Started():

        @warden.guarded("fails")
        def fails():
            raise ValueError("on purpose")

        for _ in range(3):
            raises(ValueError, fails)
        with warden.operation("other"):
            assert raises(warden.Denied, fails).reason == "operations"
        assert _names() == []


async def test_a_guarded_coroutine_waits_for_a_free_slot():
    with Started():
        await asyncio.sleep_ms(20)
        guarded = warden.guarded("job", wait_ms=5000)
        job = guarded(_coroutine)
        found = await asyncio.gather(job(1), job(2), job(3, b=1))
        assert found == [(3, ["job"] * 3), (4, ["job"] * 2), (4, ["job"])]
        Device.decorate = guarded(Device.read_later)
        assert await Device().decorate(1) == (11, ["job"])
        assert _names() == []


async def test_an_async_closure_is_guarded_to_its_end():
    with Started():
        await asyncio.sleep_ms(20)
        order = []

        @warden.guarded("job", wait_ms=5000)
        async def job(number):
            await asyncio.sleep_ms(10)
            order.append((number, len(_names())))
            return number

        assert await asyncio.gather(job(1), job(2), job(3)) == [1, 2, 3]
        assert order == [(1, 3), (2, 2), (3, 1)]
        assert _names() == []


async def test_an_async_closure_that_raises_or_is_cancelled_leaves_nothing():
    with Started():
        await asyncio.sleep_ms(20)
        started = []

        @warden.guarded("job")
        async def job(fails):
            started.append(fails)
            if fails:
                raise ValueError("on purpose")
            await asyncio.sleep_ms(10_000)

        for _ in range(2):
            try:
                await job(True)
                raise AssertionError("did not raise")
            except ValueError:
                pass
            assert _names() == []
            task = asyncio.create_task(job(False))
            await asyncio.sleep_ms(5)
            assert _names() == ["job"]
            task.cancel()
            await asyncio.sleep_ms(5)
            assert _names() == []
        assert started == [True, False] * 2


async def test_an_async_closure_that_never_runs_holds_no_place():
    with Started():
        await asyncio.sleep_ms(20)

        def closure(runs):
            @warden.guarded("job", memory=warden.LEARNED)
            async def job():
                runs.append(_names())

            return job

        runs = []
        closure(runs)()  # nobody awaits it
        assert _names() == []
        task = asyncio.create_task(closure(runs)())
        task.cancel()
        await asyncio.sleep_ms(5)
        assert _names() == [] and runs == []
        need = running_agent().policy.profile.rows[0]
        assert need is None  # what did not run has taught nothing
        await closure(runs)()
        assert runs == [["job"]] and _names() == []


def test_what_makes_no_sense_is_refused_where_the_function_is_guarded():
    wrong = (
        {"name": 5},
        {"name": None},
        {"name": ""},
        {"priority": 4},
        {"priority": None},
        {"priority": True},
        {"timeout_ms": 0},
        {"timeout_ms": "5"},
        {"memory": -2},
        {"memory": 1 << 30},
        {"wait_ms": -1},
        {"wait_ms": "5"},
        {"session": 5},
    )

    def refused(function, arguments):
        """Return the kind of what it raises, and its text."""
        try:
            function(**arguments)
        except (TypeError, ValueError) as error:
            return type(error), str(error)

    early = []  # before the agent starts, as a module's functions are guarded
    for each in wrong:
        early.append(refused(warden.guarded, dict({"name": "upload"}, **each)))
    with Started():
        for place in range(len(wrong)):
            arguments = dict({"name": "upload"}, **wrong[place])
            at_begin = refused(warden.operation, arguments)
            assert at_begin is not None and early[place] == at_begin, wrong[place]
        warden.guarded("upload", warden.HIGH, 5, warden.LEARNED, None, warden.session("s"))


async def _nothing():
    pass


def test_a_name_with_control_characters_is_refused_wherever_the_application_gives_one():
    def spawn(name):
        coro = _nothing()

        async def main():
            await warden.spawn(coro, name)

        try:
            asyncio.run(main())
        finally:
            coro.close()

    early = warden.guarded  # which needs no agent
    with Started(4):
        uses = (
            early,
            warden.operation,
            lambda name: warden.begin(name).complete(),
            lambda name: warden.allocate(warden.MEMORY, 8, owner=name).release(),
            lambda name: warden.session(name).close(),
            lambda name: warden.thread(_names, (), name),
            lambda name: warden.checkin(name, 1000).close(),
            spawn,
        )
        bad = ("\x1b[2J", "a\nb", "a\x1f", "\x7f", "a\x80", "\x9b2J", "\u0400\x9f", "\xc2\x85")
        for use in uses:
            for name in bad:
                assert str(raises(ValueError, use, name)) == "control characters", name
            for name in ("~ a", "\xa0\xa1", "\xc2\xbf", "\u0440\u20ac", "\U0001d11e"):
                use(name)
        assert warden.operations() == [] and warden.allocations() == []


def test_one_that_runs_out_of_memory_raises_what_its_name_is_granted():
    with Started():
        guarded = warden.guarded("upload", memory=warden.LEARNED)

        @guarded
        def plain(error):
            if error:
                raise MemoryError

        for error in (False, True):
            try:
                plain(error)
            except MemoryError:
                assert error
        worst = running_agent().policy.profile.rows[0].worst_bytes
        assert worst >= 1024

        def later():  # as an async closure: it is seen at the call only
            return _fails()

        raises(MemoryError, asyncio.run, guarded(later)())
        assert running_agent().policy.profile.rows[0].worst_bytes > worst


async def _fails():
    raise MemoryError
