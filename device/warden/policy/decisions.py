"""The public functions for leases, operations and the like; `start()` makes them `warden`'s."""

from micropython import const

from warden.running import running_policy

_DEFAULT_TTL_MS = const(60_000)
_NORMAL = const(1)  # a priority


# The type of a generator's function, too; on CPython it is that of any function.
_async_function = type(lambda: (yield))


# Kinds of events, as docs/board.md has them.
_EVENTS = const(
    "lease operation session denied threshold collect trim reset overrun link key safe budget hang "
    "policy callback_failed exception agent"
)


def _check_callback(function):
    """Raise TypeError for what cannot be called.

    Also for an `async def`, which nobody would await, as far as that can be seen.
    """
    if not callable(function):
        raise TypeError("a callback must be a function")
    if isinstance(function, _async_function) and _async_function is not type(_check_callback):
        raise TypeError("an async function cannot be called back")


def allocate(
    kind,
    amount,
    owner="",
    priority=_NORMAL,
    ttl_ms=_DEFAULT_TTL_MS,
    session=None,
    backed=False,
    mount=None,
    on_preempt=None,
):
    """Return a lease, or raise `Denied`.

    kind: MEMORY (bytes), STORAGE (bytes on `mount`, None for "/"), CPU_TIME (permille of a core) or
    NETWORK_BANDWIDTH (bytes a second); ttl_ms: None for no end of its own; see
    `warden.policy.leases.Leases.allocate`.
    """
    if on_preempt is not None:
        _check_callback(on_preempt)
    policy = running_policy()
    lease = policy.leases.allocate(
        kind, amount, owner, priority, ttl_ms, session, backed, mount, on_preempt
    )
    return lease if policy.lease_handle is None else policy.lease_handle(lease)


def allocations():
    """Return the leases that have not ended, oldest first."""
    leases = running_policy().leases
    leases.clock.advance()
    leases.run_due()
    return leases.all()


def operation(name, priority=_NORMAL, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return an operation that begins with `with` or `async with`, and ends with it.

    timeout_ms: None for the board's; memory: bytes, None, or LEARNED: what this name needed at most
    so far; wait_ms: for a place. Entering raises `Denied`. Inside a task of asyncio use
    `async with`: a plain one cannot wait there.
    """
    return running_policy().operations.new(name, priority, timeout_ms, memory, wait_ms, session)


def begin(name, priority=_NORMAL, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return an operation, see `operation()`, that has its place; end it with `complete()`."""
    op = running_policy().operations.new(name, priority, timeout_ms, memory, wait_ms, session)
    return op.__enter__()


def can_execute(priority=_NORMAL):
    """Tell whether an operation of this priority would get a place, now or by preemption."""
    return running_policy().operations.can_execute(priority)


def operations():
    """Return the operations that have not ended, oldest first."""
    return running_policy().operations.all()


def session(name, memory=None, storage=None, operations=None, ttl_ms=None):
    """Open a session with quotas: memory, storage (bytes), operations; or raise `Denied`.

    ttl_ms: it ends when it was not used for so long, None: never by itself.
    """
    return running_policy().sessions.open(name, memory, storage, operations, ttl_ms)


def set_limits(
    max_operations=None, operation_timeout_ms=None, memory_reserve_permille=None, overrun_ms=None
):
    """Set limits, see `start()`; None: as it is. A stored policy that is in force overrules it."""
    policy = running_policy()
    if policy.stored_policy is None or not policy.stored_policy.overrules("limits"):
        policy.set_limits(max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms)


def threshold(metric, warn=None, critical=None, clear=None, hold_ms=0, action=0):
    """Set the threshold of a metric, or remove it if no level is given.

    metric: a name of `warden.policy.thresholds.METRICS`; warn, critical: its levels; clear: where
    it is well again; hold_ms: how long a level must have been reached; action: TELL, PROTECT or
    RESET. Changes nothing where a stored policy is in force.
    """
    policy = running_policy()
    if policy.stored_policy is None or not policy.stored_policy.overrules("threshold"):
        policy.thresholds.set(metric, warn, critical, clear, hold_ms, action)


def thresholds():
    """Return the thresholds: with metric, warn, critical, clear, hold_ms, action, level, value."""
    return running_policy().thresholds.all()


def on(event, function):
    """Call function(event) when it happens: "lease", "threshold" …, None for any.

    An event is (number, kind, uptime_s, ms, subject, detail, value), see docs/board.md. ValueError
    for one that never happens.
    """
    _check_callback(function)
    if event is not None and event not in _EVENTS.split():
        raise ValueError("no such event")
    running_policy().events.on(event, function)


def on_trim(function):
    """Call function(level) when memory is short, 1 for warn, 2 for critical; it returns bytes."""
    _check_callback(function)
    running_policy().pressure.on_trim(function)


def spawn(coro, name=None, priority=_NORMAL, lease=None):
    """Return a new task of asyncio that runs the coroutine, with each of its steps timed.

    LOW ones are cancelled while something that is protected is critical. lease: of CPU_TIME, that
    it must stay within. `Denied` when there are 16 tasks and threads that are named.
    """
    return running_policy().load_meters().spawn(coro, name, priority, lease)


def thread(function, args=(), name=None):
    """Start function(*args) in a thread that hosts see by its name; `Denied` beyond 16 of those.

    NotImplementedError where the port has none.
    """
    _check_callback(function)
    return running_policy().load_meters().thread(function, args, name)
