"""Protects the board while a metric with action PROTECT or RESET is at warn or critical.

At warn it collects garbage and calls the application's `on_trim` functions to give memory back,
the one that gave most the last time first, until that is enough. At critical it also refuses new
leases and operations below HIGH, and ends those that are LOW. Where that has not helped for half a
minute, and the threshold says so, it leaves a note of why and resets the board; after two times in
a row within ten minutes of a start no sooner than ten minutes after the next.
"""

from micropython import const

from warden.errors import deny
from warden.policy.thresholds import METRICS

_MAX_TRIMS = const(8)
_TRIM_EVERY_MS = const(10_000)  # while the pressure lasts
_TRIM_AGAIN_MS = const(500)  # at most, for whatever comes to be short meanwhile,
_TRIM_COST_SHIFT = const(5)  # and after 30 times what a collection took
_RESET_AFTER_MS = const(30_000)
_EARLY_S = const(600)  # a boot that ends sooner does so early
_MAX_EARLY = const(2)  # of those in a row, and it waits
_PUT_OFF = const(-1)  # a reset_count: it waits, which was said
_COUNTS = const(("0", "1", "2"))  # of those
_TRIM_METRICS = const(0b1000_0000_0011_1000_0011)  # a bit for each that memory given back improves
_AT_CRITICAL = const(2)  # a level
_RESET = const(2)  # an action; 0 only tells
_LOW = const(0)  # priorities
_HIGH = const(2)


