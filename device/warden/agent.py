"""The agent: the one place where the parts are made and joined."""

from micropython import const

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
_SLICE_PAUSE_MS = const(2)  # between two slices of a large heap
_MAX_REST_US = const(1_000_000)  # the ticks of microseconds wrap
_DUE = b"\x01"  # in the clock's news

# In the governor's state.
_WANTED = const(1)
_INTERVAL = const(2)


def _nothing():
    """Make the locks that nobody needs where there are no threads."""


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
        self._rest_us = 0  # for how long there is nothing to do unless there is news,
        self._rested_us = 0  # since when
        self._stepping = False
        self._lock = new_gate()
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
        self.uplink = self.session = self._receive = self._handlers = None
        self.busy_us = 0  # the agent's own time since the last sample
        self._due_s = 0
        self._due_ms = 0
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
        self._receive = self.session.receive  # a bound method is an object: made once

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
        """
        began = self.ticks_us()
        lock = self._lock
        if self._stepping or (lock is not None and not lock.acquire(0)):
            return 10  # another thread is at it, or the application in an interrupt
        left = 0
        wait = 1000
        try:  # at once: Ctrl-C must not leave it locked
            self._stepping = True
            heard = listen and self._receive is not None and self._receive()
            if not heard and _DUE not in self._news:
                left = self._rest_us - self.ticks_diff(began, self._rested_us)
            if 0 < left <= _MAX_REST_US:
                wait = left // 1000 + 1
                memory = self.memory
                if memory.reading:
                    memory.read_on()
                    wait = self._soon(wait)
            else:
                left = 0
                wait = self._soon(self._work(began))
        except Exception:
            self.faults += 1
        finally:
            self.busy_us += self.ticks_diff(self.ticks_us(), began)
            self._stepping = False
            if lock is not None:
                lock.release()
        if not left and self.policy is not None:
            self._deliver()
        return wait

    def _soon(self, wait):
        """Return the ms to wait: few where there is more of a heap to read."""
        return _SLICE_PAUSE_MS if self.memory.reading and wait > _SLICE_PAUSE_MS else wait

    def _work(self, began):
        """Do what is due; return for how many ms there is nothing more."""
        self._rest_us = 0  # as long as it is not done
        self._rested_us = began
        self._news[0] = 0
        self.busy_us += self.memory.spent_us  # in collections before a refusal
        try:
            wait = self._step()
            self._rest_us = wait * 1000 if wait < 1000 else _MAX_REST_US
            return wait
        finally:
            self.memory.spent_us = 0

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
                self._news[0] = 1  # from now on there are ends in time
                if self._heard():
                    self._tell_of_policy()
            return self.policy
        finally:
            self._making.release()

    def _handler_of(self, request):
        """Return what carries out a host's request; made at the first one."""
        if self._handlers is None:
            from .asked import Asked

            self._handlers = Asked(self).handlers
        return self._handlers.get(request)

    def _tell_of_policy(self):
        """Have a host told of what is granted: tables that a board without one does not need."""
        if self.policy.is_told:
            return
        for table in self.policy.tables(self.session):
            self.session.add(table)
            if self.session.host_id:
                table.mark()

    def _host(self, host_id, what):
        """Take the session's word of a host: "found", "alive", "lost" or "gone"."""
        if self.policy is not None:
            if what == "found":
                self._tell_of_policy()
            self.policy.host(host_id, what)

    def _step(self):
        clock = self.clock
        clock.advance()
        left = 1000
        if self.policy is not None:
            self.policy.tick()
        if self._rates[_INTERVAL]:
            left = -clock.since(self._due_s, self._due_ms)
            if left <= 0:
                self._take_sample()
                left = self._plan(-left)
            elif self.memory.reading:
                self.memory.read_on()
        if self.policy is not None:
            left = max(1, min(left, clock.left_ms()))
        if self.session is not None:
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
