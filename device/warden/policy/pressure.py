"""What the board does while a metric that it protects is at warn or critical.

At warn it collects garbage and calls the application's `on_trim` functions to give memory back,
the one that gave most the last time first, until that is enough. At critical it also refuses new
leases and operations below HIGH, and ends those that are LOW. Where that has not helped for half a
minute, and the threshold says so, it leaves a note of why and resets the board.
"""

from micropython import const

from warden.errors import Preempted, deny
from warden.policy.metrics import METRICS
from warden.sensors.threads import new_lock

_MAX_TRIMS = const(8)
_TRIM_EVERY_MS = const(10_000)  # while the pressure lasts
_RESET_AFTER_MS = const(30_000)
_OF_MEMORY = const(0b11_1000_0011)  # a bit for each metric that giving memory back may improve
_AT_CRITICAL = const(2)  # a level
_PROTECT = const(1)  # actions
_RESET = const(2)
_LOW = const(0)  # priorities
_HIGH = const(2)


class Pressure:
    """`evaluate()` after each sample; `act()` where the application's code may run.

    `level` is the worst of what is protected: 0 clear, 1 warn, 2 critical; `due`: whether act()
    has something to do.
    """

    def __init__(self, thresholds, memory, leases, operations, meters, events, board):
        self.level = 0
        self.due = False
        self._thresholds = thresholds
        self._memory = memory
        self._leases = leases
        self._operations = operations
        self._meters = meters
        self._events = events
        self._board = board
        self._acting = new_lock()
        self._trims = [None] * _MAX_TRIMS
        self._given = [1] * _MAX_TRIMS  # bytes, the last time; a new one comes before one of 0
        self._worst = None  # the threshold that sets the level
        self._since_trim_ms = 0
        self._trim_due = False
        self._reset_step = 0  # 1: announced, with a sample, so that a host has it; then due

    def on_trim(self, function):
        """Call function(level) when memory is short: 1 warn, 2 critical; it returns bytes.

        Raises ValueError when there are eight already.
        """
        with self._thresholds.lock:
            if None not in self._trims:
                raise ValueError("no more than eight functions")
            self._trims[self._trims.index(None)] = function

    def refuses(self, priority):
        """Tell whether something is critical, and this priority is below HIGH."""
        return self.level == _AT_CRITICAL and priority < _HIGH

    def admit(self, priority, amount=None):
        """Raise Denied("pressure") for what is below HIGH while something is critical."""
        if self.refuses(priority):
            self._events.post("denied", None, "pressure", amount)
            raise deny("pressure")

    def evaluate(self, period_ms):
        """Find out what is to be done, period_ms after the last time; allocates nothing."""
        before = self.level
        if self._thresholds.moved:
            self._thresholds.moved = False
            self._find_worst()
        if self.level:
            self._since_trim_ms += period_ms
            if self.level > before or self._since_trim_ms >= _TRIM_EVERY_MS:
                self._since_trim_ms = 0
                self._trim_due = self._lacks_memory()
                self.due = True
        worst = self._worst
        critical = self.level == _AT_CRITICAL
        if critical:
            self.due = True
        if critical and worst.action == _RESET and worst.critical_ms >= _RESET_AFTER_MS:
            self._reset_step += 1
            if self._reset_step == 1:
                self._events.post("reset", worst.metric, "about to", worst.value)
        else:
            self._reset_step = 0

    def _find_worst(self):
        worst = None
        for each in self._thresholds.rows:
            if _protects(each) and (
                worst is None
                or each.level > worst.level
                or (each.level == worst.level and each.action > worst.action)
            ):
                worst = each
        self._worst = worst
        self.level = 0 if worst is None else worst.level

    def _lacks_memory(self):
        """Tell whether memory is what is short, and not enough of it has come back yet."""
        thresholds = self._thresholds
        for each in thresholds.rows:
            if _protects(each) and _OF_MEMORY >> each.metric & 1:
                value = thresholds.metrics.read(each.metric)
                if value is None or each.beyond_clear(value):
                    return True
        return False

    def act(self):
        """Do what is due, in one thread at a time; with no lock held."""
        if not self._acting.acquire(0):
            return
        try:
            self.due = False
            worst = self._worst
            if worst is None:
                return
            if self._reset_step > 1:
                try:
                    note = METRICS[worst.metric] + " critical, " + str(worst.value)
                    self._board.leave_note(note)
                except (OSError, MemoryError):  # a full disk, or no memory for the words
                    pass
                self._board.reset()
            if worst.level == _AT_CRITICAL:
                for op in self._operations.rows:
                    if op is not None and op.priority == _LOW:
                        self._operations.stop(op, Preempted)
                for lease in self._leases.rows:
                    if (
                        lease is not None
                        and lease.priority == _LOW
                        and lease.on_preempt is not None
                    ):
                        self._leases.preempt(lease)
                self._meters.cancel_low()
            if self._trim_due:
                self._trim_due = False
                self._relieve(worst)
        finally:
            self._acting.release()

    def _relieve(self, worst):
        """Collect, then have memory given back until it is enough, or all were called."""
        self._events.post("collect", worst.metric, None, self._collect())
        called = 0  # a bit for each function
        while self._lacks_memory():
            best = None
            for place in range(_MAX_TRIMS):
                if self._trims[place] is not None and not called >> place & 1:
                    if best is None or self._given[place] > self._given[best]:
                        best = place
            if best is None:
                return
            called |= 1 << best
            function = self._trims[best]
            before = self._memory.live
            given = 0
            try:
                given = function(self.level)
            except Exception as error:
                self._events.post("callback_failed", None, type(error).__name__)
            if self._collect() is not None and before is not None:
                given = max(0, before - self._memory.live)
            elif not isinstance(given, int):  # collections are off: by its word
                given = 0
            self._given[best] = given
            name = getattr(function, "__name__", type(function).__name__)
            self._events.post("trim", worst.metric, name, given)

    def _collect(self):
        """Collect garbage; return how many bytes that freed, None where it is not allowed."""
        used = self._memory.used_now()
        if not self._memory.collect(0):
            return None
        return max(0, used - self._memory.live)


def _protects(threshold):
    """Tell whether a row's threshold is crossed, and not for information only."""
    return threshold is not None and threshold.action >= _PROTECT and threshold.level > 0
