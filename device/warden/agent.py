"""The agent: the one place where the parts are made and joined."""

from array import array

from micropython import const

from warden.capabilities import Capabilities
from warden.clock import Clock, mask_of
from warden.history import History
from warden.host_session import Session
from warden.limits import check_budget, want
from warden.load import Load
from warden.memory import Memory
from warden.network import install as _watch_network
from warden.sample_table import Sample
from warden.sampler import Sampler
from warden.storage import Storage
from warden.tables import Hello, StorageTable
from warden.threads import Locks
from warden.threads import install as _count_threads
from warden.uplink import Uplink
from warden_schema.loops import turn as _turn

VERSION = "0.1.0"

_MIN_INTERVAL_MS = const(20)
_MAX_INTERVAL_MS = const(600_000)

_DUE = const(b"\x01")  # in the clock's news
_SAMPLE_PLACE = const(23)  # the sample's place there, behind all tables

_BUSY_MS = const(10)
_NEXT_MS = const(2)

# In the sample's words.
_INTERVAL_MS = const(2)
_FAULTS = const(21)
_COST_US = const(30)
_BUDGET = const(31)
_WANTED = const(32)
_DUE_S = const(40)
_DUE_MS = const(41)
_LEFT_MS = const(42)
_SPENT_US = const(43)


# What a step works on: see `plain.turn`.
_STEPPING = const(0)
_BEGAN = const(1)
_RESTED = const(3)
_REST_US = const(4)
_MASK = const(5)
_BUSY_US = const(8)
_WORDS = const(10)


def _nothing():
    """Make the locks that nobody needs without threads; tell nobody."""


def _bind(instance, names):
    """Have these methods be found in the instance: in an eighth of the time that a class takes."""
    for name in names.split():
        setattr(instance, name, getattr(instance, name))


