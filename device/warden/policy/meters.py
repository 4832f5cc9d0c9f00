"""Who uses the core: tasks whose every step is timed, and threads that have a name.

A thread's share cannot be measured: MicroPython does not say which of them runs. A task that takes
more than the lease of CPU time that it is held to is reported; if it goes on, it is cancelled.
"""

import sys

from micropython import const

from warden.errors import deny
from warden.tables import Table
from warden_schema.codec import cut

_METER = const(14)  # the kind of message
_MAX_METERS = const(16)
_MAX_NAME = const(24)
_MAX_ID = const(0x3FFFFFFF)
_MAX_SEND_MS = const(60_000)
_MAX_PERIOD_MS = const(900_000)  # µs ticks wrap after 17.9 minutes
_MAX_BUSY_US = const(900_000_000)
_LOW = const(0)  # priorities
_NORMAL = const(1)
_TASK = const(0)  # kinds of meter
_THREAD = const(1)
# A microcontroller gives a thread 4 KB by default, on which a public call may not fit.
_THREAD_STACK_BYTES = const(8192)


class Meter:
    """A task's coroutine with its steps timed, or a thread. asyncio calls send() and throw().

    The figures are those of the time between the last two samples; a thread has none.
    """

    def __init__(self, meters, meter_id, kind, priority, lease):
        self.id = meter_id
        self.name = ""
        self.row = 0
        self.kind = kind
        self.priority = priority
        self.lease = lease  # of CPU time, or None
        self.lease_id = None if lease is None else lease.id
        self.cpu_permille = None
        self.worst_ms = None
        self.steps = None
        self.coro = None
        self.task = None
        self.over_ms = -1  # for how long it has taken more than its lease, -1: it does not
        self.busy_us = self.worst_us = self.new_steps = 0  # since the last sample
        self._meters = meters

    def send(self, value):
        """Run to the next await."""
        return self._run(value, None)

    def throw(self, error):
        """Run to the next await, beginning with an exception."""
        return self._run(None, error)

    def _run(self, value, error):
        meters = self._meters
        began = meters.ticks_us()
        try:
            return self.coro.send(value) if error is None else self.coro.throw(error)
        except BaseException:  # StopIteration, too: it has ended
            meters.leave(self)
            raise
        finally:
            us = meters.ticks_diff(meters.ticks_us(), began)
            self.new_steps += 1
            if self.busy_us < _MAX_BUSY_US:
                self.busy_us += us
            if us > self.worst_us:
                self.worst_us = us

    def close(self):
        """End it without running it on."""
        self._meters.leave(self)
        self.coro.close()


class Meters(Table):
    """The table. load makes tasks and knows the loop's thread; lock: of this table alone."""

    def __init__(self, board, load, threads, lock, events):
        super().__init__(
            events.clock,
            _METER,
            ("id", "name", "kind", "priority", "cpu_permille", "worst_ms", "steps", "lease_id"),
            _MAX_METERS,
        )
        self.overrun_ms = 0  # how long a task may take more than its lease, a limit; 0: for ever
        self.ticks_us = board.ticks_us
        self.ticks_diff = board.ticks_diff
        self._load = load
        self._threads = threads
        self._lock = lock
        self._events = events
        self._next_id = 1
        self._small_stacks = sys.platform not in ("linux", "darwin", "win32")
        self._send_ms = 0  # for so long a host wants them with each sample

    def spawn(self, coro, name, priority, lease):
        """Return a new task of asyncio that runs the coroutine, metered; Denied where 16 are."""
        meter = self._enter(name, _TASK, priority, lease)
        try:
            self._load.attach()
            meter.coro = self._load.counted(coro)
            meter.task = self._load.uncounted_create_task(meter)
        except BaseException:
            self.leave(meter)
            raise
        return meter.task

    def thread(self, function, args, name):
        """Start a thread that is counted under a name; Denied where there are 16.

        NotImplementedError where the port has none.
        """
        module = sys.modules.get("_thread")
        if module is None:
            raise NotImplementedError("this port has no threads")
        stack_size = getattr(module, "stack_size", None) if self._small_stacks else None
        former = None
        meter = self._enter(name, _THREAD, _NORMAL, None)

        def run():
            try:
                function(*args)
            finally:
                self.leave(meter)

        try:
            if stack_size is not None:
                former = stack_size(_THREAD_STACK_BYTES)  # 0: the application has set none
                if former > _THREAD_STACK_BYTES:
                    stack_size(former)
            return self._threads.start_new_thread(run, ())
        except BaseException:
            self.leave(meter)
            raise
        finally:
            if former is not None:
                stack_size(former)

    def subscribe(self):
        """Have nothing sent: a host requests meters, see send()."""

    def send(self, for_ms):
        """Have all meters sent with each sample, for so long."""
        if not 0 <= for_ms <= _MAX_SEND_MS:
            raise ValueError("for_ms must be 0 to 60000")
        self._send_ms = for_ms

    def evaluate(self, period_ms):
        """Make the figures of the last period_ms, and hold tasks to their leases.

        Allocates nothing.
        """
        sends = self._send_ms > 0
        if sends:
            self._send_ms -= period_ms
        for meter in self.rows:
            if meter is None:
                continue
            if meter.kind == _TASK:
                if 0 < period_ms < _MAX_PERIOD_MS:
                    meter.cpu_permille = meter.busy_us // period_ms
                    meter.worst_ms = (meter.worst_us + 500) // 1000
                    meter.steps = meter.new_steps
                meter.busy_us = meter.worst_us = meter.new_steps = 0
                if meter.lease is not None:
                    self._hold(meter, meter.lease, period_ms)
            if sends:
                self.mark_dirty(meter.row)

    def _hold(self, meter, lease, period_ms):
        """Report a task that takes more than its lease, and cancel it when that lasts."""
        if not lease.active or meter.cpu_permille is None or meter.cpu_permille <= lease.amount:
            meter.over_ms = -1
            return
        if meter.over_ms < 0:
            meter.over_ms = 0
            self._events.post("overrun", lease.id, meter.name, meter.cpu_permille)
        else:
            meter.over_ms += period_ms
        if self.overrun_ms and meter.over_ms >= self.overrun_ms and self._cancel(meter):
            self._events.post("overrun", lease.id, "cancelled", meter.cpu_permille)

    def cancel_low(self):
        """Cancel the tasks that are LOW; only from the loop's thread."""
        for meter in self.rows:
            if meter is not None and meter.priority == _LOW:  # no thread is
                self._cancel(meter)

    def _cancel(self, meter):
        """Cancel a task, once; return whether this did."""
        task = meter.task
        if task is None or not self._load.in_loop():
            return False
        meter.task = None
        try:
            return task.cancel()
        except RuntimeError:  # it is the one that runs
            meter.task = task
            return False

    def _enter(self, name, kind, priority, lease):
        """Return a new meter in a row of its own."""
        with self._lock:
            if None in self.rows:
                meter = Meter(self, self._next_id, kind, priority, lease)
                meter.name = cut(name or str(meter.id), _MAX_NAME)
                meter.row = self.rows.index(None)
                self._next_id = self._next_id % _MAX_ID + 1
                self.rows[meter.row] = meter
                return meter
        self._events.post("denied", None, "table")
        raise deny("table")

    def leave(self, meter):
        """Free the row of a meter that has ended; harmless when that is done."""
        with self._lock:
            if self.rows[meter.row] is meter:
                self.rows[meter.row] = None
                meter.task = None
                self.mark_free()
