# targets: unix frozen
"""What ends real tasks and real threads."""

import asyncio
import sys
import time

import warden
from harness import has_module, needs, raises

_ENOUGH = 500


class _Started:
    """The agent, and what was posted of exceptions."""

    async def __aenter__(self):
        self.silent = _Silent()
        warden.start(interval_ms=50, budget_permille=1000, link=False)
        self.events = []
        warden.on("exception", self._note)
        return self

    async def __aexit__(self, kind, error, trace):
        warden.stop()
        return False

    def _note(self, event):
        self.events.append((event[4], event[5]))

    async def until(self, count):
        for _ in range(_ENOUGH):
            if len(self.events) >= count:
                return self.events
            await asyncio.sleep_ms(5)
            warden.poll()
        raise AssertionError(self.events)


class _Silent:
    """Takes the place of what prints an exception that nobody awaits."""

    contexts = []

    def __init__(self):
        del self.contexts[:]
        asyncio.get_event_loop().set_exception_handler(self.note)

    def note(self, loop, context):
        self.contexts.append(context["exception"])


async def _inner():
    raise OSError(5)


async def _sensor():
    await asyncio.sleep_ms(1)
    await _inner()


async def _forever():
    await asyncio.sleep(1000)


async def test_a_task_that_nobody_awaits_is_told_and_the_applications_handler_is_called():
    warden.exceptions()
    async with _Started() as board:
        asyncio.create_task(_sensor())  # noqa: RUF006, nobody awaits it
        assert await board.until(1) == [(0, "_sensor: OSError")]
        assert len(board.silent.contexts) == 1
        caught = warden.exceptions()[-1]
        assert (caught["kind"], caught["name"], caught["count"]) == ("task", "_sensor", 1)
        lines = caught["traceback"].split("\n")
        assert [line.split(" ")[1] for line in lines[:2]] == ["_sensor", "_inner"], lines
        later = []
        asyncio.get_event_loop().set_exception_handler(lambda loop, context: later.append(1))
        asyncio.create_task(_sensor())  # noqa: RUF006, nobody awaits it
        await board.until(2)
        assert (len(later), len(board.silent.contexts)) == (1, 1)
        assert warden.exceptions()[-1]["count"] == 2


async def test_what_is_awaited_or_cancelled_is_not_told():
    async with _Started() as board:
        task = asyncio.create_task(_sensor())
        try:
            await task
        except OSError:
            pass
        task = asyncio.create_task(_forever())
        await asyncio.sleep_ms(1)
        task.cancel()
        task = warden.spawn(_forever(), "forever")
        await asyncio.sleep_ms(1)
        task.cancel()
        await asyncio.sleep_ms(20)
        warden.poll()
        assert board.events == []


async def test_a_metered_task_is_told_once_awaited_or_not():
    async with _Started() as board:
        warden.spawn(_sensor(), "alone")
        assert await board.until(1) == [(0, "alone: OSError")]
        task = warden.spawn(_sensor(), "awaited")
        await asyncio.gather(task, return_exceptions=True)
        assert (await board.until(2))[1] == (0, "awaited: OSError")
        await asyncio.sleep_ms(20)
        warden.poll()
        assert len(board.events) == 2


async def test_a_stopped_agent_leaves_asyncio_as_it_was():
    core = sys.modules["asyncio.core"]
    before = core.Loop.call_exception_handler
    async with _Started():
        assert core.Loop.call_exception_handler is not before
    assert core.Loop.call_exception_handler is before


async def test_a_thread_is_told_with_its_name():
    needs("_thread")
    import _thread

    warden.exceptions()
    async with _Started() as board:
        warden.thread(_inner_of_a_thread, ("x",), "reader")
        _thread.start_new_thread(_inner_of_a_thread, ("y",))
        await board.until(2)
        assert sorted(board.events) == [(1, "ValueError"), (1, "reader: ValueError")]
        caught = [each for each in warden.exceptions() if each["name"] == "reader"]
        assert caught[0]["kind"] == "thread"
        assert " _inner_of_a_thread\n" in caught[0]["traceback"]


def _inner_of_a_thread(word):
    raise ValueError(word)


def test_many_threads_that_end_at_once_are_all_counted():
    if not has_module("_thread"):
        return
    import _thread

    warden.exceptions()
    warden.start(interval_ms=50, budget_permille=1000, link=False)
    try:
        before = _count("many")
        for _ in range(8):
            _thread.start_new_thread(_inner_of_a_thread, ("many",))
        for _ in range(_ENOUGH):
            if _count("many") - before == 8:
                return
            time.sleep_ms(5)
        raise AssertionError(warden.exceptions())
    finally:
        warden.stop()


def _count(word):
    return sum([each["count"] for each in warden.exceptions() if word in each["traceback"]])


async def _main():
    warden.start(interval_ms=50, link=False)
    try:
        await _sensor()
    finally:
        warden.stop()


def test_what_ends_an_application_with_asyncio_is_kept():
    for main in (_main, _main()):
        raises(OSError, warden.run, main)
        asyncio.new_event_loop()
    caught = warden.exceptions()[-1]
    assert (caught["kind"], caught["count"]) == ("application", 2)
    lines = caught["traceback"].split("\n")
    assert [line.split(" ")[1] for line in lines[-4:-2]] == ["_sensor", "_inner"]


async def _cancelled():
    warden.start(interval_ms=50, link=False)
    try:
        async with warden.operation("slow", timeout_ms=20):
            await asyncio.sleep_ms(5000)
    finally:
        warden.stop()


def test_an_application_that_is_cancelled_has_ended_by_an_exception():
    raises(asyncio.CancelledError, warden.run, _cancelled)
    asyncio.new_event_loop()
    caught = warden.exceptions()[-1]
    assert caught["kind"] == "application" and "CancelledError" in caught["traceback"], caught
