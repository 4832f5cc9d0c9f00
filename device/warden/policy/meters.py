"""Meters: tasks of asyncio whose every step is timed, and threads that have a name.

A thread's share cannot be measured: MicroPython does not say which of them runs. A task that takes
more than its lease of CPU time is reported; if it goes on, it is cancelled.
"""

import sys

from micropython import const

from warden.checks import check_int
from warden.errors import check_text, deny
from warden.sensors.threads import get_ident
from warden.tables import Table
from warden_schema.codec import cut

_METER = const(14)  # a kind of message
_MAX_METERS = const(16)
_MAX_NAME = const(24)
_MAX_ID = const(0x3FFFFFFF)
_MAX_METER_PERIOD_MS = const(900_000)  # µs ticks wrap after 17.9 minutes
_MAX_BUSY_US = const(900_000_000)
_NORMAL = const(1)  # a priority
_CPU_TIME = const(2)  # a kind of lease
_TASK = const(0)  # kinds of meter
_THREAD = const(1)


class Meter:
    """A task's coroutine with its steps timed, or a thread. asyncio calls send() and throw().

    The figures are those of the time between the last two samples; a thread has none, and a new
    task has 0.
    """

    def __init__(self, table, number, name, kind, priority, lease):
        self.table = table
        self.board = table.policy.agent.board
        self.row = 0
        self.id = number
        self.name = check_text(cut(name or str(number), _MAX_NAME))
        self.kind = kind
        self.priority = priority
        self.lease = lease  # of CPU time, or None
        self.cpu_permille = self.worst_ms = self.steps = None if kind == _THREAD else 0
        self.coro = None
        self.task = None  # of asyncio; False once it was cancelled
        self.over_ms = -1  # for how long it has taken more than its lease, -1: it does not
        self.spent_us = self.worst_us = self.count = 0  # since the last sample

    def __repr__(self):
        """Return that of the coroutine, which `task.coro` stands for."""
        return repr(self.coro)

    def send(self, value, error=None):
        """Run the coroutine to its next await; error: an exception to throw into it."""
        began = self.board.ticks_us()
        try:
            value = self.coro.send(value) if error is None else self.coro.throw(error)
        except BaseException as error:  # StopIteration, too: it has ended
            if self.table.end(self) and isinstance(error, Exception):
                if not isinstance(error, StopIteration):
                    self.table.policy.events.report(error, _TASK, self.name)
            raise
        us = self.board.ticks_diff(self.board.ticks_us(), began)
        self.count += 1
        if self.spent_us < _MAX_BUSY_US:
            self.spent_us += us
        if us > self.worst_us:
            self.worst_us = us
        return value

    def throw(self, error):
        """Throw an exception into the coroutine, and run it to its next await."""
        return self.send(None, error)


async def _run(awaitable):
    """Return what an awaitable that is no coroutine does."""
    return await awaitable