class Pressure:
    """`evaluate()` after each sample; `act()` where the application's code may run.

    `level` is the worst of what is protected: 0 clear, 1 warn, 2 critical; `pending`: whether act()
    has something to do. Made by `warden.policy_setup`, which lists what else it has.
    """

    def on_trim(self, function):
        """Call function(level) when memory is short: 1 warn, 2 critical; it returns bytes.

        What is set already, as by a main that runs anew, is left alone. Raises ValueError when
        there are eight others.
        """
        with self.policy.lock:
            if function not in self.functions:
                if None not in self.functions:
                    raise ValueError("no more than eight")
                self.functions[self.functions.index(None)] = function

    def refuses(self, priority):
        """Tell whether something is critical, and this priority is below HIGH."""
        return self.level == _AT_CRITICAL and priority < _HIGH

    def admit(self, priority, amount=None):
        """Raise Denied("pressure") for what is below HIGH while something is critical.

        The caller has the lock of all that is granted.
        """
        if self.refuses(priority):
            self.policy.events.add("denied", None, "pressure", amount)
            raise deny("pressure")

    def evaluate(self, period_ms):
        """Set the level, and what act() has to do; period_ms: since the last call.

        Allocates nothing.
        """
        thresholds = self.policy.thresholds
        entry = self.blocks.threshold  # which watches where nobody wants a block of another size
        if thresholds.wanted_block or self.policy.memory.left is None:
            entry.level = entry.rank = 0
            self.policy.memory.wanted = max(0, thresholds.wanted_block)
        elif self.blocks.evaluate(period_ms):
            thresholds.post(entry)
        worst = thresholds.worst
        if entry.rank and (worst is None or entry.rank > worst.rank):
            worst = entry
        self.worst = worst
        self.level = 0 if worst is None else worst.level
        if self.level:
            self.trim_ms += period_ms
            self.check_memory()
        else:
            self.memory_level = 0
        if self.level < _AT_CRITICAL:
            self.reset_count = 0
            return
        self.pending = True
        if worst.action >= _RESET and worst.level_ms >= _RESET_AFTER_MS:
            self.count_reset(worst)

    def count_reset(self, worst):
        """Announce that the board is to be reset for a metric, or that this is put off."""
        if self.policy.early_resets < _MAX_EARLY or self.policy.clock.s >= _EARLY_S:
            self.reset_count = max(0, self.reset_count) + 1
            detail = "about to" if self.reset_count == 1 else None
        else:
            detail = None if self.reset_count else "put off"
            self.reset_count = _PUT_OFF
        if detail is not None:
            self.policy.events.post("reset", worst.metric, detail, worst.value)

    def check_memory(self):
        """Have memory given back where it is short: soon where that is new, else every ten seconds.

        New is also what is shorter, short in another way, or short again.
        """
        before = self.memory_level
        self.memory_level = 0
        short = self.find_short()
        if short is not None:
            self.memory_level = short.level
            pause_ms = _TRIM_EVERY_MS
            if short.level < before:
                self.is_new = False
            if self.is_new:
                pause_ms = max(_TRIM_AGAIN_MS, self.policy.memory.cost_us >> _TRIM_COST_SHIFT)
            if short.level > before or self.trim_ms >= pause_ms:
                self.trim_ms = 0
                self.must_trim = short
                self.pending = True

    def relax(self):
        """Return to level 0: sampling has stopped, so nothing is known any more."""
        self.level = self.memory_level = self.reset_count = 0
        self.worst = self.must_trim = None
        self.pending = False

    def find_short(self):
        """Return the worst threshold on memory that is still beyond its clear level, or None.

        Note in is_new if one of them has come to its level, or was better and is bad again.
        """
        worst = None
        for entry in self.policy.thresholds.rows:
            worst = self.worse(entry, worst)
        return self.worse(self.blocks.threshold, worst)

    def worse(self, entry, worst):
        """Return `entry` if it is such a threshold, and worse than `worst`; that one else."""
        if not entry or not entry.rank or not _TRIM_METRICS >> entry.metric & 1:
            return worst
        value = self.policy.thresholds.read(entry.metric)
        if value is not None and not entry.beyond_clear(value):
            return worst
        if not min(entry.over_ms, entry.level_ms):
            self.is_new = True
        return entry if worst is None or entry.rank > worst.rank else worst

    def act(self):
        """Preempt, trim or reset, as evaluate() found; the caller has no lock."""
        self.pending = False
        policy = self.policy
        worst = self.worst
        if worst is None:
            return
        if self.reset_count > 1:
            board = policy.agent.board
            early = min(_MAX_EARLY, policy.early_resets + 1) if policy.clock.s < _EARLY_S else 0
            words = _COUNTS[early]  # all that is noted where there is no memory for more
            try:
                words = "%s%s critical, %d" % (words, METRICS.split()[worst.metric], worst.value)
            except MemoryError:
                pass
            try:
                board.save_note(words)
            except OSError:  # a full disk
                pass
            except MemoryError:
                pass
            board.reset()
        if worst.level == _AT_CRITICAL:  # all that is LOW ends, leases if their holders agreed
            for table in self.tables:
                for entry in table.rows:
                    if entry and entry.priority == _LOW:
                        table.preempt(entry)
        short = self.must_trim
        if short is not None:
            self.must_trim = None
            self.trim(short.metric)
            self.is_new = False

    def trim(self, metric):
        """Collect garbage, then call `on_trim` functions until there is enough memory."""
        memory = self.policy.memory
        events = self.policy.events
        before = memory.used_now()
        given = None  # where collections are off
        if memory.collect(0):
            given = max(0, before - memory.live)
        events.post("collect", metric, None, given)
        called = 0  # a bit for each function
        while self.find_short() is not None:
            best = None
            for place in range(_MAX_TRIMS):
                if self.functions[place] is not None and not called >> place & 1:
                    if best is None or self.given[place] > self.given[best]:
                        best = place
            if best is None:
                return
            called |= 1 << best
            function = self.functions[best]
            before = memory.live
            given = events.call(function, self.memory_level, None)
            if memory.collect(0) and before is not None:
                given = max(0, before - memory.live)
            elif not isinstance(given, int):  # collections are off: what it returned
                given = 0
            self.given[best] = given
            name = getattr(function, "__name__", type(function).__name__)
            events.post("trim", metric, name, given)
