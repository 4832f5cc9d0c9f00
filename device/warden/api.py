"""The public functions, over the one agent of this board."""

from micropython import const

from warden.agent import Agent
from warden.hal import detect
from warden.limits import check_limits
from warden.run import Runner

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
        board = detect()
        limits = check_limits(
            max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms
        )
        agent = Agent(board, interval_ms, _link_from(link, board), limits, budget_permille)
        if board.policy_kept():
            from warden.kept import restore

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
    from warden.report import status as told

    return told(_agent_runner().agent)


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


def operation(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return a context manager, plain and asynchronous, in which the operation has its place.

    timeout_ms: None for the board's; memory: bytes, None, or LEARNED: what this name needed at most
    so far; wait_ms: for a place. Entering raises `Denied`. Inside a task of asyncio use
    `async with`: a plain one cannot wait there.
    """
    from warden.guard import Guard

    return Guard(_policy(), (name, priority, timeout_ms, memory, wait_ms, session))


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


def _policy():
    global _made
    if _made is None:
        _made = _agent_runner().agent.decide()
    return _made


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
    from warden.link_stream import StreamLink

    return StreamLink(link)
