"""Measures how busy the event loop is, where asyncio waits, and counts its tasks.

asyncio spends its idle time inside `core._io_queue.wait_io_event`, and calls it between any two
steps of tasks. What stands there sees all idle time and the length of every step:

- CPU: the share of time that was not idle;
- loop lag, worst: the longest step, which is how long an event may have had to wait;
- loop lag, mean: what an event coming at a random moment waits for the running step to end, which
  is the sum of the steps' squares over twice the time (inspection paradox; any queueing text).
  A step of less than a millisecond adds nothing.

Tasks are counted when they are made, and when the wait after their last step finds them ended:
asyncio runs the application's own coroutines. The main one, whose end ends the loop, is there as
long as the loop runs. One that Ctrl-C or SystemExit has ended, which asyncio takes for one that
runs, counts until there is a new event loop. With `start(steps=False)` none of that is known, and
asyncio runs as it is.

What runs with each step of the application is written for few look-ups and calls: each is a
twentieth of the step. docs/cost.md has what is left.
"""

import sys

from micropython import const

_MAX_SQUARES = const(0x20000000)  # the mean lag is not known beyond
_MAX_STEP = const(23_000)  # 1.5 s in units of 64 µs: its square stays below that
# These two together stay below 30 bits; the agent's own task has the loop wait a minute at most.
_MAX_LOOP_IDLE_US = const(900_000_000)
_MAX_WAIT_US = const(170_000_000)
_TICKS_MASK = const(0x3FFFFFFF)  # a port's ticks may have more bits
_SHORT_US = const(1000)  # of a step that is not noted
_TRIALS = const(16)  # of which `wrap_us` is the time
_MAX_WRAPPED = const(400_000)  # so that nothing exceeds 30 bits
_MAX_LOAD_MS = const(900_000)  # µs ticks wrap after 17.9 minutes
_NOT_SEEN = const(-0x10000000)  # a number of tasks that stays below 0
_TASK = const(0)  # of ids.EXCEPTION_KINDS
_UNKNOWN = const(-0x3FFFFFFF - 1)
# Places among a sample's figures.
_CPU_FIGURE = const(3)
_OVERHEAD_FIGURE = const(4)
_WORST_LAG_FIGURE = const(5)
_LAG_FIGURE = const(6)
_TASKS_FIGURE = const(9)


def imported_asyncio():
    """Return asyncio's core if the application has imported it, all of it; else None."""
    core = sys.modules.get("asyncio.core")
    return core if hasattr(core, "_io_queue") else None  # what it makes last


