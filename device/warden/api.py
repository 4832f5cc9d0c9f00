"""The public functions, over the one agent of this board."""

from micropython import const

from . import hal
from .agent import Agent
from .limits import check_limits
from .run import Runner

_ACTIVE = const(1)

_runner = None
_made = None  # the policy, once it is asked for


def _not_started(_listen=False):
    raise RuntimeError("warden.start() first")


_step = _not_started  # the agent's turn


def start(
    interval_ms=1000,
    budget_permille=10,
    max_operations=4,
    operation_timeout_ms=300_000,
    memory_reserve_permille=100,
    overrun_ms=5000,
    link=None,
):
    """Start the agent, once; a second call changes nothing.

    interval_ms: between samples, 20 to 600 000; budget_permille: of the core, for the agent, which
    samples more seldom where it would need more. max_operations: at once, 1 to 8;
    operation_timeout_ms: of one that names none; memory_reserve_permille: of the heap and of each
    mount that is never granted, 0 to 900; overrun_ms: how long a metered task may take more than
    its lease before it is cancelled, 0 for never. link: None for stdin and stdout (UART1 on
    mps2-an385), False for no link, or a link: `TcpServer`, `TcpClient`, or any stream that
    `select.poll` knows, such as a `machine.UART`. Import `asyncio` first if the application uses
    it; then the agent runs as a task. Otherwise a `machine.Timer` runs it where the port has one;
    where not, call `poll()` in the application's loop.
    A policy that a host had the board keep is in force instead of what is given here.
    """
    global _runner, _step
    if _runner is None:
        board = hal.detect()
        limits = check_limits(
            max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms
        )
        agent = Agent(board, interval_ms, _link_from(link, board), limits, budget_permille)
        if board.policy_kept():
            from .kept import restore

            restore(agent)
        runner = Runner(agent)
        runner.start()
        _runner = runner
        _step = agent.turn


def stop():
    """Stop the agent and close its link; harmless when it does not run."""
    global _runner, _step, _made
    _made = None
    if _runner is not None:
        _runner.stop()
        _runner.agent.close()
        _runner = None
        _step = _not_started


def poll():
    """Do what is due, once; return the milliseconds until there is more."""
    return _step(True)


def status():
    """Return the newest figures as a dict, see `warden.report.status`."""
    from .report import status as told

    return told(_agent_runner().agent)


def trends(period_ms):
    """Return the trends of the last period_ms, see `warden.report.trends`."""
    from .report import trends as told

    return told(_agent_runner().agent, period_ms)


def start_monitoring(interval_ms, budget_permille=None):
    """Sample every interval_ms (20 to 600 000) from now on, as far as the budget allows."""
    _agent_runner().agent.start_monitoring(interval_ms, budget_permille)


def cost():
    """Take a sample; return a dict of what each part of it cost, in µs."""
    return _agent_runner().agent.sampler.costs()


def stop_monitoring():
    """Take no more samples until `start_monitoring`; the link goes on."""
    _agent_runner().agent.stop_monitoring()


def counted(sock):
    """Return `sock`, wrapped so that its bytes are counted in the status."""
    return _agent_runner().agent.network.count(sock)


def use_wlan(wlan):
    """Have this `network.WLAN` watched; one made after `start()` is found by itself."""
    _agent_runner().agent.network.wlan = wlan


def allocate(
    kind,
    amount,
    owner="",
    priority=1,
    ttl_ms=60_000,
    session=None,
    backed=False,
    mount="/",
    on_preempt=None,
):
    """Return a lease, or raise `Denied`.

    kind: MEMORY (bytes), STORAGE (bytes on `mount`), CPU_TIME (permille of a core) or
    NETWORK_BANDWIDTH (bytes a second); ttl_ms: None for no end of its own; see
    `warden.leases.Ledger.allocate`.
    """
    policy = _made or _policy()
    asked = policy.ledger if session is None and not policy.ladder.level else policy
    lease = asked.allocate(
        kind, amount, owner, priority, ttl_ms, session, backed, mount, on_preempt
    )
    return lease if policy.hold is None else policy.hold(lease)


