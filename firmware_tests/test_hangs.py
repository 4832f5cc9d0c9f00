# targets: unix frozen
# heap: 600k
"""An application that hangs is seen, interrupted, and its blocked line kept."""

import _thread
import asyncio
import os
import sys
import time

import machine
import micropython

import no_memory
import warden
from harness import raises
from rig import board
from warden.crash_setup import make_crashes
from warden.crashes import Crashes
from warden.running import running_agent

_HANG_MS = 500
_ENOUGH_MS = 8000
_STEPS = ("begun", "over", "stopped", "reset", "late")  # ids.HANG_STEPS
_CAN_LINE, _NO_SLOT = 16, 17
_HUNG = 7  # a state of the record


def _events():
    """Return subject and detail of the events `hang` that were posted since the start."""
    ring = running_agent().policy.events
    found = [ring.event(number) for number in range(max(0, ring.seq - 16), ring.seq)]
    return [(_STEPS[event[4]], event[5]) for event in found if event[1] == "hang"]


def _spin(until=None):
    """Turn in circles for ever, or until a time in ticks."""
    number = 7
    while until is None or time.ticks_diff(until, time.ticks_ms()) > 0:
        number = (number * 31) & 0xFFFF
    return number


def _checksum():
    return _spin()


def _measure():
    return _checksum()


async def _sensor():
    await asyncio.sleep_ms(20)
    async with warden.operation("sample"):
        _measure()


