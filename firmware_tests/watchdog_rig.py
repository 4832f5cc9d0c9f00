"""A board with an agent, and a watchdog for it, in a time that is set by hand.

With a fake Timer, and a fake WDT.
"""

import sys

from rig import FakeLink
from virtual_board import VirtualBoard
from warden.crash_setup import attach, make_crashes
from warden.launch import make_runner
from warden.runner import Runner
from warden.setup import make_agent
from warden.watchdog_setup import launch, make_watchdog

_LIMITS = (4, 300_000, 100, 5000)
_STEPS = ("begun", "over", "stopped", "reset", "late")  # ids.HANG_STEPS


class SmallTicks:
    """Ticks that never wrap, nor take heap on 32 bits, as those of `FakeTicks` do."""

    def __init__(self):
        self.now = 0

    def pass_ms(self, ms):
        self.now += ms

    def ticks_ms(self):
        return self.now

    def ticks_us(self):
        return self.now % 1000 * 1000

    def ticks_diff(self, end, start):
        return end - start


class FakeTimer:
    """Stands in for a virtual `machine.Timer`; `fire()` is the interrupt."""

    PERIODIC = 1

    def __init__(self, number):
        assert number == -1

    def init(self, period, mode, callback):
        self.period = period
        self.callback = callback

    def deinit(self):
        self.callback = None


class FakeWDT:
    """Stands in for `machine.WDT`: it cannot be stopped, and `has_bitten` once it was not fed."""

    def __init__(self, ticks, timeout):
        if timeout > 8388:
            raise ValueError("timeout exceeds 8388")
        self.ticks = ticks
        self.timeout = timeout
        self.fed_ms = ticks.ticks_ms()
        self.has_bitten = False
        self.feeds = 0

    def look(self):
        """Bite if it is time; return whether it has bitten."""
        if self.ticks.ticks_diff(self.ticks.ticks_ms(), self.fed_ms) > self.timeout:
            self.has_bitten = True
        return self.has_bitten

    def feed(self):
        if not self.look():
            self.fed_ms = self.ticks.ticks_ms()
            self.feeds += 1


class FakeMachine:
    """Stands in for `machine`: with a WDT, and a Timer unless there is none."""

    def __init__(self, ticks, has_timer):
        self.ticks = ticks
        self.dog = None
        if has_timer:
            self.Timer = FakeTimer

    def WDT(self, timeout):
        self.dog = FakeWDT(self.ticks, timeout)
        return self.dog


class Rig:
    """A board with an agent, and a watchdog for it; `with` removes the fake `machine`."""

    def __init__(self, has_timer=True, is_run_by_timer=False, limits=_LIMITS):
        self.board = VirtualBoard()
        self.board.ticks = ticks = SmallTicks()
        self.board.ticks_ms = ticks.ticks_ms
        self.board.ticks_us = ticks.ticks_us
        self.board.ticks_diff = ticks.ticks_diff
        self.board.reset = self.on_reset
        self.board.identity = ("fake", "fake", "fake", b"", None, "0")
        self.resets = 0
        self.machine = self.board.machine = FakeMachine(self.board.ticks, has_timer)
        self.real = sys.modules.get("machine")
        sys.modules["machine"] = self.machine
        self.agent = make_agent(self.board, 600_000, 10, FakeLink(), limits)
        if limits is not None:
            self.agent.policy.thresholds.set("memory")
        self.agent.threads.start = None  # a port without threads
        self.crashes = make_crashes(self.board)
        self.runner = Runner.current = make_runner(self.agent)
        if is_run_by_timer:
            self.runner.timer = FakeTimer(-1)
        attach(self.crashes, self.agent)
        self.crashes.main = nothing
        self.dog = self.crashes.watchdog = make_watchdog(self.crashes)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        Runner.current = None
        if self.real is None:
            del sys.modules["machine"]
        else:
            sys.modules["machine"] = self.real
        return False

    def on_reset(self):
        self.resets += 1

    def configure(self, action="tell", hardware_ms=None, polled=False):
        launch(self.dog, 2000, action, hardware_ms, 60_000, 6, polled)

    def pass_ms(self, ms, turns=True, ticks=True, by_timer=False):
        """Let time pass, with turns and ticks each 100 ms; by_timer: polls of a Timer, too."""
        for _ in range(ms // 100):
            self.board.ticks.pass_ms(100)
            if by_timer:
                self.runner.callback(0)
            if turns:
                self.agent.poll()
            if ticks and self.dog.timer:
                self.dog.run_due(0)
            if self.machine.dog is not None:
                self.machine.dog.look()

    def events(self):
        """Return subject, detail and value of the events `hang`."""
        events = self.agent.policy.events
        found = [events.event(number) for number in range(events.seq)]
        return [
            tuple([_STEPS[event[4]], event[5], event[6]]) for event in found if event[1] == "hang"
        ]


def without_asyncio(test):
    """Return a test that sees no asyncio: whether one was imported depends on the tests before."""

    def run():
        module = sys.modules.pop("asyncio.core", None)
        try:
            test()
        finally:
            if module is not None:
                sys.modules["asyncio.core"] = module

    return run


def nothing():
    """Stand for an application."""
