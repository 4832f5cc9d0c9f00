"""What the board does when a figure that it protects crosses its levels.

At warn it collects garbage and asks the application's `on_trim` functions to give memory back, the
one that gave most the last time first, until that is enough. At critical it also refuses new
leases and operations below HIGH, and ends those that are LOW. Where that has not helped for half a
minute, and the threshold says so, it leaves a note of why and resets the board.
"""

from micropython import const

from warden.errors import Denied, Preempted
from warden.figures import METRICS, OF_MEMORY
from warden.levels import CLEAR, CRITICAL, PROTECT, RESET

_TRIMS = const(8)
_AGAIN_MS = const(10_000)  # while it lasts, memory is asked for again so often
_RESET_MS = const(30_000)
_LOW = const(0)
_HIGH = const(2)


class Trim:
    """A function of the application that can give memory back: function(level) -> bytes."""

    def __init__(self, function):
        self.function = function
        self.name = getattr(function, "__name__", type(function).__name__)
        self.gave = 1  # bytes, the last time; one that was not asked yet comes before one of 0
        self.asked = False  # in this round


class Ladder:
    """`look` after each sample; `act` where user code may run; `admit` before anything is granted.

    thresholds: what is protected; memory: collects garbage; ledger and operations: what may be
    ended; board: resets, and keeps the note; acting: a lock, for one thread at a time acts.
    """

    def __init__(self, thresholds, memory, ledger, operations, post, board, acting):
        self.level = CLEAR  # the worst of what is protected
        self.end_low_tasks = None  # function, where there are metered tasks
        self._thresholds = thresholds
        self._memory = memory
        self._ledger = ledger
        self._operations = operations
        self._post = post
        self._board = board
        self._acting = acting
        self._trims = [None] * _TRIMS
        self._worst = None  # the threshold that is worst now
        self._asked_ms = 0  # since memory was asked for the last time
        self.due = False  # whether act() has something to do
        self._ask = False
        self._end = False
        self._announced = False  # that the board will be reset
        self._reset = False

    def on_trim(self, function):
        """Call function(level) when memory is short: 1 warn, 2 critical; it returns bytes.

        Raises ValueError when there are eight already.
        """
        if None not in self._trims:
            raise ValueError("no more than eight functions")
        self._trims[self._trims.index(None)] = Trim(function)

    def admit(self, priority, amount=None):
        """Raise Denied("pressure") for what is below HIGH while something is critical."""
        if self.refuses(priority):
            self._post("denied", None, "pressure", amount)
            raise Denied("pressure")

    def refuses(self, priority):
        """Tell whether something is critical, and this priority is below HIGH."""
        return self.level == CRITICAL and priority < _HIGH

    # --- after each sample ----------------------------------------------------------------------

    def look(self, passed_ms):
        """See how bad it is, passed_ms after the last time; allocates nothing."""
        before = self.level
        if self._thresholds.moved:
            self._thresholds.moved = False
            self._find_worst()
        if not self.level:
            self._announced = False
            return
        self._asked_ms += passed_ms
        if self.level > before or self._asked_ms >= _AGAIN_MS:
            self._asked_ms = 0
            self._ask = self._wants_memory()
            self.due = True
        if self.level == CRITICAL:
            self._end = True
            self.due = True
            self._plan_reset(self._worst)
        else:
            self._announced = False

    def _find_worst(self):
        self._worst = None
        self.level = CLEAR
        row = 0
        while row < len(self._thresholds.table):
            threshold = self._protecting(row)
            if threshold is not None:
                worst = self._worst
                if threshold.level > self.level or (
                    threshold.level == self.level and threshold.action > worst.action
                ):
                    self._worst = threshold
                    self.level = threshold.level
            row += 1

    def _protecting(self, row):
        """Return the threshold of a row if it is crossed and protects, else None."""
        threshold = self._thresholds.table[row]
        if threshold is None or threshold.action < PROTECT or threshold.level == CLEAR:
            return None
        return threshold

    def _wants_memory(self):
        """Tell whether memory is what is short, and not enough of it came back yet."""
        row = 0
        while row < len(self._thresholds.table):
            threshold = self._protecting(row)
            if threshold is not None and threshold.metric in OF_MEMORY:
                if not self._thresholds.would_clear(threshold):
                    return True
            row += 1
        return False

    def _plan_reset(self, worst):
        """Announce a reset; the sample after that, when the host was told, it is due."""
        if worst.action < RESET or worst.critical_ms < _RESET_MS:
            return
        if self._announced:
            self._reset = True
        else:
            self._announced = True
            self._post("reset", worst.metric, "about to", worst.value)

    # --- where user code may run ----------------------------------------------------------------

    def act(self):
        """Do what is due, outside all locks."""
        if not self._acting.acquire(0):
            return
        try:
            self.due = False
            if self._reset:
                self._reset_board()
            if self._end:
                self._end = False
                self._end_low()
            if self._ask:
                self._ask = False
                self._relieve()
        finally:
            self._acting.release()

    def _end_low(self):
        for op in self._operations.table:
            if op is not None and op.priority == _LOW:
                self._operations.stop(op, Preempted)
        for lease in self._ledger.table:
            if lease is not None and lease.priority == _LOW and lease.on_preempt is not None:
                self._ledger.preempt(lease)
        if self.end_low_tasks is not None:
            self.end_low_tasks()

    def _relieve(self):
        """Collect, then ask for memory until it is enough, or all were asked."""
        worst = self._worst
        if worst is None:
            return
        self._post("collect", worst.metric, None, self._collect())
        for trim in self._trims:
            if trim is not None:
                trim.asked = False
        while self._wants_memory():
            trim = self._best()
            if trim is None:
                return
            trim.asked = True
            trim.gave = self._asked(trim)
            self._post("trim", worst.metric, trim.name, trim.gave)

    def _best(self):
        """Return who gave most the last time, of those not asked yet in this round."""
        best = None
        for trim in self._trims:
            if trim is not None and not trim.asked and (best is None or trim.gave > best.gave):
                best = trim
        return best

    def _asked(self, trim):
        """Return the live bytes that one gave back, by measurement where that is possible."""
        before = self._memory.live
        told = 0
        try:
            told = trim.function(self.level)
        except Exception as error:
            self._post("callback_failed", None, type(error).__name__)
        if self._collect() is not None:
            return max(0, before - self._memory.live)
        return told if isinstance(told, int) else 0  # collections are off: by its word

    def _collect(self):
        """Collect garbage; return how many bytes that freed, None where it is not allowed."""
        used = self._memory.used_now()
        if not self._memory.collect(0):
            return None
        return max(0, used - self._memory.live)

    def _reset_board(self):
        worst = self._worst
        self._reset = False
        if worst is None:
            return
        try:
            name = METRICS[worst.metric]
            self._board.leave_note(name + " critical, " + str(worst.value))
        except (OSError, MemoryError):  # a full disk, or no memory for the words
            pass
        self._board.reset()
