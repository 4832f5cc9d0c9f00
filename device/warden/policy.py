"""What the board decides: leases, operations and sessions, joined with what it measures.

Made when an application first asks for it, so that one that only watches does not pay for it.
"""

from micropython import const

from warden.errors import Denied
from warden.events import Events
from warden.figures import Figures
from warden.ladder import Ladder
from warden.leases import Ledger
from warden.levels import PROTECT, Thresholds
from warden.limits import check_limits
from warden.meters import Meters
from warden.needs import Needs
from warden.sessions import Sessions
from warden.slots import Operations
from warden_schema.loops import judge as _judge

_MEMORY = const(0)
_STORAGE = const(1)
_CPU_TIME = const(2)
_CPU_LIMIT_PERMILLE = const(900)
_UNLIMITED = const(0x3FFFFFFF)
_HOST_SESSION_MS = const(10_000)
_PAUSE = const(20)  # to look before a refusal, at most a twentieth of the core goes
_TURN_MS = const(5)  # between two looks of one that waits
_NORMAL = const(1)
_CRITICAL = const(2)  # of the ladder's levels
_LEARNED = const(-1)
_TTL_MS = const(60_000)
_MAX_TELL_MS = const(60_000)
_MAX_DETAIL = const(32)

# What a board does about memory unless it is told otherwise: live bytes in permille of the heap
# for warn, critical and clear, at the first sample that shows it.
_MEMORY_LADDER = ("memory", 750, 850, 650, 0, PROTECT)


def _holder(ledger):
    """Return a function of a lease that makes its handle, None where no port tells its end."""
    try:
        import weakref  # noqa: F401
    except ImportError:  # most ports: then a dropped lease ends with its time
        return None
    from warden.held import held

    ledger.watch_dropped()
    return held


