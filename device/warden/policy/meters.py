"""Who uses the core: tasks whose every step is timed, and threads that have a name.

A thread's share cannot be measured: MicroPython does not say which of them runs. A task that takes
more than the lease of CPU time that it is held to is reported; if it goes on, it is cancelled.
"""

from micropython import const

from warden.checks import check_int
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
_TASK = const(0)  # a kind of meter; a thread is 1


class Meter:
    """A task's coroutine with its steps timed, or a thread. asyncio calls send() and throw().

    The figures are those of the time between the last two samples; a thread has none.
    """

    def __init__(self, table, number, name, kind, priority, lease):
        self.table = table
        self.row = 0
        self.id = number
        self.name = cut(name or str(number), _MAX_NAME)
        self.kind = kind
        self.priority = priority
        self.lease = lease  # of CPU time, or None
        self.cpu_permille = self.worst_ms = self.steps = None
        self.coro = None
        self.task = None
        self.over_ms = -1  # for how long it has taken more than its lease, -1: it does not
        self.spent_us = self.worst_us = self.count = 0  # since the last sample

    def send(self, value, error=None):
        """Run to the next await; error: an exception that it begins with."""
        table = self.table
        board = table.policy.agent.board
        began = board.ticks_us()
        try:
            return self.coro.send(value) if error is None else self.coro.throw(error)
        except BaseException:  # StopIteration, too: it has ended
            table.remove(self)
            raise
        finally:
            us = board.ticks_diff(board.ticks_us(), began)
            self.count += 1
            if self.spent_us < _MAX_BUSY_US:
                self.spent_us += us
            if us > self.worst_us:
                self.worst_us = us

    def throw(self, error):
        """Run to the next await, beginning with an exception."""
        return self.send(None, error)


class Meters(Table):
    """The table. A task's row is freed at its end, a thread's at its own."""

    def __init__(self, policy):
        super().__init__(
            policy.clock,
            _METER,
            ("id", "name", "kind", "priority", "cpu_permille", "worst_ms", "steps", "lease"),
            _MAX_METERS,
        )
        self.policy = policy
        self.load = policy.agent.load
        self.next_id = 1
        self.left_ms = 0  # for so long a host wants them with each sample

    def spawn(self, coro, name, priority, lease):
        """Return a new task of asyncio that runs the coroutine, metered; Denied where 16 are."""
        meter = self.add(name, _TASK, priority, lease)
        try:
            self.load.attach()
            meter.coro = self.load.counted(coro)
            meter.task = self.load.uncounted_create_task(meter)
        except BaseException:
            self.remove(meter)
            raise
        return meter.task

    def subscribe(self):
        """Have nothing sent: a host requests meters, see send()."""

    def send(self, for_ms):
        """Have all meters sent with each sample, for so long."""
        check_int("for_ms", for_ms, 0, _MAX_SEND_MS)
        self.left_ms = for_ms

    def evaluate(self, period_ms):
        """Make the figures of the last period_ms, and hold tasks to their leases.

        Allocates nothing.
        """
        sends = self.left_ms > 0
        if sends:
            self.left_ms -= period_ms
        for meter in self.rows:
            if meter and meter.kind == _TASK:
                if 0 < period_ms < _MAX_PERIOD_MS:
                    meter.cpu_permille = meter.spent_us // period_ms
                    meter.worst_ms = (meter.worst_us + 500) // 1000
                    meter.steps = meter.count
                meter.spent_us = meter.worst_us = meter.count = 0
                if meter.lease is not None:
                    self.hold(meter, meter.lease, period_ms)
            if meter and sends:
                self.mark_dirty(meter.row)

    def hold(self, meter, lease, period_ms):
        """Report a task that takes more than its lease, and cancel it when that lasts."""
        value = meter.cpu_permille
        if not lease.active or value is None or value <= lease.amount:
            meter.over_ms = -1
            return
        if meter.over_ms < 0:
            meter.over_ms = 0
            self.policy.events.post("overrun", lease.id, meter.name, value)
        else:
            meter.over_ms += period_ms
        limit = self.policy.limits.overrun_ms  # 0: for ever
        if limit and meter.over_ms >= limit and self.cancel(meter):
            self.policy.events.post("overrun", lease.id, "cancelled", value)

    def cancel(self, meter):
        """Cancel a task, once, in the loop's thread; return whether this did."""
        task = meter.task
        if task is None or not self.load.in_loop():
            return False
        meter.task = None
        try:
            return task.cancel()
        except RuntimeError:  # it is the one that runs
            meter.task = task
            return False

    def add(self, name, kind, priority, lease):
        """Return a new meter in a row of its own."""
        with self.policy.lock:
            if None in self.rows:
                meter = Meter(self, self.next_id, name, kind, priority, lease)
                self.next_id = self.next_id % _MAX_ID + 1
                meter.row = self.rows.index(None)
                self.rows[meter.row] = meter
                return meter
        self.policy.events.post("denied", None, "table")
        raise deny("table")

    def remove(self, meter):
        """Free the row of a meter that has ended; harmless when that is done."""
        with self.policy.lock:
            if self.rows[meter.row] is meter:
                self.rows[meter.row] = None
                meter.task = None
                self.mark_free()
