"""What the board decides: leases, operations and sessions, joined with what it measures."""

from micropython import const

from warden.errors import renew_spare_denied
from warden.policy.events import Events
from warden.policy.leases import Leases
from warden.policy.memory_profile import MemoryProfile
from warden.policy.meters import Meters
from warden.policy.metrics import Metrics
from warden.policy.operations import Operations
from warden.policy.pressure import Pressure
from warden.policy.sessions import Sessions
from warden.policy.supply import Supply
from warden.policy.thresholds import Thresholds
from warden.sensors.threads import new_lock
from warden.tables import Table

_ROWS = const(12)
_MAX_DETAIL = const(32)
_MAX_WAIT_MS = const(60_000)

# What a board does about memory unless it is told otherwise: live bytes in permille of the heap
# for warn, critical and clear, at the first sample that shows it.
_PROTECTS = const(1)
_DEFAULT_THRESHOLD = ("memory", 750, 850, 650, 0, _PROTECTS)


class Limits:
    """What may be set of the policy, in the order of ids.LIMITS_SET; `set()` checks it."""

    def __init__(self):
        self.max_operations = 4
        self.operation_timeout_ms = 300_000
        self.memory_reserve_permille = 100
        self.overrun_ms = 5000

    def set(self, max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms):
        """Set those that are not None, all or none; ValueError or TypeError for nonsense."""
        _check_limit("max_operations", max_operations, 1, 8)
        _check_limit("operation_timeout_ms", operation_timeout_ms, 1, None)
        _check_limit("memory_reserve_permille", memory_reserve_permille, 0, 900)
        _check_limit("overrun_ms", overrun_ms, 0, 600_000)
        if max_operations is not None:
            self.max_operations = max_operations
        if operation_timeout_ms is not None:
            self.operation_timeout_ms = operation_timeout_ms
        if memory_reserve_permille is not None:
            self.memory_reserve_permille = memory_reserve_permille
        if overrun_ms is not None:
            self.overrun_ms = overrun_ms

    def all(self):
        """Return the four as a list."""
        return [
            self.max_operations,
            self.operation_timeout_ms,
            self.memory_reserve_permille,
            self.overrun_ms,
        ]


def _check_limit(name, value, low, high):
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(name + " must be an int")
    if value < low or (high is not None and value > high):
        raise ValueError("%s must be %d to %s" % (name, low, high or "any"))


def _lease_handle():
    """Return a function of a lease that makes its handle, None where no port tells its end."""
    try:
        import weakref  # noqa: F401
    except ImportError:  # most ports: there a dropped lease ends with its time
        return None
    from warden.policy.lease_handle import LeaseHandle

    return LeaseHandle


class UsedRows(Table):
    """Which rows of the other tables are in use, and the limits."""

    def __init__(self, clock, tables, limits):
        super().__init__(clock, _ROWS, (), 1)
        self.rows[0] = self
        self._tables = tables
        self._limits = limits

    def encode(self, row, uplink):
        """Put the message into the uplink."""
        uplink.begin(_ROWS, 7)
        place = 0
        for table in self._tables:
            if place == 3:  # leases, operations, sessions; then the limits; then what is watched
                uplink.put(self._limits.all())
            mask = 0
            bit = 1
            for entry in table.rows:
                if entry is not None:
                    mask |= bit
                bit <<= 1
            uplink.put(mask)
            place += 1
        return True


class Policy:
    """The tables and the rules; evaluate(), run_due() and deliver() are called by the agent."""

    def __init__(self, agent, limits):
        clock = agent.clock
        board = agent.board
        memory = agent.memory
        load = agent.load
        self._agent = agent
        self._clock = clock
        self.lock = lock = new_lock()  # of all that is granted, so that a decision takes one
        self.limits = Limits()
        self.limits.set(*limits)
        self.events = events = Events(clock)
        self.profile = MemoryProfile(memory, board, clock)
        self.supply = Supply(board, memory, agent.sample, self.limits)
        self.leases = Leases(clock, lock, events, self.supply)
        self.operations = Operations(agent, lock, events, self.leases, self.limits, self.profile)
        self.sessions = Sessions(clock, lock, events, self.leases, self.operations)
        metrics = Metrics(agent.sample, memory, agent.storage, agent.history)
        self.thresholds = Thresholds(metrics, events, board.can_reset())
        self.meters = Meters(board, load, agent.threads, lock, events)
        self.meters.overrun_ms = self.limits.overrun_ms
        self.pressure = Pressure(
            self.thresholds, memory, self.leases, self.operations, self.meters, events, board
        )
        self.leases.pressure = self.operations.pressure = self.pressure
        self.stored_policy = None  # made where one is stored or a host asks for it
        self.lease_handle = _lease_handle()  # makes what an application gets of a lease, or None
        watched = [self.thresholds, self.meters, self.profile]
        granted = [self.leases, self.operations, self.sessions]
        self._used = UsedRows(clock, granted + watched, self.limits)
        for table in granted + watched:
            table.used = self._used
        # What a host mirrors; rows in use first.
        self.tables = [self._used] + granted + watched + [events]
        self._renew_spares = False
        events.session = agent.session
        if agent.session is not None:
            agent.session.tables += self.tables
        self.thresholds.set(*_DEFAULT_THRESHOLD)
        note = board.take_note()
        if note is not None:
            events.post("reset", None, note[:_MAX_DETAIL])

    # --- by the agent ---------------------------------------------------------------------------

    def run_due(self):
        """End what is over its time; return the ms until something is.

        Allocates nothing where nothing is.
        """
        clock = self._clock
        operations = self.operations
        leases = self.leases
        if clock.is_due() or operations.needs_run():
            leases.run_due()
            operations.run_due()
            self.sessions.run_due()
            with self.lock:
                clock.begin_round()
                leases.schedule()
                operations.schedule()
                self.sessions.schedule()
        return max(0, clock.left_ms(clock.next_s, clock.next_ms))

    def evaluate(self, period_ms):
        """Judge a new sample; allocates nothing."""
        self.profile.sampled(self._agent.memory.used)
        self.meters.evaluate(period_ms)
        self.thresholds.evaluate(period_ms)
        self.pressure.evaluate(period_ms)

    def deliver(self):
        """Do what may run the application's code, or needs memory: outside all locks."""
        if self.pressure.due:
            self.pressure.act()
        self.events.deliver()
        if self.operations.spares_missing():
            try:
                self.operations.renew_spares()
                renew_spare_denied()
            except MemoryError:  # later
                pass

    def overrules(self, what):
        """Tell whether a stored policy is in force, so that the application may not change it."""
        return self.stored_policy is not None and self.stored_policy.overrules(what)

    # --- what is asked --------------------------------------------------------------------------

    def set_limits(
        self,
        max_operations=None,
        operation_timeout_ms=None,
        memory_reserve_permille=None,
        overrun_ms=None,
    ):
        """Set those that are not None, all or none; return all four."""
        limits = self.limits
        limits.set(max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms)
        self.meters.overrun_ms = limits.overrun_ms
        self.operations.promote_waiters()
        self._used.mark_dirty(0)  # the limits are sent with the rows in use
        return limits.all()