class Meters(Table):
    """The table of meters. A row is freed when its task or thread ends."""

    def __init__(self, policy):
        super().__init__(
            policy.clock,
            _METER,
            ("id", "name", "kind", "priority", "cpu_permille", "worst_ms", "steps", "lease"),
            _MAX_METERS,
        )
        self.policy = policy
        self.next_id = 1
        self.send_ms = 0  # for how long a host still wants them with each sample

    def spawn(self, coro, name, priority, lease):
        """Return a new task of asyncio that runs a coroutine with a meter; Denied if 16 have one.

        lease: of CPU_TIME, or None. ValueError or TypeError for what makes no sense.
        """
        check_int("priority", priority, 0, 3)
        # asyncio.sleep() has the other.
        if not (hasattr(coro, "send") or hasattr(coro, "__next__")):
            raise TypeError("not a coroutine")
        if lease is not None and getattr(lease, "kind", None) != _CPU_TIME:
            raise TypeError("a lease of another kind")
        load = self.policy.agent.load
        if not load.attach():
            raise RuntimeError("import asyncio first")
        meter = self.add(name, _TASK, priority, lease)
        try:
            meter.coro = coro if hasattr(coro, "send") else _run(coro)
            meter.task = load.create_task(meter)
        except BaseException as error:
            self.end(meter)
            if isinstance(error, MemoryError):
                raise deny("memory")
            raise
        return meter.task

    def thread(self, function, args, name):
        """Start a thread that has a meter; Denied if 16 have one.

        NotImplementedError where the port has none.
        """
        if "_thread" not in sys.modules:
            raise NotImplementedError("this port has no threads")
        if not isinstance(args, (tuple, list)):  # else it fails in there
            raise TypeError("a function and a tuple of its arguments")
        meter = self.add(name, _THREAD, _NORMAL, None)
        try:
            threads = self.policy.agent.threads
            return threads.start_new_thread(self.run, (meter, function, args), {}, meter.name)
        except BaseException:
            self.end(meter)
            raise

    def run(self, meter, function, args):
        """Call a thread's function in that thread, then free its row."""
        try:
            function(*args)
        finally:
            self.end(meter)

    def subscribe(self):
        """Send nothing for a SUBSCRIBE: a host requests meters apart, for some time."""

    def evaluate(self, period_ms):
        """Compute the metrics of the last period_ms, and check the leases of tasks.

        Allocates nothing.
        """
        for meter in self.rows:
            # A task that had no step in this period, nor in the one before, stays as it is.
            if meter is not None and (meter.count or meter.steps):
                if 0 < period_ms < _MAX_METER_PERIOD_MS:
                    # More is of a step in whose midst the last sample was taken.
                    meter.cpu_permille = min(meter.spent_us // period_ms, 1000)
                    meter.worst_ms = (meter.worst_us + 500) // 1000
                    meter.steps = meter.count
                self.policy.agent.load.wrapped += meter.count
                meter.spent_us = meter.worst_us = meter.count = 0
                if meter.lease is not None:
                    self.check(meter, period_ms)
        if self.send_ms > 0:
            self.send_ms = max(0, self.send_ms - period_ms)
            for meter in self.rows:
                if meter is not None:
                    self.mark_dirty(meter.row)

    def check(self, meter, period_ms):
        """Report a task that takes more than its lease, and cancel it when that lasts."""
        lease = meter.lease
        if not lease.active or (meter.cpu_permille or 0) <= lease.amount:
            meter.over_ms = -1
            return
        detail = meter.name
        if meter.over_ms < 0:
            meter.over_ms = 0
        else:
            meter.over_ms += period_ms
            if not 0 < self.policy.overrun_ms <= meter.over_ms or not self.preempt(meter):
                return  # 0: for ever
            detail = "cancelled"
        self.policy.events.post("overrun", lease.id, detail, meter.cpu_permille)

    def preempt(self, meter):
        """Cancel a meter's task, once, in the loop's thread; return whether it was cancelled."""
        task = meter.task
        if not task or self.policy.agent.load.thread != get_ident():
            return False
        meter.task = False
        try:
            return task.cancel()
        except RuntimeError:  # it is the one that runs
            meter.task = task
            return False

    def add(self, name, kind, priority, lease):
        """Return a new meter in a row of its own."""
        reason = "table"
        with self.policy.lock:
            try:
                if None in self.rows:
                    meter = Meter(self, self.next_id, name, kind, priority, lease)
                    self.next_id = self.next_id % _MAX_ID + 1
                    meter.row = self.rows.index(None)
                    self.rows[meter.row] = meter
                    return meter
            except MemoryError:
                reason = "memory"
        raise self.policy.events.deny(reason)

    def end(self, meter):
        """Free the row of a meter that has ended; return False if that was done before."""
        with self.policy.lock:
            if self.rows[meter.row] is not meter:
                return False
            self.rows[meter.row] = None
            meter.task = None
            self.policy.mark_dirty(0)
            return True