class Supply:
    """What is there to be granted, by measurement, less the reserve."""

    def __init__(self, board, memory, load, reserve_permille):
        self._board = board
        self._memory = memory
        self._load = load
        self.reserve_permille = reserve_permille

    def available(self, kind, mount):
        """Return bytes, permille of a core or bytes a second; 0 for a mount that is not there."""
        if kind == _MEMORY:
            total = self._memory.total
            return self._memory.free_now() - total // 1000 * self.reserve_permille
        if kind == _STORAGE:
            stat = self._board.statvfs(mount)  # now: what was written since the last scan counts
            if stat is None:
                return 0
            return (stat[4] - stat[2] * self.reserve_permille // 1000) * (stat[1] or stat[0])
        if kind == _CPU_TIME:
            return _CPU_LIMIT_PERMILLE - (self._load.cpu_permille or 0)
        return _UNLIMITED

    def most(self):
        """Return the most memory that could ever be granted, in bytes."""
        total = self._memory.total
        return total - total // 1000 * self.reserve_permille

    def largest_block(self):
        """Return the largest free block in bytes, None where nothing tells it."""
        return self._memory.largest_now()

    def collect(self):
        """Collect garbage, if it was not done just now; return whether it was."""
        return self._memory.collect(_PAUSE)

    def collect_in_ms(self):
        """Return the ms until collect() may do something again."""
        return self._memory.collect_in_ms(_PAUSE)


class Policy:
    """The tables and the rules; `look`, `tick` and `deliver` are called by the agent."""

    def __init__(self, agent, board, limits):
        clock = agent.clock
        lock = agent.locks.lock()  # of all that is granted, so that a decision takes one
        new_gate = agent.locks.gate
        max_operations, operation_timeout_ms, reserve_permille, overrun_ms = limits
        self._agent = agent
        self.events = events = Events(clock, lock, new_gate())
        post = events.post
        supply = Supply(board, agent.memory, agent.load, reserve_permille)
        self.ledger = Ledger(supply, clock, lock, events)
        self.needs = Needs(agent.memory, board, clock)
        self.operations = Operations(
            clock,
            lock,
            self.ledger,
            events,
            max_operations,
            operation_timeout_ms,
            agent.load.in_loop,
            self.needs,
        )
        self.sessions = Sessions(clock, lock, events, self.ledger, self.operations)
        figures = Figures(
            agent.values, agent.memory, agent.storage, agent.history, agent.sampler.history_limit
        )
        self.thresholds = Thresholds(figures, post, board.can_reset())
        self.thresholds.set(*_MEMORY_LADDER)
        self.ladder = Ladder(
            self.thresholds, agent.memory, self.ledger, self.operations, post, board, new_gate()
        )
        self.meters = Meters(board, agent.load, agent.threads, agent.locks.lock(), post, overrun_ms)
        self.ladder.end_low_tasks = self.meters.end_low
        self.kept = None  # made by warden.kept, where a policy is kept or a host asks for it
        self._supply = supply
        self._hosts = {}  # host_id -> Session, while it lasts
        self.hold = _holder(self.ledger)  # makes what an application gets of a lease
        self.current_task = agent.load.current_task
        self._told_until = (0, 0)  # uptime in s and ms: a host is told of the meters
        self.telling = False
        self._mark_meters = None
        self.is_told = False  # whether a host is, by tables()
        note = board.take_note()
        if note is not None:
            post("reset", None, note[:_MAX_DETAIL])

    # --- for a host -----------------------------------------------------------------------------

    def tables(self, host):
        """Return the tables that a host is told, and have each change marked in them."""
        from warden.policy_tables import EventRows, LeaseRows, OperationRows, SessionRows, Taken
        from warden.watch_tables import MeterRows, NeedRows, ThresholdRows

        granted = (self.ledger, self.operations, self.sessions)
        watched = (self.thresholds, self.meters, self.needs)
        taken = Taken(granted, self.limits, watched)
        tables = [taken]
        makers = (LeaseRows, OperationRows, SessionRows, ThresholdRows, MeterRows, NeedRows)
        for owner, make in zip(granted + watched, makers):
            rows = make(owner)
            owner.changed = rows.changed
            owner.freed = taken.changed
            tables.append(rows)
            if owner is self.meters:
                self._mark_meters = rows.tell
        events = EventRows(self.events, host)
        self.events.changed = events.changed
        tables.append(events)
        host.hosts = self._hosts
        self.is_told = True
        return tables

    def session_of(self, host_id):
        """Return the session of a host; it is opened when the host first has something."""
        session = self._hosts.get(host_id)
        if session is None or not session.is_open():
            session = self.sessions.open("host " + str(host_id), ttl_ms=_HOST_SESSION_MS)
            for other in list(self._hosts):  # one that another host came after may come back
                if not self._hosts[other].is_open():
                    del self._hosts[other]
            self._hosts[host_id] = session
        return session

    def host(self, host_id, what):
        """Hear of a host: "found", "alive" (its session goes on), "lost", or "gone" for good."""
        session = self._hosts.get(host_id)
        if what == "alive":
            if session is not None:
                session.renew()
            return
        if what == "gone" and session is not None:
            session.close()
        self.events.post("link", None, what)

    def tell_meters(self, for_ms):
        """Have a host told of the meters with each sample, for so long."""
        if not 0 <= for_ms <= _MAX_TELL_MS:
            raise ValueError("for_ms must be 0 to 60000")
        clock = self._agent.clock
        clock.advance()
        ms = clock.ms + for_ms
        self._told_until = (clock.s + ms // 1000, ms % 1000)
        self.telling = True

    def limits(self):
        """Return the four that set_limits() sets."""
        operations = self.operations
        reserve = self._supply.reserve_permille
        return [
            operations.max_operations,
            operations.timeout_ms,
            reserve,
            self.meters.overrun_ms,
        ]

    def set_limits(
        self,
        max_operations=None,
        operation_timeout_ms=None,
        memory_reserve_permille=None,
        overrun_ms=None,
    ):
        """Set those that are not None, all or none; return all four."""
        given = (max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms)
        wanted = [old if new is None else new for old, new in zip(self.limits(), given)]
        check_limits(*wanted)
        self.operations.set_timeout(wanted[1])
        self._supply.reserve_permille = wanted[2]
        self.meters.overrun_ms = wanted[3]
        self.operations.set_limit(wanted[0])
        self.sessions.freed(0)  # the limits are told with the rows that are taken
        return wanted

    # --- by time --------------------------------------------------------------------------------

    look = _judge

    def tell_of_meters(self):
        """Have a host told of the meters, as long as it asked for that."""
        s, ms = self._told_until
        self.telling = self._agent.clock.since(s, ms) < 0
        if self.telling and self._mark_meters is not None:
            self._mark_meters()

    def tick(self):
        """End what is over its time; allocates nothing where nothing is."""
        clock = self._agent.clock
        if not clock.due():
            return
        clock.rested()
        try:
            self.ledger.expire()
            self.operations.tick()
            self.sessions.tick()
        except BaseException:  # else what was not looked at would be late by a minute
            clock.now()
            raise

    def deliver(self):
        """Do what may run the application's code: outside all locks."""
        if self.ladder.due:
            self.ladder.act()
        if self.events.told != self.events.seq:
            self.events.deliver()

    # --- what is asked --------------------------------------------------------------------------

    def allocate(
        self,
        kind,
        amount,
        owner="",
        priority=_NORMAL,
        ttl_ms=_TTL_MS,
        session=None,
        backed=False,
        mount=None,
        on_preempt=None,
    ):
        """Return a lease, or raise Denied; see Ledger.allocate."""
        if session is not None:
            session.admit(kind, amount)
        if self.ladder.level == _CRITICAL:
            self.ladder.admit(priority, amount)
        lease = self.ledger.allocate(
            kind, amount, owner, priority, ttl_ms, session, backed, mount, on_preempt
        )
        if session is not None:
            self._check_open(session, lease.release)
        return lease

    def begin(
        self,
        name,
        priority=_NORMAL,
        timeout_ms=None,
        memory=None,
        wait_ms=0,
        session=None,
        task=None,
    ):
        """Return an operation that may still wait for its place; see Operations.begin.

        memory: bytes, None, or LEARNED (-1): what operations of that name needed at most so far.
        """
        if memory == _LEARNED:
            memory = self.needs.worst(name)
        if session is not None:
            session.admit_operation()
            if memory:
                session.admit(_MEMORY, memory)
        if self.ladder.level == _CRITICAL:
            self.ladder.admit(priority)
        op = self.operations.begin(name, priority, timeout_ms, memory, wait_ms, session, task)
        if session is not None:
            self._check_open(session, op.complete)
        return op

    def _check_open(self, session, end):
        """End what was made for a session that another thread closed meanwhile; raise Denied."""
        if not session.is_open():
            end()
            session.use()

    def begin_here(self, name, *args, **options):
        """Begin an operation that its caller carries out: a task of asyncio is cancelled for it."""
        return self.begin(name, *args, task=self.current_task(), **options)

    def can_execute(self, priority=_NORMAL):
        """Tell whether begin() with this priority would get a place, now or by preemption."""
        return not self.ladder.refuses(priority) and self.operations.can_execute(priority)

    def wait(self, op):
        """Wait until an operation has its place; the loop of an application without asyncio.

        Inside a task of asyncio nothing may wait so: Denied, unless the place is there.
        """
        try:
            while not self.operations.settle(op):
                if op.task is not None:
                    raise Denied("operations", None, _TURN_MS, ())
                self._agent.step()
                self._agent.sleep_ms(_TURN_MS)
        except BaseException:  # Ctrl-C too
            op.complete()
            raise

    async def wait_async(self, op):
        """Wait until an operation has its place, in a task of asyncio."""
        from asyncio import sleep_ms

        try:
            while not self.operations.settle(op):
                await sleep_ms(_TURN_MS)
        except BaseException:  # its task may be cancelled while it waits
            op.complete()
            raise
