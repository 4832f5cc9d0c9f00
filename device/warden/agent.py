"""The agent: the one place where the parts are made and joined."""

from array import array

from micropython import const

from warden.capabilities import Capabilities
from warden.clock import Clock
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
from warden_schema.loops import look as _look

VERSION = "0.1.0"

_MIN_INTERVAL_MS = const(20)
_MAX_INTERVAL_MS = const(600_000)

_DUE = const(b"\x01")  # in the clock's news
_SAMPLE_PLACE = const(23)  # the sample's place there, behind all tables

_BUSY_MS = const(10)
_NEXT_MS = const(2)
_NEXT_US = const(1999)
_NEVER_MS = const(0x3FFFFFFF)
_SLICE_PAUSE_MS = const(2)  # between two slices of a large heap
# Who waits for that long must not be late for what comes meanwhile: an end in time, a request of
# the application. And the ticks of microseconds wrap.
_MAX_REST_MS = const(1000)

# In the sample's words.
_INTERVAL_MS = const(2)
_FAULTS = const(21)
_COST_US = const(30)
_BUDGET = const(31)
_WANTED = const(32)
_INTERVAL = const(33)
_DUE_S = const(40)
_DUE_MS = const(41)
_LEFT_MS = const(42)


# What `loops.look` works on: see `plain`.
_STEPPING = const(0)
_BEGAN = const(1)
_ARRIVED = const(2)
_RESTED = const(3)
_REST_US = const(4)
_MASK = const(5)
_IDLE_STEPS = const(6)
_READING = const(7)
_WORDS = const(8)


def _nothing():
    """Make the locks that nobody needs without threads; tell nobody."""