def allocations():
    """Return the leases that have not ended, oldest first."""
    return _policy().ledger.active()


def operation(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return a context manager, plain and asynchronous, in which the operation has its place.

    timeout_ms: None for the board's; memory: bytes, None, or LEARNED: what this name needed at most
    so far; wait_ms: for a place. Entering raises `Denied`. Inside a task of asyncio use
    `async with`: a plain one cannot wait there.
    """
    from .guard import Guard

    return Guard(_policy(), (name, priority, timeout_ms, memory, wait_ms, session))


def guarded(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return a decorator: each call of a function, plain or async, is then an `operation()`."""
    from .guard import guarded

    return guarded(_policy, (name, priority, timeout_ms, memory, wait_ms, session))


def begin(name, **options):
    """Return an operation, see `operation()`, that has its place; end it with `complete()`."""
    policy = _made or _policy()
    if not options and not policy.ladder.level and policy.current_task() is None:
        op = policy.operations.start(name)  # the short way
        if op is not None:
            return op
    op = policy.begin_here(name, **options)
    if op.state != _ACTIVE:
        policy.wait(op)
    return op


def can_execute(priority=1):
    """Tell whether an operation of this priority would get a place, now or by preemption."""
    return _policy().can_execute(priority)


def operations():
    """Return the operations that have not ended, oldest first."""
    return _policy().operations.all()


def session(name, **quotas):
    """Open a session with quotas: memory, storage (bytes), operations, ttl_ms; or `Denied`."""
    return _policy().sessions.open(name, **quotas)


def spawn(coro, name=None, priority=1, lease=None):
    """Return a new task of asyncio that runs the coroutine, with each of its steps timed.

    LOW ones are cancelled while something that is protected is critical. lease: of CPU_TIME, that
    it is held to. `Denied` when there are 16 tasks and threads that are named.
    """
    return _policy().meters.spawn(coro, name, priority, lease)


def thread(function, args=(), name=None):
    """Start function(*args) in a thread that hosts see by its name; `Denied` beyond 16 of those."""
    return _policy().meters.thread(function, args, name)


def threshold(metric, warn=None, critical=None, clear=None, hold_ms=0, action=0):
    """Watch a metric, instead of how it was watched before; without levels, no more.

    metric: a name of `warden.figures.METRICS`; warn, critical: its levels; clear: where it is well
    again; hold_ms: how long a level must have been reached; action: TELL, PROTECT or RESET.
    Changes nothing where a kept policy is in force.
    """
    policy = _policy()
    if not _overruled(policy, "threshold"):
        policy.thresholds.set(metric, warn, critical, clear, hold_ms, action)


def thresholds():
    """Return what is watched: each with metric, warn, critical, clear, hold_ms, action, level."""
    return _policy().thresholds.all()


def on_trim(function):
    """Call function(level) when memory is short, 1 for warn, 2 for critical; it returns bytes."""
    _policy().ladder.on_trim(function)


def set_limits(**limits):
    """Set max_operations, operation_timeout_ms, memory_reserve_permille or overrun_ms.

    Changes nothing where a kept policy is in force.
    """
    policy = _policy()
    if not _overruled(policy, "limits"):
        policy.set_limits(**limits)


def on(event, function):
    """Call function(event) when it happens: "lease", "threshold" …, None for any.

    An event is (number, kind, uptime_s, ms, subject, detail, value), see docs/board.md.
    """
    _policy().events.on(event, function)


def _policy():
    global _made
    if _made is None:
        _made = _agent_runner().agent.decide()
    return _made


def _overruled(policy, what):
    return policy.kept is not None and policy.kept.overrules(what)


def _agent_runner():
    if _runner is None:
        _not_started()
    return _runner


def _link_from(link, board):
    if link is False:
        return None
    if link is None:
        return board.default_link()
    if hasattr(link, "waitable"):
        return link
    from .link_stream import StreamLink

    return StreamLink(link)
