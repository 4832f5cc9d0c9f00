"""Who uses the core: tasks whose every step is timed, and threads that have a name.

A thread's share cannot be measured: MicroPython does not say which of them runs. A task that is
held to a lease of CPU time, and takes more, is told; if it goes on, it is cancelled.
"""

from micropython import const

from warden.errors import Denied
from warden_schema import codec

_MAX_METERS = const(16)
_MAX_NAME = const(24)
_MAX_ID = const(0x3FFFFFFF)
_LOW = const(0)
_LONGEST_MS = const(900_000)  # µs ticks wrap after 17.9 minutes

TASK = const(0)
THREAD = const(1)


def _nobody(row):
    """Stand for who wants to know of changes."""


class Meter:
    """One task or thread. The figures are those of the time between the last two samples."""

    def __init__(self, meter_id, name, kind, priority, lease):
        self.id = meter_id
        self.name = name
        self.kind = kind
        self.priority = priority
        self.lease = lease  # of CPU time, or None
        self.task = None
        self.cpu_permille = None
        self.worst_ms = None
        self.steps = None
        self.over_ms = -1  # for how long it takes more than its lease, -1: it does not
        self._busy_us = 0
        self._worst_us = 0
        self._steps = 0

    def add(self, us):
        """Count a step."""
        self._busy_us += us
        self._steps += 1
        if us > self._worst_us:
            self._worst_us = us

    def read(self, period_ms):
        """Set the figures of the last period_ms milliseconds."""
        if 0 < period_ms < _LONGEST_MS:
            self.cpu_permille = self._busy_us // period_ms
            self.worst_ms = (self._worst_us + 500) // 1000
            self.steps = self._steps
        self._busy_us = self._worst_us = self._steps = 0


class Metered:
    """A coroutine, with its steps timed. asyncio calls send() and throw(), and nothing else."""

    def __init__(self, coro, meter, ended, board):
        self._send = coro.send  # a bound method is an object: made once
        self._throw = coro.throw
        self._close = coro.close
        self._meter = meter
        self._ended = ended
        self._ticks_us = board.ticks_us
        self._ticks_diff = board.ticks_diff
        self._began = 0  # the step that runs

    def send(self, value):
        """Run to the next await."""
        self._began = self._ticks_us()
        try:
            value = self._send(value)
        except BaseException:  # StopIteration, too: it has ended
            self._end()
            raise
        self._stepped()
        return value

    def throw(self, error):
        """Run to the next await, beginning with an exception."""
        self._began = self._ticks_us()
        try:
            error = self._throw(error)
        except BaseException:
            self._end()
            raise
        self._stepped()
        return error

    def _stepped(self):
        self._meter.add(self._ticks_diff(self._ticks_us(), self._began))

    def _end(self):
        self._stepped()
        self._ended(self._meter)

    def close(self):
        """End it without running it on."""
        self._ended(self._meter)
        self._close()


class Meters:
    """The table. load makes tasks and knows the loop's thread; threads starts threads."""

    def __init__(self, board, load, threads, lock, post, overrun_ms):
        self.overrun_ms = overrun_ms  # how long a task may take more than its lease; 0: for ever
        self._board = board
        self._load = load
        self._threads = threads
        self._post = post
        self._lock = lock
        self.table = [None] * _MAX_METERS
        self.changed = self.freed = _nobody  # see `Timed`
        self._next_id = 1
        self.count = 0  # of those that are taken

    def spawn(self, coro, name, priority, lease):
        """Return a new task of asyncio that runs the coroutine, metered; Denied where 16 are."""
        meter = self._enter(name, TASK, priority, lease)
        try:
            self._load.attach()
            metered = Metered(self._load.counted(coro), meter, self._leave, self._board)
            meter.task = self._load.uncounted_create_task(metered)
        except BaseException:
            self._leave(meter)
            raise
        return meter.task

    def thread(self, function, args, name):
        """Start a thread that is counted under a name; Denied where there are 16."""
        meter = self._enter(name, THREAD, 1, None)

        def run():
            try:
                function(*args)
            finally:
                self._leave(meter)

        try:
            return self._threads.start(run)
        except BaseException:
            self._leave(meter)
            raise

    def look(self, period_ms):
        """Read all meters, and hold tasks to their leases; allocates nothing."""
        left = self.count
        row = 0
        while left > 0 and row < _MAX_METERS:
            meter = self.table[row]
            row += 1
            if meter is not None:
                left -= 1
                if meter.kind == TASK:
                    meter.read(period_ms)
                    if meter.lease is not None:
                        self._hold(meter, period_ms)

    def end_low(self):
        """Cancel the tasks that are LOW; not from another thread than the loop's."""
        for meter in self.table:
            if meter is not None and meter.priority == _LOW and meter.kind == TASK:
                self._cancel(meter)

    def _hold(self, meter, period_ms):
        lease = meter.lease
        if not lease.active or meter.cpu_permille <= lease.amount:
            meter.over_ms = -1
            return
        if meter.over_ms < 0:
            meter.over_ms = 0
            self._post("overrun", lease.id, meter.name, meter.cpu_permille)
        else:
            meter.over_ms += period_ms
        if self.overrun_ms and meter.over_ms >= self.overrun_ms and self._cancel(meter):
            self._post("overrun", lease.id, "cancelled", meter.cpu_permille)

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
        self._lock.acquire(1)
        try:
            for row in range(_MAX_METERS):
                if self.table[row] is None:
                    name = codec.cut(name or "%d" % self._next_id, _MAX_NAME)
                    meter = Meter(self._next_id, name, kind, priority, lease)
                    self._next_id = self._next_id % _MAX_ID + 1
                    self.table[row] = meter
                    self.count += 1
                    return meter
        finally:
            self._lock.release()
        self._post("denied", None, "table")
        raise Denied("table", None, None, ())

    def _leave(self, meter):
        self._lock.acquire(1)
        try:
            if meter not in self.table:
                return
            self.table[self.table.index(meter)] = None
            self.count -= 1
            meter.task = None
        finally:
            self._lock.release()
        self.freed(0)