def _read_nothing(_chunk):
    """Read no link."""
    return 0


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
        self.threads = _count_threads()
        self.locks = Locks(self.threads.available)
        new_gate = new_lock = _nothing
        if self.threads.available:
            new_gate, new_lock = self.locks.gate, self.locks.lock
        self.clock = Clock(board.ticks_ms, board.ticks_diff, new_gate(), new_lock())
        self.network = _watch_network()
        self.network_words = self.network.words
        self.thread_words = self.threads.words
        self.news = self.clock.news
        self.resting = array("i", [0] * _WORDS)
        self.resting[_MASK] = mask_of(board.ticks_diff)
        self._lock = new_gate()
        self.read = _read_nothing
        self.chunk = None
        self._making = self.locks.lock()
        self.sampler = Sampler()
        self.values = values = self.sampler.values
        values[_BUDGET] = check_budget(budget_permille)
        self.memory = Memory(board, self.clock, values)
        self.load = Load(board, values, self.threads.ident)
        self.storage = Storage(board, self.clock)
        self.storage.read()
        self.history = History(values)
        self.boot_id = board.random_30()
        self.sample = Sample(values)
        self.identity = board.identity() + (VERSION,)
        self.capabilities = Capabilities(self)
        self.faults = values[_FAULTS] = 0  # exceptions inside the agent itself
        self.link = link
        self.uplink = self.session = None
        self._put_off = False  # what is due to be told, for one turn
        self._worked = False  # whether something was done that the application may hear of
        if link is not None:
            self._open_session(link)
        self.sampler.join(self)
        self.turn = self._turn if self._lock is None else self._turn_alone
        self.deliver = self._deliver if self._lock is None else self._deliver_later
        _bind(self, "enforce tell_later pump answer")
        _bind(self.load, "read")
        _bind(self.clock, "advance left_ms")
        self.start_monitoring(interval_ms)
        self.step()  # so that there is something to tell from the first moment
        values[_COST_US] = -1  # the first sample makes what later ones find made

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
        self.read = link.read  # a bound method is an object: made once
        self.chunk = self.session.chunk

    def close(self):
        """Leave everything as it was found."""
        want(self.values, 0)
        self.load.detach()
        if self.link is not None:
            self.link.close()

    # --- running --------------------------------------------------------------------------------

    # What follows runs all the time. A call whose frame (arguments, variables, and what is on its
    # stack) is larger than eleven words has it from the heap (py/objfun.c, VM_MAX_STATE_ON_STACK):
    # none of these is. firmware_tests/test_full_tables.py would count a collection.

    def step(self, listen=False):
        """Take a sample if it is time, and send what is due; return the ms until the next.

        listen: read the link first. Never raises, never waits, allocates nothing in steady state.
        Mostly nothing is due, which one call of machine code finds out: `turn(listen)`, which is
        the same for those who call it all the time.
        """
        return self.turn(listen)

    def _turn_alone(self, listen):
        """Do so where there are threads."""
        if not self._lock.acquire(0):
            return _BUSY_MS  # another thread is at it
        try:  # at once: Ctrl-C must not leave it locked
            # It becomes the ms: with one variable more the frame would be too large.
            listen = self._turn(listen)
        finally:
            self._lock.release()
        if self._worked:
            self._worked = False
            self._deliver()
        return listen

    _turn = _turn

    def failed(self):
        """Count an exception inside the agent; return the ms until it tries again, negative."""
        resting = self.resting
        resting[_STEPPING] = 0  # before anything that Ctrl-C may come into
        resting[_BUSY_US] += self.ticks_us() - resting[_BEGAN] & resting[_MASK]
        self.values[_SPENT_US] = 0
        self._fault()
        return -1000

    def _fault(self):
        self.faults += 1
        self.values[_FAULTS] = self.faults

    def enforce(self):
        """End what is over its time; return the ms until something is."""
        self.policy.tick()
        return self.clock.left_ms()

    def tell_later(self):
        """Have a new sample told by the session's pump(); return the ms until then, -1: now."""
        session = self.session
        if session is None or not session.host_id:
            self.sample.renew(False)
            return -1
        self.sample.renew(True)
        if self._put_off or self.news.find(_DUE, 1, _SAMPLE_PLACE) < 0:
            return -1
        self._put_off = True  # lest the application wait for a sample and rows at once
        self.news[0] = 1
        return _NEXT_MS

    def pump(self):
        """Tell a host what is due; return the ms until there is more, 0 for nothing."""
        self._put_off = False
        return 0 if self.session is None else self.session.pump()

    def answer(self, left):
        """Tell what the host that was heard waits for; return the µs until there is more to do."""
        again = self.session.pump()
        if again and again * 1000 < left:
            resting = self.resting
            resting[_RESTED] = resting[_BEGAN]
            resting[_REST_US] = left = again * 1000
        return left

    def hurry(self):
        """Have the next sample as soon as was asked for; return the ms until then.

        To look in time matters more than the budget now.
        """
        values = self.values
        left = min(values[_LEFT_MS], values[_WANTED])
        ms = self.clock.ms + left
        values[_DUE_S] = self.clock.s + ms // 1000
        values[_DUE_MS] = ms % 1000
        return left

    def _deliver_later(self):
        """Have that done when the lock is released."""
        self._worked = True

    def _deliver(self):
        """Let the application's own code hear of what happened."""
        if self.policy is not None:
            try:
                self.policy.deliver()
            except Exception:
                self._fault()

    def decide(self):
        """Return the policy; imported and made at the first call."""
        self._making.acquire(1)
        try:
            if self.policy is None:
                from warden.policy import Policy

                self.policy = Policy(self, self._board, self._limits)
                self.news[0] = 1  # from now on there are ends in time
                if self._heard():
                    self._tell_of_policy()
            return self.policy
        finally:
            self._making.release()

    def _handler_of(self, request):
        """Return what carries out a host's request; made at the first one."""
        from warden.asked import Asked

        find = Asked(self).handlers.get
        self.session.handler_of = find
        return find(request)

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
        want(self.values, interval_ms, budget_permille)
        self.clock.advance()
        self.values[_DUE_S] = self.clock.s
        self.values[_DUE_MS] = self.clock.ms
        self.news[0] = 1
        return interval_ms

    def stop_monitoring(self):
        """Take no more samples; the link goes on, and tells so."""
        want(self.values, 0)
        self.values[_INTERVAL_MS] = 0  # the figures say so, too
        self.sample.renew(self._heard())
        self.news[0] = 1
