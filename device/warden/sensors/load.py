"""Measures how busy the event loop is, where asyncio waits, and counts its tasks.

asyncio spends its idle time inside `core._io_queue.wait_io_event`, and calls it between any two
steps of tasks. A wrapper there sees all idle time and the length of every step:

- CPU: the share of time that was not idle;
- loop lag, worst: the longest step, which is how long an event may have had to wait;
- loop lag, mean: what an event coming at a random moment waits for the running step to end, which
  is the sum of the steps' squares over twice the time (inspection paradox; any queueing text).

Tasks are counted where they are made and where they end.
"""

import sys

from micropython import const

_MAX_SQUARES = const(0x20000000)  # the mean lag is not known beyond
_MAX_STEP = const(23_000)  # 1.5 s in units of 64 µs: its square stays below that
# These two together stay below 30 bits; the agent's own task has the loop wait a minute at most.
_MAX_LOOP_IDLE_US = const(900_000_000)
_MAX_WAIT_US = const(170_000_000)
_MAX_LOAD_MS = const(900_000)  # µs ticks wrap after 17.9 minutes
_TASK = const(0)  # of ids.EXCEPTION_KINDS


def imported_asyncio():
    """Return asyncio's core if the application has imported it, all of it; else None."""
    core = sys.modules.get("asyncio.core")
    return core if hasattr(core, "_io_queue") else None  # what it makes last


class Load:
    """Watches asyncio from `attach()` on; `core` is its module, None while it is not watched.

    uncounted_create_task: asyncio's own; the agent's tasks are none of the application's.
    """

    def __init__(self, board, ident):
        self.core = None
        self.tasks = None  # how many run, None if not all were seen
        self.on_create = None  # called before each task that the application starts
        self.report = None  # called with what ends a task that nobody awaits, see `Events.report`
        self.ident = ident  # of the calling thread
        self.thread = None  # the one that runs the event loop, as the agent's own task says
        self.ticks_us = board.ticks_us
        self.ticks_diff = board.ticks_diff
        self.queue = None  # the one that is watched: each event loop has its own
        self.wait = None  # asyncio's own, and what stands for it: bound once
        self.wait_hook = self.wait_io_event
        self.uncounted_create_task = None
        self.changed = False  # what can be known, since the last sample
        self.in_task = False  # whether that sample was made inside a task
        self.began = 0  # when the running step began
        self.idle_us = 0
        self.asleep_us = 0  # of the running step, as the application announced
        self.worst_us = 0  # the longest step
        self.squares = 0  # sum of squared steps, in units of 64 µs

    def attach(self):
        """Watch asyncio if the application uses it; return whether it does. Cheap to repeat."""
        core = imported_asyncio()
        if core is None:
            return False
        if self.core is not None:
            self.watch_loop(core)
            return True
        if self.uncounted_create_task is None:
            self.uncounted_create_task = core.create_task
        self.watch_loop(core)
        if core._task_queue.peek() is not None or core._io_queue.map:
            self.tasks = None  # those that began earlier are not seen
        elif core.cur_task is not None:
            self.tasks = 1
        self.set_create_task(self.create_task)
        self.on_exception = core.Loop.call_exception_handler  # of the application, or asyncio's
        core.Loop.call_exception_handler = self.report_exception
        self.core = core
        return True

    def detach(self):
        """Leave asyncio as it was."""
        core = self.core
        if core is not None:
            if core._io_queue is self.queue and "wait_io_event" in self.queue.__dict__:
                del self.queue.wait_io_event
            self.set_create_task(self.uncounted_create_task)
            core.Loop.call_exception_handler = self.on_exception
            self.core = self.queue = None

    def set_create_task(self, function):
        """Put a create_task where applications find it."""
        for name in ("asyncio.core", "asyncio"):
            module = sys.modules.get(name)
            if module is not None:
                module.create_task = function

    def watch_loop(self, core):
        """Watch the event loop that there is now; none of its tasks was seen to begin."""
        queue = core._io_queue
        if queue is not self.queue:
            self.wait = type(queue).wait_io_event
            queue.wait_io_event = self.wait_hook
            self.in_task = False
            self.began = self.ticks_us()
            self.tasks = 0
            self.changed = True
            self.queue = queue

    def wait_io_event(self, dt):
        """Wait as asyncio does, and note for how long."""
        now = self.ticks_us()
        step = self.ticks_diff(now, self.began) - self.asleep_us
        self.asleep_us = 0
        if step > self.worst_us:
            self.worst_us = step
        step >>= 6
        if step > 0 and self.squares < _MAX_SQUARES:
            step = min(step, _MAX_STEP)
            self.squares += step * step
        self.wait(self.queue, dt)
        self.began = self.ticks_us()
        dt = self.ticks_diff(self.began, now)
        if dt < _MAX_WAIT_US and self.idle_us < _MAX_LOOP_IDLE_US:
            self.idle_us += dt

    # --- tasks ----------------------------------------------------------------------------------

    def create_task(self, coro):
        """Start a task as `asyncio.create_task` does; it counts. `asyncio.run` calls this, too."""
        if self.on_create is not None:
            self.on_create()
        if hasattr(coro, "send"):
            coro = self.counted(coro)
        return self.uncounted_create_task(coro)

    def report_exception(self, context):
        """Report what ended a task that nobody awaits; then do with it what asyncio does."""
        # A metered task has reported it.
        if self.report is not None and not hasattr(context["future"].coro, "table"):
            self.report(context["exception"], _TASK, None)
        self.on_exception(context)

    async def counted(self, coro):
        """Await a coroutine; from its first step to its end it counts as a task."""
        if self.core is not None:
            self.watch_loop(self.core)
        queue = self.queue
        if self.tasks is not None:
            self.tasks += 1
        try:
            return await coro
        finally:
            if self.tasks and queue is self.queue:
                self.tasks -= 1

    def in_loop(self):
        """Tell whether the caller is in the thread that runs the event loop."""
        return self.ident() == self.thread

    def current_task(self):
        """Return the task of asyncio that calls, None for a thread or plain code."""
        return self.core.cur_task if self.core is not None and self.in_loop() else None

    # --- reading --------------------------------------------------------------------------------

    def read(self, sample):
        """Put the period's metrics into the sample; return whether a capability may have changed.

        None of them is known of a period that was not watched from end to end. Allocates nothing.
        """
        if self.core is None or self.core._io_queue is not self.queue:
            if not self.attach():
                return False
        was_in_task = self.in_task
        self.in_task = self.core.cur_task is not None
        sample.cpu_permille = sample.loop_lag_ms = sample.loop_lag_worst_ms = None
        # The one that is running.
        step = self.ticks_diff(self.ticks_us(), self.began) - self.asleep_us
        period_ms = sample.period_ms
        was_in_task = was_in_task and self.in_task and 0 < period_ms < _MAX_LOAD_MS
        if was_in_task and step >= 0 and self.idle_us >= 0:  # else ticks have jumped back
            sample.cpu_permille = max(0, 1000 - self.idle_us // period_ms)
            sample.loop_lag_worst_ms = (max(step, self.worst_us) + 500) // 1000
            if self.squares < _MAX_SQUARES:
                # squares * 64 µs / (2 * period); 64 / 2000 = 4 / 125
                sample.loop_lag_ms = (self.squares // period_ms * 4 // 125 * 64 + 500) // 1000
        sample.tasks = self.tasks
        self.idle_us = self.worst_us = self.squares = 0
        changed, self.changed = self.changed, False
        return changed
