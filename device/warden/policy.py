"""What the board decides: leases, operations and sessions, joined with what it measures.

Made when an application first asks for it, so that one that only watches does not pay for it.
"""

from micropython import const

from .errors import Denied
from .events import Events
from .leases import Ledger
from .limits import check_limits
from .sessions import Sessions
from .slots import Operations

_MEMORY = const(0)
_STORAGE = const(1)
_CPU_TIME = const(2)
_CPU_LIMIT_PERMILLE = const(900)
_UNLIMITED = const(0x3FFFFFFF)
_HOST_SESSION_MS = const(10_000)
_PAUSE = const(20)  # to look before a refusal, at most a twentieth of the core goes
_TURN_MS = const(5)  # between two looks of one that waits


def _marker(due, taken):
    """Return a function that marks a row as changed; None: one is free now."""

    def changed(row):
        if row is None:
            taken[0] = 1
        else:
            due[row] = 1

    return changed


def _marker_of_one(due):
    def changed():
        due[0] = 1

    return changed


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
            return self._board.mem_free() - total // 1000 * self.reserve_permille
        if kind == _STORAGE:
            stat = self._board.statvfs(mount)  # now: what was written since the last scan counts
            if stat is None:
                return 0
            return (stat[4] - stat[2] * self.reserve_permille // 1000) * (stat[1] or stat[0])
        if kind == _CPU_TIME:
            return _CPU_LIMIT_PERMILLE - (self._load.cpu_permille or 0)
        return _UNLIMITED

    def largest_block(self):
        """Return the largest free block in bytes, None where nothing tells it."""

    def collect(self):
        """Collect garbage, if it was not done just now; return whether it was."""
        return self._memory.collect(_PAUSE)

    def collect_in_ms(self):
        """Return the ms until collect() may do something again."""
        return self._memory.collect_in_ms(_PAUSE)


class Policy:
    """The tables and the rules; `tick` and `deliver` are called by the agent."""

    def __init__(self, agent, board, max_operations, operation_timeout_ms, reserve_permille):
        clock = agent.clock
        new_lock = agent.threads.lock
        self._agent = agent
        self.events = Events(clock, new_lock())
        post = self.events.post
        supply = Supply(board, agent.memory, agent.load, reserve_permille)
        self.ledger = Ledger(supply, clock, new_lock(), post)
        self.operations = Operations(
            clock,
            new_lock(),
            self.ledger,
            post,
            max_operations,
            operation_timeout_ms,
            agent.load.in_loop,
        )
        self.sessions = Sessions(clock, post, self.ledger, self.operations)

        self._supply = supply
        self._hosts = {}  # host_id -> Session, while it lasts

    # --- for a host -----------------------------------------------------------------------------

    def tables(self, host):
        """Return the tables that a host is told, and have each change marked in them."""
        from .policy_tables import EventRows, LeaseRows, OperationRows, SessionRows, Taken

        owners = (self.ledger, self.operations, self.sessions)
        taken = Taken(owners, self.limits)
        tables = [taken]
        for owner, make in zip(owners, (LeaseRows, OperationRows, SessionRows)):
            rows = make(owner)
            owner.changed = _marker(rows.due, taken.due)
            tables.append(rows)
        events = EventRows(self.events, host)
        self.events.changed = _marker_of_one(events.due)
        tables.append(events)
        return tables

    def session_of(self, host_id):
        """Return the session of a host; it is opened when the host first has something."""
        session = self._hosts.get(host_id)
        if session is None or session not in self.sessions.table:
            session = self.sessions.open("host " + str(host_id), ttl_ms=_HOST_SESSION_MS)
            self._hosts.clear()  # of those before nothing is asked any more
            self._hosts[host_id] = session
        return session

    def alive(self, host_id):
        """A host was heard: its session goes on."""
        session = self._hosts.get(host_id)
        if session is not None:
            session.renew()

    def gone(self, host_id):
        """A host said goodbye: its session ends."""
        session = self._hosts.get(host_id)
        if session is not None:
            session.close()

    def limits(self):
        """Return max_operations, operation_timeout_ms, memory_reserve_permille."""
        operations = self.operations
        return [operations.max_operations, operations.timeout_ms, self._supply.reserve_permille]

    def set_limits(self, max_operations=None, operation_timeout_ms=None, reserve_permille=None):
        """Set those that are not None, all or none; return all three."""
        now = self.limits()
        given = (max_operations, operation_timeout_ms, reserve_permille)
        wanted = [old if new is None else new for old, new in zip(now, given)]
        check_limits(*wanted)
        self.operations.timeout_ms = wanted[1]
        self._supply.reserve_permille = wanted[2]
        self.operations.set_limit(wanted[0])
        self.sessions.changed(None)  # the limits are told with the rows that are taken
        return wanted

    # --- by time --------------------------------------------------------------------------------

    def tick(self):
        """End what is over its time; allocates nothing where nothing is."""
        self.ledger.expire()
        self.operations.tick()
        self.sessions.tick()

    def deliver(self):
        """Call the application's callbacks; outside all locks."""
        self.events.deliver()

    def allocate(self, kind, amount, session=None, **options):
        """Return a lease, or raise Denied; see Ledger.allocate."""
        if session is not None:
            session.admit(kind, amount)
        return self.ledger.allocate(kind, amount, session=session, **options)

    def begin(self, name, session=None, memory=None, **options):
        """Return an operation that may still wait for its place; see Operations.begin."""
        if session is not None:
            session.admit_operation()
            if memory:
                session.admit(_MEMORY, memory)
        op = self.operations.begin(name, session=session, memory=memory, **options)
        op.task = self._agent.load.current_task()
        return op

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


class Guard:
    """`with warden.operation(…)` and `async with warden.operation(…)`: begins, waits, completes."""

    def __init__(self, policy, name, options):
        self._policy = policy
        self._name = name
        self._options = options
        self._op = None

    def __enter__(self):
        self._op = self._policy.begin(self._name, **self._options)
        self._policy.wait(self._op)
        return self._op

    def __exit__(self, kind, error, trace):
        self._op.complete()
        return False

    async def __aenter__(self):
        self._op = self._policy.begin(self._name, **self._options)
        await self._policy.wait_async(self._op)
        return self._op

    async def __aexit__(self, kind, error, trace):
        self._op.complete()
        return False


def guarded(policy_of, name, options):
    """Return a decorator: each call of the function, plain or async, is an operation."""

    async def _async():
        pass

    def decorate(function):
        if isinstance(function, type(_async)):  # a generator function: `async def`

            async def call(*args, **kwargs):
                async with Guard(policy_of(), name, options):
                    return await function(*args, **kwargs)

        else:

            def call(*args, **kwargs):
                with Guard(policy_of(), name, options):
                    return function(*args, **kwargs)

        return call

    return decorate