class Load:
    """Watches asyncio from `attach()` on; `core` is its module, None while it is not watched.

    Made by `warden.setup.make_load`, which lists what it has.

    uncounted_create_task: asyncio's own; the agent's tasks are none of the application's.
    """

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
            if getattr(core.create_task, "__globals__", None) is core.__dict__:
                self.names = core.__dict__
        self.watch_loop(core)
        if core._task_queue.peek() is not None or core._io_queue.map:
            self.tasks = _NOT_SEEN  # those that began earlier
        self.set_create_task(core.create_task, self.create_task)
        self.on_exception = core.Loop.call_exception_handler  # of the application, or asyncio's
        core.Loop.call_exception_handler = self.call_exception_handler
        self.core = core
        return True

    def detach(self):
        """Leave asyncio as it was."""
        core = self.core
        if core is not None:
            if "wait_io_event" in self.queue.__dict__:
                del self.queue.wait_io_event
            if core.create_task == self.create_task:  # else there is one of the application's
                self.set_create_task(core.create_task, self.uncounted_create_task)
            core.Loop.call_exception_handler = self.on_exception
            self.core = self.queue = self.wait_hook = None  # that has the last task

    def set_create_task(self, former, function):
        """Put a create_task where applications find it: in each module that has the former one.

        Not where an object or a closure has it: the tasks that it makes are not seen.
        """
        for module in sys.modules.values():
            names = getattr(module, "__dict__", ())
            for name in names:
                if names[name] is former:
                    names[name] = function

    def watch_loop(self, core):
        """Watch the event loop that there is now; none of its tasks was seen to begin."""
        queue = core._io_queue
        former = self.queue
        if queue is not former:
            self.queue = queue
            self.wait_hook = None
            self.changed = True
            self.tasks = 0 if self.steps else _NOT_SEEN
        if self.steps and self.wait_hook is None:
            again = former and former is not queue
            watch = self.watch(queue, type(queue).wait_io_event, core, again)
            next(watch)
            self.wait_hook = queue.wait_io_event = watch.send
            self.in_task = False

    def watch(self, queue, wait, core, again=None):
        """Wait for each dt that this is sent, as asyncio does; note long steps and idle time.

        A generator, as its variables need no look-up: after next() its send() is the hook. Where
        nothing is to be waited for, streams are polled first, which saves the call of asyncio's
        function for those that are ready. Then the task that ran last is looked at: before
        a longer wait it would be found again.

        again: whether there was another loop, in which Ctrl-C may have left a task that runs.
        """
        ticks_us = self.board.ticks_us
        ticks_diff = self.board.ticks_diff
        poll = queue and queue.poller.ipoll
        began = ticks_us()
        try:
            dt = yield
            if again:
                core.cur_task = None
            while True:
                now = ticks_us()
                step = ticks_diff(now, began)
                if step > _SHORT_US:
                    step = max(0, step - self.asleep_us)
                    self.asleep_us = 0
                    if step > self.worst_us:
                        self.worst_us = step
                    step = min(step >> 6, _MAX_STEP)
                    if self.squares < _MAX_SQUARES:
                        self.squares += step * step
                if dt:
                    wait(queue, dt)
                    began = ticks_us()
                    dt = ticks_diff(began, now)
                    if dt < _MAX_WAIT_US and self.idle_us < _MAX_LOOP_IDLE_US:
                        self.idle_us += dt
                    self.wrapped += 1
                else:  # a task comes next, as with -1, of which the agent's own leave none
                    task = core.cur_task
                    if task is None:
                        if core._stop_task is None:  # its loop begins with the main task,
                            self.tasks -= 1  # which is not one of these
                    # One that is awaited after it had failed is run once more, with no data.
                    elif not task.state and task.data is not None:
                        self.tasks -= 1  # it has ended
                    for _ in poll(0):
                        wait(queue, 0)
                        break
                    began = now
                dt = yield
        except BaseException:  # Ctrl-C, say: a generator that raises has ended
            if queue is self.queue:
                del queue.wait_io_event
                self.wait_hook = None
            raise

    # --- tasks ----------------------------------------------------------------------------------

    def create_task(self, coro):
        """Start a task as `asyncio.create_task` does; it counts. `asyncio.run` calls this, too."""
        core = self.core
        if core is None or not hasattr(coro, "send"):
            return self.uncounted_create_task(coro)
        passed = self.board.ticks_ms() - self.polled_ms & _TICKS_MASK
        if core._task_queue is not self.task_queue or passed > self.patience_ms:
            self.watch_loop(core)
            if self.on_create is not None:
                self.on_create()  # has the agent's own tasks in this event loop
        self.wrapped += 1
        self.tasks += 1  # below 0 without `steps`
        if self.names is None:
            return self.uncounted_create_task(coro)
        task = core.Task(coro, self.names)  # what asyncio's own does, without its call
        core._task_queue.push(task)
        return task

    def call_exception_handler(self, context):
        """Report what ended a task that nobody awaits; then do with it what asyncio does."""
        if context is getattr(self.core, "_exc_context", None):  # else the application's own call
            # A metered task has reported it.
            if self.report is not None and not hasattr(context["future"].coro, "table"):
                self.report(context["exception"], _TASK, None)
            self.tasks += 1  # it ended before, and is run once more for this
        self.on_exception(context)

    # --- reading --------------------------------------------------------------------------------

    def read(self, sample):
        """Put the period's metrics into the sample; return whether a capability may have changed.

        None of them is known of a period that was not watched from end to end. Allocates nothing.
        """
        if not self.attach():
            return False
        was_in_task = self.in_task
        self.in_task = self.steps and self.core.cur_task is not None
        period_ms = sample.period_ms
        figures = sample.figures
        figures[_CPU_FIGURE] = figures[_LAG_FIGURE] = figures[_WORST_LAG_FIGURE] = _UNKNOWN
        # Where ticks have jumped back, a time is below 0.
        if was_in_task and self.in_task and 0 < period_ms < _MAX_LOAD_MS and self.idle_us >= 0:
            figures[_CPU_FIGURE] = max(0, 1000 - self.idle_us // period_ms)
            figures[_WORST_LAG_FIGURE] = (self.worst_us + 500) // 1000
            if self.squares < _MAX_SQUARES:
                # squares * 64 µs / (2 * period); 64 / 2000 = 4 / 125
                figures[_LAG_FIGURE] = (self.squares // period_ms * 4 // 125 * 64 + 500) // 1000
            if figures[_OVERHEAD_FIGURE] >= 0:
                figures[_OVERHEAD_FIGURE] = min(
                    min(self.wrapped, _MAX_WRAPPED) * self.wrap_us // _TRIALS // period_ms
                    + figures[_OVERHEAD_FIGURE],
                    1000,
                )
        figures[_TASKS_FIGURE] = self.tasks + (self.in_task and self.core._stop_task is None)
        if self.tasks < 0:  # more have ended than were seen to begin
            self.changed |= self.tasks > _NOT_SEEN >> 1
            figures[_TASKS_FIGURE] = _UNKNOWN
            self.tasks = _NOT_SEEN
        self.idle_us = self.worst_us = self.squares = self.wrapped = 0
        changed = self.changed
        self.changed = False
        return changed