def _bind(instance, names):
    """Have these methods be found in the instance: in an eighth of the time that a class takes."""
    for name in names.split():
        setattr(instance, name, getattr(instance, name))


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
        self.threads = _count_threads()
        self.locks = Locks(self.threads.available)
        new_gate = new_lock = _nothing
        if self.threads.available:
            new_gate, new_lock = self.locks.gate, self.locks.lock
        self.clock = Clock(board.ticks_ms, board.ticks_diff, new_gate(), new_lock())
        self.network = _watch_network()
        self._news = self.clock.news
        self._resting = array("i", [0] * _WORDS)
        self._resting[_MASK] = _mask_of(board.ticks_diff)
        self._lock = new_gate()
        self._read = _read_nothing
        self._chunk = None
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
        self.busy_us = 0  # the agent's own time since the last sample
        self._idle_us = 0  # of that, each step that finds nothing: a moving mean
        self._put_off = False  # what is due to be told, for one turn
        self._worked = False  # whether something was done that the application may hear of
        if link is not None:
            self._open_session(link)
        self.sampler.join(self)
        _bind(self, "_turn _wake _rest_of _step _tell _enforce _idle")
        _bind(self.sampler, "take begin")
        _bind(self.memory, "read read_on")
        _bind(self.load, "read")
        _bind(self.history, "add")
        _bind(self.clock, "left_ms")
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
        self._read = link.read  # a bound method is an object: made once
        self._chunk = self.session.chunk

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
        Mostly nothing is due, which one call of machine code finds out.
        """
        read = self._read if listen else _read_nothing
        wait = self._turn(read) if self._lock is None else self._turn_alone(read)
        if self._worked:
            self._worked = False
            if self.policy is not None:
                self._deliver()
        return wait

    def _turn_alone(self, read):
        if not self._lock.acquire(0):
            return _BUSY_MS  # another thread is at it
        try:  # at once: Ctrl-C must not leave it locked
            return self._turn(read)
        finally:
            self._lock.release()

    def _turn(self, read):
        """Read the link, and do what is due; return the ms until there is more."""
        try:  # `read` becomes those ms: with one variable more the frame would be too large
            read = _look(self._resting, self._news, read, self._chunk, self.ticks_us)
            if read > 0:
                return read
            return self._idle(-read) if read else self._wake()
        except Exception:
            self._resting[_STEPPING] = 0  # before anything that Ctrl-C may come into
            return self._failed()
        except BaseException:  # Ctrl-C
            self._resting[_STEPPING] = 0
            raise

    def _failed(self):
        """Count an exception inside the agent; return the ms until it tries again."""
        resting = self._resting
        self.busy_us += self.ticks_us() - resting[_BEGAN] & resting[_MASK]
        self.memory.spent_us = 0
        self._worked = True
        self._fault()
        return 1000

    def _fault(self):
        self.faults += 1
        self.values[_FAULTS] = self.faults

    def _idle(self, wait):
        """End the first of several steps that find nothing: what it took counts for each of them.

        That is from its beginning until here, with this call in place of the return.
        """
        resting = self._resting
        took = self.ticks_us() - resting[_BEGAN] & resting[_MASK]
        self._idle_us = _mean(self._idle_us, took)
        resting[_STEPPING] = 0
        return wait

    def _wake(self):
        """Hear what has arrived, and do what is due; return the ms until there is more."""
        resting = self._resting
        memory = self.memory
        left = 0
        if resting[_ARRIVED] or resting[_READING]:
            left = self._rest_of(resting)
        if left > 0:
            left = left // 1000 + 1
            if memory.reading:
                memory.read_on()
        else:
            resting[_REST_US] = 0  # as long as it is not done
            resting[_RESTED] = resting[_BEGAN]
            self._news[0] = 0
            if resting[_IDLE_STEPS]:
                self.busy_us += resting[_IDLE_STEPS] * self._idle_us
                resting[_IDLE_STEPS] = 0
            if memory.spent_us:  # in collections before a refusal
                self.busy_us += memory.spent_us
            left = self._step()
            if left > _MAX_REST_MS:
                left = _MAX_REST_MS
            resting[_REST_US] = left * 1000
            self._worked = True
            if memory.spent_us:
                memory.spent_us = 0
        if memory.reading:
            resting[_READING] = 1
            if left > _SLICE_PAUSE_MS:
                left = _SLICE_PAUSE_MS
        else:
            resting[_READING] = 0
        self.busy_us += self.ticks_us() - resting[_BEGAN] & resting[_MASK]
        resting[_STEPPING] = 0
        return left

    def _rest_of(self, resting):
        """Hear what has arrived; return the µs that are left until something is due."""
        session = self.session
        count = resting[_ARRIVED]
        if count:
            session.hear(count)
        left = 0
        if not self._news[0]:
            passed = resting[_BEGAN] - resting[_RESTED] & resting[_MASK]
            left = resting[_REST_US] - passed
            if count and left > 0 and session.due:
                left = self._answer(resting, left)
        elif count and session.subscribed:  # it is told from the next turn on
            session.subscribed = False
            left = _NEXT_US
        return left

    def _step(self):
        """Do what is due; return for how many ms there is no more."""
        clock = self.clock
        clock.advance()
        until = _NEVER_MS if self.policy is None else self._enforce()
        left = 1000
        again = None
        values = self.values
        if values[_INTERVAL]:
            left = (values[_DUE_S] - clock.s) * 1000 + values[_DUE_MS] - clock.ms
            if left <= 0:
                self.sampler.take()
                again = self._tell()
                left = values[_LEFT_MS]
                if self.policy is not None and self.policy.ladder.level:
                    left = self.hurry()
            elif self.memory.reading:
                self.memory.read_on()
        if until < left:
            left = until if until > 0 else 1
        if again is None:
            self._put_off = False
            if self.session is not None:
                again = self.session.pump()
        return again if again and again < left else left

    def _enforce(self):
        """End what is over its time; return the ms until something is."""
        clock = self.clock
        until = clock.left_ms()
        if until <= 0:
            self.policy.tick()
            until = clock.left_ms()
        return until

    def _tell(self):
        """Have a host told of a new sample; return the ms until there is more to tell.

        None: all that is due has to go by Session.pump().
        """
        session = self.session
        if session is None or not session.host_id:
            self.sample.renew(False)
            return None
        if session.tell_sample():
            return 1000  # there is nothing else to tell
        self.sample.renew(True)
        if self._put_off or self._news.find(_DUE, 1, _SAMPLE_PLACE) < 0:
            return None
        self._put_off = True  # lest the application wait for a sample and rows at once
        self._news[0] = 1
        return _NEXT_MS

    def _answer(self, resting, left):
        """Tell what the host that was heard waits for; return the µs until there is more to do."""
        again = self.session.pump()
        if again and again * 1000 < left:
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

    def _deliver(self):
        """Let the application's own code hear of what happened."""
        policy = self.policy
        if policy.ladder.due or policy.events.told != policy.events.seq:
            try:
                policy.deliver()
            except Exception:
                self._fault()

    def decide(self):
        """Return the policy; imported and made at the first call."""
        self._making.acquire(1)
        try:
            if self.policy is None:
                from warden.policy import Policy

                self.policy = Policy(self, self._board, self._limits)
                self._news[0] = 1  # from now on there are ends in time
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
        self._news[0] = 1
        return interval_ms

    def stop_monitoring(self):
        """Take no more samples; the link goes on, and tells so."""
        want(self.values, 0)
        self.values[_INTERVAL_MS] = 0  # the figures say so, too
        self.sample.renew(self._heard())
        self._news[0] = 1


def _mean(mean_us, took_us):
    """Return a moving mean, rounded up; one that is much greater says little."""
    if not mean_us:
        return took_us
    return mean_us + (min(took_us, 2 * mean_us + 4) - mean_us + 3) // 4
