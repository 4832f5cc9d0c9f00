"""How busy the event loop is, seen where asyncio waits.

asyncio spends its idle time inside `core._io_queue.wait_io_event`, and calls it between any two
steps of tasks. A wrapper there sees all idle time and the length of every step:

- CPU: the share of time that was not idle;
- loop lag, worst: the longest step, which is how long an event may have had to wait;
- loop lag, mean: what an event coming at a random moment waits for the running step to end, which
  is the sum of the steps' squares over twice the time (inspection paradox; any queueing text).

Tasks are counted where they are made and where they end.
"""

import sys
from array import array

from micropython import const

from warden_schema.loops import load as _load

# Cells of the array that the wrapper writes: small integers that need no allocation.
_IDLE = const(0)  # µs idle
_WORST = const(1)  # µs of the longest step
_SQUARES = const(2)  # sum of squared steps, in units of 64 µs
_COUNTED = const(3)  # tasks,
_ALL_COUNTED = const(4)  # and whether these are all
_WHOLE = const(5)  # whether asyncio was watched from the beginning of the period on

_SQUARES_MAX = const(1 << 29)
_IDLE_MAX = const(900_000_000)
_CPU_PERMILLE = const(7)  # in the sample
_UNKNOWN = const(-0x40000000)
_STEP_MAX = const(23_000)  # 1.5 s in those units: its square stays below the limit


class Load:
    """Attach with `attach()`; `read()` puts the figures of a sample's period into `values`."""

    def __init__(self, board, values, ident=lambda: 0):
        self._values = values
        self._cells = array("i", [0, 0, 0, 0, 0, 0])
        self._since = array("l", [0])  # when the running step began: 62 bits on unix
        self.modules = sys.modules
        self._ticks_us = board.ticks_us
        self._ticks_diff = board.ticks_diff
        self._ident = ident  # of the calling thread
        self._loop_thread = None
        self.core = None
        self._queue = None
        self._create_task = None
        self.counted = None  # function that wraps a coroutine so that it counts, once attached
        self.attached = False

    # --- attaching ------------------------------------------------------------------------------

    def attach(self):
        """Watch asyncio, if the application uses it; return whether it does. Cheap to repeat."""
        core = self.core or sys.modules.get("asyncio.core")
        if core is None:
            return False
        if core._io_queue is not self._queue:
            self._watch_waits(core)
        if self.core is None:
            self.core = core
            self._count_tasks(core)
        self.attached = True
        return True

    def detach(self):
        """Leave asyncio as it was."""
        if self.core is not None:
            if self.core._io_queue is self._queue and "wait_io_event" in self._queue.__dict__:
                del self._queue.wait_io_event
            self._set_create_task(self._create_task)
        self.core = self._queue = None
        self.attached = False

    def _watch_waits(self, core):
        self._wait = core._io_queue.wait_io_event
        self._cells[_WHOLE] = 0
        self._since[0] = self._ticks_us()
        core._io_queue.wait_io_event = self._wait_io_event  # a bound method is made once
        self._queue = core._io_queue

    def _wait_io_event(self, dt):
        """Wait as asyncio does, and note for how long; its frame has eleven words, see `agent`."""
        cells = self._cells
        now = self._ticks_us()
        step = self._ticks_diff(now, self._since[0])
        if step > cells[_WORST]:
            cells[_WORST] = step
        step >>= 6
        if step:
            if step > _STEP_MAX:
                step = _STEP_MAX
            if cells[_SQUARES] < _SQUARES_MAX:
                cells[_SQUARES] += step * step
        self._wait(dt)
        dt = self._ticks_us()
        self._since[0] = dt
        step = self._ticks_diff(dt, now)
        if cells[_IDLE] < _IDLE_MAX:  # more is in no period that is looked at
            cells[_IDLE] += step

    def _count_tasks(self, core):
        cells = self._cells
        create_task = core.create_task
        running = core.cur_task is not None
        # Tasks that began earlier are not seen: but if nothing waits, there are none.
        known = core._task_queue.peek() is None and not core._io_queue.map
        cells[_ALL_COUNTED] = 1 if known else 0
        cells[_COUNTED] = 1 if running else 0

        async def counted(coro):
            cells[_COUNTED] += 1  # not before it starts: one that is cancelled earlier never ends
            try:
                return await coro
            finally:
                cells[_COUNTED] -= 1

        def counting_create_task(coro):
            if hasattr(coro, "send"):
                coro = counted(coro)
            return create_task(coro)

        self.counted = counted
        self._create_task = create_task
        self._set_create_task(counting_create_task)

    def _set_create_task(self, function):
        self.core.create_task = function
        package = sys.modules.get("asyncio")
        if package is not None:
            package.create_task = function

    def uncounted_create_task(self, coro):
        """Start a task as asyncio does; the agent's own are none of the application's."""
        return self._create_task(coro)

    def enter_loop(self):
        """Note that this thread runs the event loop; called by the agent's own task."""
        self._loop_thread = self._ident()

    def in_loop(self):
        """Tell whether the caller is in the thread that runs the event loop."""
        return self._ident() == self._loop_thread

    def current_task(self):
        """Return the task of asyncio that calls, None for a thread or plain code."""
        core = self.core
        return core.cur_task if core is not None and self.in_loop() else None

    # --- reading --------------------------------------------------------------------------------

    @property
    def cpu_permille(self):
        """How busy the loop was, as of the last sample; None: nobody can tell."""
        cpu = self._values[_CPU_PERMILLE]
        return None if cpu == _UNKNOWN else cpu

    @property
    def tasks_known(self):
        """Tell whether all tasks are counted."""
        return self._cells[_ALL_COUNTED] != 0

    def read(self):
        """Put the figures of the sample's period into it; allocates nothing."""
        core = self.core
        if core is None:
            if not self.attach():
                return  # nothing is known
            core = self.core
        elif core._io_queue is not self._queue:
            self._watch_waits(core)
        cells = self._cells
        whole = cells[_WHOLE]
        cells[_WHOLE] = 0 if core.cur_task is None else 1
        step = -1
        if whole and cells[_WHOLE]:  # the step that is running counts as far as it has come
            step = self._ticks_diff(self._ticks_us(), self._since[0])
        _load(self._values, cells, step)
