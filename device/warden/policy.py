"""What the board decides: leases, operations and sessions, joined with what it measures.

Made when an application first asks for it, so that one that only watches does not pay for it.
"""

from micropython import const

from .errors import Denied
from .events import Events
from .leases import Ledger
from .sessions import Sessions
from .slots import Operations

_MEMORY = const(0)
_STORAGE = const(1)
_CPU_TIME = const(2)
_CPU_LIMIT_PERMILLE = const(900)
_UNLIMITED = const(0x3FFFFFFF)
_PAUSE = const(20)  # to look before a refusal, at most a twentieth of the core goes
_TURN_MS = const(5)  # between two looks of one that waits


class Supply:
    """What is there to be granted, by measurement, less the reserve."""

    def __init__(self, board, memory, load, reserve_permille):
        self._board = board
        self._memory = memory
        self._load = load
        self._reserve_permille = reserve_permille

    def available(self, kind, mount):
        """Return bytes, permille of a core or bytes a second; 0 for a mount that is not there."""
        if kind == _MEMORY:
            total = self._memory.total
            return self._board.mem_free() - total // 1000 * self._reserve_permille
        if kind == _STORAGE:
            stat = self._board.statvfs(mount)  # now: what was written since the last scan counts
            if stat is None:
                return 0
            return (stat[4] - stat[2] * self._reserve_permille // 1000) * (stat[1] or stat[0])
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
