"""The agent: the one place where the parts are made and joined."""

from array import array

from micropython import const

from warden_schema.loops import look as _look

from . import network, threads
from .capabilities import Capabilities
from .clock import Clock
from .history import History
from .host_session import Session
from .load import Load
from .memory import Memory
from .sample_table import Sample
from .sampler import Sampler
from .storage import Storage
from .tables import Hello, StorageTable
from .uplink import Uplink

VERSION = "0.1.0"

_MIN_INTERVAL_MS = const(20)
_MAX_INTERVAL_MS = const(600_000)

_BUSY_MS = const(10)
_NEXT_MS = const(2)
_SLICE_PAUSE_MS = const(2)  # between two slices of a large heap
_MAX_REST_US = const(1_000_000)  # the ticks of microseconds wrap

# In the governor's state.
_WANTED = const(1)
_INTERVAL = const(2)


# What `loops.look` works on: see `plain`.
_STEPPING = const(0)
_NOW = const(1)
_ARRIVED = const(2)
_RESTED = const(3)
_REST_US = const(4)
_MASK = const(5)
_IDLE = const(6)
_READING = const(7)
_WORDS = const(8)


def _nothing():
    """Make the locks that nobody needs where there are no threads."""


def _read_nothing(_chunk):
    """Read no link."""
    return 0


def _mask_of(ticks_diff):
    """Return the mask of ticks' 30 lowest bits, or of as many as they have: MicroPython's period is
    a power of two.
    """
    bits = 20
    while bits < 29 and ticks_diff(1 << bits, 0) > 0:  # half a period is taken for a negative one
        bits += 1
    return (2 << bits) - 1