class _Application:
    """A main that hangs in a task at its first run, and ends at the second one."""

    def __init__(self, hang=_sensor, **options):
        self.hang = hang
        self.options = options
        self.steps = True
        self.runs = 0
        self.events = None

    async def main(self):
        self.runs += 1
        options = {"budget_permille": 1000, "link": False, "steps": self.steps}
        warden.start(interval_ms=100, **options)
        warden.watchdog(_HANG_MS, **self.options)
        if self.runs == 1:
            task = asyncio.create_task(self.hang())
            await asyncio.wait_for(task, _ENOUGH_MS // 1000)
        await asyncio.sleep_ms(300)
        self.events = _events()
        self.reasons = bytes(running_agent().reasons)
        return self.runs


def _line_of(word):
    """Return the number of the line of this file that has a word."""
    with open(__file__) as file:
        return [word in line for line in file].index(True) + 1


def _run(application):
    try:
        return warden.run(application.main)
    finally:
        warden.stop()
        asyncio.new_event_loop()


def test_a_hang_three_calls_below_asyncio_is_stopped_and_its_line_kept():
    application = _Application(action="stop")
    assert _run(application) == 2
    caught = [each for each in warden.exceptions() if each["kind"] == "hang"][-1]
    lines = caught["traceback"].rstrip("\n").split("\n")
    functions = [line.split(" ")[1] for line in lines[:-1]]
    assert functions[-2:] == ["_checksum", "_spin"], lines  # as many as there is room for
    found = int(lines[-2].split(" ")[0].split(":")[1])
    first = _line_of("while until is None")
    assert first <= found <= first + 1, (found, first)
    assert lines[-1].startswith("KeyboardInterrupt")
    assert caught["name"] == "_sensor: sample"
    assert application.events == [("begun", "_sensor: sample"), ("stopped", "_sensor: sample")]


def test_an_application_that_has_ctrl_c_as_data_is_stopped_too():
    """As one with a binary protocol on stdin: SIGINT would end this port."""

    async def binary():
        micropython.kbd_intr(-1)
        _measure()

    application = _Application(binary, action="stop")
    try:
        assert _run(application) == 2
    finally:
        micropython.kbd_intr(3)
    caught = [each for each in warden.exceptions() if each["kind"] == "hang"][-1]
    assert " _spin\n" in caught["traceback"]


def test_after_too_many_restarts_in_an_hour_it_ends():
    application = _Application(action="stop", restarts=0)
    raises(KeyboardInterrupt, _run, application)  # this port cannot reset itself
    assert application.runs == 1
    entry = [row for row in make_crashes(board()).rows[5:] if row][-1]  # as at its next start
    assert (entry[0], entry[5]) == ("hang", "_sensor: sample")
    assert b" _spin\nKeyboardInterrupt" in entry[10]


def test_an_application_that_catches_the_interrupt_goes_on():
    async def stubborn():
        try:
            _spin()
        except KeyboardInterrupt:
            await asyncio.sleep_ms(2500)

    application = _Application(stubborn, action="stop")
    application.steps = False  # its task has its name all the same
    assert _run(application) == 1
    assert application.events == [("begun", "stubborn"), ("over", "stubborn")]


def test_the_callbacks_of_the_stopped_application_go_with_it():
    def kept(event):
        pass

    def kept_trim(level):
        return 0

    def kept_too(level):
        return 0

    async def hang():
        warden.on("lease", lambda event: None)
        warden.on_trim(lambda level: 0)
        _spin()

    warden.start(link=False)
    warden.on("lease", kept)  # before run(), which main does not set anew
    warden.on_trim(kept_trim)
    warden.on_trim(kept_too)  # so that there are more of these
    application = _Application(hang, action="stop")
    policy = running_agent().policy
    assert _run(application) == 2
    assert policy.events.callbacks == [("lease", kept)]
    assert policy.pressure.functions == [kept_trim, kept_too] + [None] * 6


def test_what_the_stopped_application_held_is_free_for_the_next():
    async def greedy():
        warden.spawn(asyncio.sleep(1000), "sleeper")
        async with warden.operation("first"):
            await asyncio.sleep_ms(20)
            warden.begin("second")
            _spin()

    application = _Application(greedy, action="stop")
    assert _run_and_look(application) == ([], [])


def test_nor_is_it_there_before_a_main_that_is_plain_code_begins_an_event_loop():
    found = []

    async def greedy():
        warden.spawn(asyncio.sleep(1000), "sleeper")
        warden.begin("held")
        await asyncio.sleep_ms(20)
        _spin()

    def main():
        tables = (policy.operations, policy.load_meters())
        found.append([each.name for table in tables for each in table.rows if each])
        if len(found) == 1:
            warden.watchdog(_HANG_MS, action="stop")
            asyncio.run(greedy())

    warden.start(interval_ms=100, budget_permille=1000, link=False)
    policy = running_agent().policy
    try:
        warden.run(main)
    finally:
        warden.stop()
        asyncio.new_event_loop()
    assert found == [[], []]


def _run_and_look(application):
    """Return the operations, and the meters, that are left when the application has ended."""
    main = application.main

    async def run_main():
        await main()
        policy = running_agent().policy
        return [op.name for op in policy.operations.all()], [
            row for row in policy.load_meters().rows if row
        ]

    application.main = run_main
    return _run(application)


class _Reset(BaseException):
    """Stands for a reset, which does not return."""


def _reset():
    raise _Reset


def test_a_board_that_is_reset_for_a_hang_knows_it_at_the_next_boot():
    class Resettable(_Application):
        async def main(self):
            warden.start(link=False)
            running_agent().board.reset = _reset
            await super().main()

    application = Resettable(action="reset")
    raises(_Reset, _run, application)
    entry = [row for row in make_crashes(board()).rows[5:] if row][-1]
    assert (entry[0], entry[1] & 2, entry[5]) == ("hang", 0, "_sensor: sample")
    assert b" _spin\nKeyboardInterrupt" in entry[10]


def test_a_board_without_memory_for_a_restart_is_reset():
    async def long_name():
        await asyncio.sleep_ms(20)
        async with warden.operation("an operation that hangs"):
            _spin()

    def reset():
        micropython.heap_unlock()
        raise _Reset

    class Full(_Application):
        async def main(self):
            warden.start(link=False)
            running_agent().board.reset = reset
            running_agent().board.collect = micropython.heap_lock  # what it collects is not enough
            await super().main()

    raises(_Reset, _run, Full(long_name, action="stop"))
    assert Crashes.current.state == _HUNG  # no more than that, on a board with a file only
    assert b"long_name: an operat" in Crashes.current.buf


def test_in_a_full_heap_an_application_that_runs_anew_sets_its_watchdog_once_more():
    """What sets it up is loaded for each call, and has no room then."""
    found = []

    others = [  # which are not as they were set
        lambda: warden.watchdog(_HANG_MS + 1, action="stop", polled=True),
        lambda: warden.watchdog(_HANG_MS, polled=True),
        lambda: warden.checkin("part", 60_001),
        lambda: warden.checkin("other", 60_000),
    ]

    def main():
        warden.start(interval_ms=100, budget_permille=1000, link=False)
        warden.watchdog(_HANG_MS, action="stop", polled=True)
        if found:
            found[0].fed_ms = time.ticks_add(found[0].fed_ms, -5000)
        each = warden.checkin("part", 60_000)
        if not found:
            found.append(each)
            no_memory.fill()
            _spin()
        for place in range(len(others)):
            try:
                others[place]()
            except MemoryError:
                others[place] = None
        watchdog = Crashes.current.watchdog
        is_on = watchdog.active and watchdog.timer is not None
        no_memory.empty()
        return each, is_on, watchdog.duties.rows

    core = sys.modules.pop("asyncio.core", None)  # a loop would be made anew
    try:
        each, is_on, rows = warden.run(main)
    finally:
        sys.modules["asyncio.core"] = core
        no_memory.empty()
        warden.stop()
    assert each is found[0] and each in rows and rows.count(None) == 7
    assert others == [None] * 4 and is_on
    assert time.ticks_diff(time.ticks_ms(), each.fed_ms) < 5000


def test_the_package_finds_its_names_however_often_the_action_changes():
    found = []

    def main():
        warden.start(interval_ms=100, budget_permille=1000, link=False)
        running_agent().board.reset = _reset
        for action in ("tell", "stop", "tell", "stop", "reset", "tell"):
            warden.watchdog(_HANG_MS, action=action, polled=True)
            stopper = Crashes.current.watchdog.action
            found.append(warden.__getattr__ if stopper is None else stopper.load)
            raises(AttributeError, getattr, warden, "no_such_name")

    try:
        warden.run(main)
    finally:
        warden.stop()
    assert found == [found[0]] * 6


def test_without_memory_an_operation_begins_in_a_thread():
    """The heap is locked for a thread alone, so it is in that one."""
    done = []

    def work():
        micropython.heap_lock()
        try:
            op = warden.begin("op")
        finally:
            micropython.heap_unlock()
        done.append(op)

    async def begin():
        _thread.start_new_thread(work, ())
        while not done:
            await asyncio.sleep_ms(5)

    assert _run(_Application(begin)) == 1
    assert done[0].name == "op"


def test_a_hang_is_only_reported_unless_more_is_wanted():
    async def slow():
        _spin(time.ticks_add(time.ticks_ms(), 900))

    application = _Application(slow)
    assert _run(application) == 1
    assert application.events == [("begun", "slow"), ("over", "slow")], application.events


def test_a_ctrl_c_that_unix_raises_in_the_tickers_thread_does_not_end_it():
    class Interrupted(_Application):
        async def main(self):
            warden.start(link=False)
            calls = []

            def sleep_ms(ms):
                calls.append(ms)
                if len(calls) == 1:
                    raise KeyboardInterrupt
                time.sleep_ms(ms)

            running_agent().board.sleep_ms = sleep_ms
            return await super().main()

    async def slow():
        _spin(time.ticks_add(time.ticks_ms(), 900))

    application = Interrupted(slow)
    assert _run(application) == 1
    assert application.events == [("begun", "slow"), ("over", "slow")], application.events


# --- by os.dupterm, with a fake Timer and a fake os that do what MicroPython documents ------------


_INTERRUPT_MS = 1500  # that the fake os's interrupt may take; the watchdog waits for 2000


class FakeTimer:
    """Stands in for a virtual `machine.Timer`: its callback is scheduled, in the main thread.

    Not while an interrupt of the fake os is under way: on a board it comes at once, and no callback
    in which it could end is between.
    """

    PERIODIC = 1
    quiet_until = None  # in ticks

    def __init__(self, number):
        if number != -1:
            raise ValueError("no such timer")
        self.callback = None

    def init(self, period, mode, callback):
        self.callback = callback
        _thread.start_new_thread(self.run, (period,))

    def run(self, period):
        while self.callback is not None:
            time.sleep_ms(period)
            until = FakeTimer.quiet_until
            if until is not None and time.ticks_diff(until, time.ticks_ms()) > 0:
                continue
            try:
                micropython.schedule(self.fire, 0)
            except RuntimeError:
                pass

    def fire(self, _):
        if self.callback is not None:
            self.callback(self)

    def deinit(self):
        self.callback = None


class FakeMachine:
    """The real module, and a Timer."""

    Timer = FakeTimer


class FakeOs:
    """Stands in for `os` of a port with one slot for `os.dupterm` (docs, library/os.html).

    What the stream's readinto gives is a Ctrl-C: KeyboardInterrupt in the main program, which on
    this port only a signal raises.
    """

    def __init__(self, owner=None):
        self.slot = owner
        self.reads = 0

    def dupterm(self, stream, index=0):
        if index != 0:
            raise ValueError("invalid dupterm index")
        owner = self.slot
        self.slot = stream
        return owner

    def dupterm_notify(self, _):
        buf = bytearray(1)
        self.reads += 1
        if self.slot.readinto(buf) == 1 and buf[0] == 3:
            FakeTimer.quiet_until = time.ticks_add(time.ticks_ms(), _INTERRUPT_MS)
            os.system("(sleep 0.1; kill -INT $PPID) &")

    def __getattr__(self, name):
        return getattr(os, name)


class _ByDupterm:
    """`with`: the watchdog has a fake Timer and interrupts by a fake os.dupterm."""

    def __init__(self, owner=None):
        self.os = FakeOs(owner)

    def __enter__(self):
        self._replace(self.os, FakeMachine)
        return self.os

    def __exit__(self, kind, error, trace):
        self._replace(os, machine)
        return False

    def _replace(self, os, machine):
        sys.modules["os"] = os
        sys.modules["machine"] = machine
        sys.modules.pop("warden.by_dupterm", None)  # which would have the other os
        Crashes.current.watchdog = None


def test_by_dupterm_the_line_is_found_and_the_slot_is_free_again():
    with _ByDupterm() as fake:
        application = _Application(action="stop")
        assert _run(application) == 2
        assert (fake.slot, fake.reads) == (None, 1)
        caught = [each for each in warden.exceptions() if each["kind"] == "hang"][-1]
        assert " _spin\n" in caught["traceback"]


def test_a_slot_that_is_taken_stays_its_owners():
    async def slow():
        _spin(time.ticks_add(time.ticks_ms(), 1200))

    owner = object()
    with _ByDupterm(owner) as fake:
        application = _Application(slow, action="stop")
        assert _run(application) == 1
        assert (fake.slot, fake.reads) == (owner, 0)
        assert application.events == [("begun", "slow"), ("over", "slow")]
        assert application.reasons[_CAN_LINE] == _NO_SLOT


def _no_memory():
    raise MemoryError


def test_with_no_memory_for_another_stream_the_one_before_interrupts():
    runs = []

    async def main():
        runs.append(None)
        warden.start(interval_ms=100, budget_permille=1000, link=False)
        warden.watchdog(_HANG_MS, action="stop")
        sys.modules["warden.by_dupterm"].ByDupterm = _no_memory
        if len(runs) < 3:
            await asyncio.sleep_ms(20)
            _spin(time.ticks_add(time.ticks_ms(), _ENOUGH_MS))
        return len(runs)

    with _ByDupterm() as fake:
        try:
            assert warden.run(main) == 3
        finally:
            warden.stop()
            asyncio.new_event_loop()
        assert (fake.slot, fake.reads) == (None, 2)


def test_with_no_memory_for_the_first_stream_nothing_is_set():
    def main():
        warden.start(link=False)
        find = warden.__getattr__
        warden.watchdog(polled=True)
        import warden.by_dupterm as module

        stream = module.ByDupterm
        module.ByDupterm = _no_memory
        for _ in range(2):
            raises(MemoryError, warden.watchdog, action="stop", polled=True)
            assert Crashes.current.watchdog.action is None
            assert warden.__getattr__ == find
        module.ByDupterm = stream
        warden.watchdog(action="stop", polled=True)
        return Crashes.current.watchdog.action.slot

    with _ByDupterm():
        try:
            assert warden.run(main) is not None
        finally:
            warden.stop()


def test_the_stream_gives_one_ctrl_c_and_nothing_else():
    with _ByDupterm() as fake:
        from warden.by_dupterm import ByDupterm

        stream = ByDupterm()
        buf = bytearray(4)
        assert (stream.readinto(buf), stream.write(b"printed")) == (None, 7)
        assert stream.prepare() and fake.slot is stream
        stream.is_armed = True
        assert stream.ioctl(3, 5) == 1
        assert (stream.readinto(buf), buf[0], stream.readinto(buf)) == (1, 3, None)
        stream.release()
        assert fake.slot is None