class Agent:
    """Samples, keeps, tells. `step()` does what is due and returns the ms until it is again.

    board: what `hal.detect()` gives; interval_ms: between samples; link: or None; limits: of the
    policy, in the order of ids.LIMITS_SET; budget_permille: of the core, for the agent itself.
    """

    def __init__(
        self, board, interval_ms, link, limits=(4, 300_000, 100, 5000), budget_permille=10
    ):
        self._board = board
        self._limits = limits
        self.policy = None  # made when it is first asked for
        self.sleep_ms = board.sleep_ms
        self.ticks_us = board.ticks_us
        self.ticks_diff = board.ticks_diff
        self.threads = threads.install()
        self.locks = threads.Locks(self.threads.available)
        new_gate = new_lock = _nothing
        if self.threads.available:
            new_gate, new_lock = self.locks.gate, self.locks.lock
        self.clock = Clock(board.ticks_ms, board.ticks_diff, new_gate(), new_lock())
        self.network = network.install()
        self._news = self.clock.news
        self._resting = array("i", [0] * _WORDS)
        self._resting[_MASK] = _mask_of(board.ticks_diff)
        self._lock = new_gate()
        self._read = _read_nothing
        self._chunk = None
        self._making = self.locks.lock()
        self.memory = Memory(board, self.clock)
        self.load = Load(board, self.threads.ident)
        self.storage = Storage(board, self.clock)
        self.storage.read()
        self.history = History()
        self.sampler = Sampler(self, budget_permille)
        self.governor = self.sampler.governor
        self._rates = self.governor.state
        self.values = self.sampler.values
        self.boot_id = board.random_30()
        self.sample = Sample(self.values)
        self.identity = (
            board.machine()[:40],
            board.firmware()[:24],
            board.port()[:16],
            board.unique_id() or b"",
            board.reset_cause(),
            VERSION,
        )
        self.capabilities = Capabilities(self)
        self.faults = 0  # exceptions inside the agent itself
        self.link = link
        self.uplink = self.session = None
        self.busy_us = 0  # the agent's own time since the last sample
        self._idle_us = 0  # of that, each step that finds nothing: a moving mean
        self._due_s = 0
        self._due_ms = 0
        self._put_off = False  # what is due to be told, for one turn
        if link is not None:
            self._open_session(link)
        self.start_monitoring(interval_ms)
        self.step()  # so that there is something to tell from the first moment

    def _open_session(self, link):
        self.uplink = Uplink(link)
        tables = [
            Hello(self.boot_id, self.identity, self.capabilities.reasons),
            StorageTable(self.storage),
        ]
        self._hello, self._storage_table = tables
        self.session = Session(
            link,
            self.uplink,
            self.clock,
            self.sample,
            tables,
            self._handler_of,
            self._host,
        )
        self._read = link.read  # a bound method is an object: made once
        self._chunk = self.session.chunk

    def close(self):
        """Leave everything as it was found."""
        self.governor.want(0)
        self.load.detach()
        if self.link is not None:
            self.link.close()

    # --- running --------------------------------------------------------------------------------

    def step(self, listen=False):
        """Take a sample if it is time, and send what is due; return the ms until the next.

        listen: read the link first. Never raises, never waits, allocates nothing in steady state.
        Mostly nothing is due, which one call of machine code finds out.
        """
        lock = self._lock
        if lock and not lock.acquire(0):
            return _BUSY_MS  # another thread is at it
        resting = self._resting
        read = self._read if listen else _read_nothing
        wait = 0
        worked = False
        try:  # at once: Ctrl-C must not leave it locked
            wait = _look(resting, self._news, read, self._chunk, self.ticks_us)
            if wait <= 0:
                if wait:
                    wait = self._idle(resting, -wait)
                else:
                    wait = self._wake(resting)
                    worked = not resting[_IDLE]
        except Exception:
            resting[_STEPPING] = 0
            self.faults += 1
            worked = True
            wait = 1000
        finally:
            if not wait:
                resting[_STEPPING] = 0
            if lock:
                lock.release()
        if worked and self.policy is not None:
            self._deliver()
        return wait

    def _idle(self, resting, wait):
        """End the first of several steps that find nothing: what it took counts for each of them.

        That is from its beginning until here, with this call in place of the return.
        """
        took = self.ticks_us() - resting[_NOW] & resting[_MASK]
        self._idle_us = _mean(self._idle_us, took)
        resting[_STEPPING] = 0
        return wait

    def _wake(self, resting):
        """Hear what has arrived, and do what is due; return the ms until there is more."""
        memory = self.memory
        left = 0
        try:
            count = resting[_ARRIVED]
            if count:
                self.session.hear(count)
            if (count or resting[_READING]) and not self._news[0]:
                passed = resting[_NOW] - resting[_RESTED] & resting[_MASK]
                left = resting[_REST_US] - passed
                if count and left > 0 and self.session.due:
                    left = self._answer(resting, left)
            if left > 0:
                wait = left // 1000 + 1
                if memory.reading:
                    memory.read_on()
            else:
                resting[_REST_US] = 0  # as long as it is not done
                resting[_RESTED] = resting[_NOW]
                self._news[0] = 0
                # … and in collections before a refusal.
                self.busy_us += resting[_IDLE] * self._idle_us + memory.spent_us
                resting[_IDLE] = 0
                wait = self._step()
                resting[_REST_US] = wait * 1000 if wait < 1000 else _MAX_REST_US
            if memory.reading:
                resting[_READING] = 1
                if wait > _SLICE_PAUSE_MS:
                    wait = _SLICE_PAUSE_MS
            elif resting[_READING]:
                resting[_READING] = 0
        finally:
            if left <= 0:
                memory.spent_us = 0
            self.busy_us += self.ticks_us() - resting[_NOW] & resting[_MASK]
            resting[_STEPPING] = 0
        return wait

    def _answer(self, resting, left):
        """Tell what the host that was heard waits for; return the µs until there is more to do."""
        again = self.session.pump()
        if again and again * 1000 < left:
            resting[_RESTED] = resting[_NOW]
            resting[_REST_US] = left = again * 1000
        return left

    def _deliver(self):
        """Let the application's own code hear of what happened."""
        try:
            self.policy.deliver()
        except Exception:
            self.faults += 1

    def decide(self):
        """Return the policy; imported and made at the first call."""
        self._making.acquire(1)
        try:
            if self.policy is None:
                from .policy import Policy

                self.policy = Policy(self, self._board, self._limits)
                if self.session is not None:
                    self._tell_of_policy()
            return self.policy
        finally:
            self._making.release()

    def _handler_of(self, request):
        """Return what carries out a host's request; made at the first one."""
        from .asked import Asked

        find = Asked(self).handlers.get
        self.session.handler_of = find
        return find(request)

    def _tell_of_policy(self):
        for table in self.policy.tables(self.session):
            self.session.add(table)
            if self.session.host_id:
                table.mark()

    def _host(self, host_id, what):
        """Take the session's word of a host: "found", "alive", "lost" or "gone"."""
        if self.policy is not None:
            self.policy.host(host_id, what)

    def _step(self):
        clock = self.clock
        clock.advance()
        sampled = False
        left = 1000
        if self.policy is not None:
            self.policy.tick()
        if self._rates[_INTERVAL]:
            left = -clock.since(self._due_s, self._due_ms)
            if left <= 0:
                self._take_sample()
                left = self._plan(-left)
                sampled = True
            elif self.memory.reading:
                self.memory.read_on()
        if self.policy is not None:
            left = max(1, min(left, clock.left_ms()))
        if self.session is not None:
            self._put_off = sampled and not self._put_off and self.session.has_rows()
            if self._put_off:  # lest the application wait for a sample and rows at once
                self._news[0] = 1
                return _NEXT_MS
            again = self.session.pump()
            if again:
                left = min(left, again)
        return left

    def _plan(self, late_ms):
        """Set when the next sample is due; skip the ones that are past. Return the ms until."""
        interval = self._rates[_INTERVAL]
        if self.policy is not None and self.policy.ladder.level:
            interval = self._rates[_WANTED]  # to look in time matters more than the budget now
        left = interval - late_ms % interval if late_ms < 1 << 28 else interval
        due = self.clock.ms + left
        self._due_s = self.clock.s + due // 1000
        self._due_ms = due % 1000
        return left

    def _take_sample(self):
        self.sampler.take()
        self.sample.renew(self._heard())

    def _heard(self):
        """Tell whether a host listens."""
        return self.session is not None and self.session.host_id

    def storage_changed(self, rows):
        """Have a host told of these mounts, a bit for each."""
        if self._heard():
            self._storage_table.mark(rows)

    def capabilities_changed(self):
        """Have a host told of them."""
        if self._heard():
            self._hello.mark()

    # --- what may be asked of it ----------------------------------------------------------------

    def start_monitoring(self, interval_ms, budget_permille=None):
        """Sample every interval_ms (20 to 600 000) from now on, within a budget; return the former.

        budget_permille: 1 to 1000, None: as it is. ValueError or TypeError for what makes no sense.
        """
        if not isinstance(interval_ms, int) or isinstance(interval_ms, bool):
            raise TypeError("interval_ms must be an int")
        if not _MIN_INTERVAL_MS <= interval_ms <= _MAX_INTERVAL_MS:
            raise ValueError("interval_ms must be 20 to 600000")
        self.governor.want(interval_ms, budget_permille)
        self.clock.advance()
        self._due_s = self.clock.s
        self._due_ms = self.clock.ms
        self._news[0] = 1
        return interval_ms

    def stop_monitoring(self):
        """Take no more samples; the link goes on, and tells so."""
        self.governor.want(0)
        self.sampler.stopped()
        self.sample.renew(self._heard())
        self._news[0] = 1


def _mean(mean_us, took_us):
    """Return a moving mean, rounded up; one that is much greater says little."""
    if not mean_us:
        return took_us
    return mean_us + (min(took_us, 2 * mean_us + 4) - mean_us + 3) // 4
