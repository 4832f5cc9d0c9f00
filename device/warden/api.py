"""The public functions, over the one agent of this board.

Each looks whether something is overdue, because nobody runs the agent any more, and runs it.
"""

from micropython import const

from warden.agent import Agent
from warden.board import detect
from warden.runner import Runner
from warden.sensors.threads import import_lock

MEMORY, STORAGE, CPU_TIME, NETWORK_BANDWIDTH = range(4)
LOW, NORMAL, HIGH, CRITICAL = range(4)
TELL, PROTECT, RESET = range(3)  # what a threshold does
LEARNED = -1  # as an operation's memory: what operations of that name needed at most so far

_DEFAULT_TTL_MS = const(60_000)
_ACTIVE = const(1)

_runner = None
_spare_status = None  # made at start, for when there is no memory for another


def start(
    interval_ms=1000,
    budget_permille=10,
    max_operations=4,
    operation_timeout_ms=300_000,
    memory_reserve_permille=100,
    overrun_ms=5000,
    link=None,
    protect=True,
):
    """Start the agent; where there is one, have it run again if nobody runs it any more.

    interval_ms: between samples, 20 to 600 000; budget_permille: of the core, for the agent, which
    samples more seldom where it would need more. max_operations: at once, 1 to 8;
    operation_timeout_ms: of one that names none; memory_reserve_permille: of the heap and of each
    mount that is never granted, 0 to 900; overrun_ms: how long a metered task may take more than
    its lease before it is cancelled, 0 for never. link: None for stdin and stdout (UART1 on
    mps2-an385), False for no link, or a link: `TcpServer`, `TcpClient`, or any stream that
    `select.poll` knows, such as a `machine.UART`. protect: True loads and arms all that decides,
    now; False watches only, and takes less memory: then `allocate` and the like raise RuntimeError.

    Import `asyncio` first if the application uses it; then the agent runs as a task. Otherwise a
    `machine.Timer` runs it where the port has one; where not, call `poll()` in the application's
    loop. A policy that a host had the board store is in force instead of what is given here.
    """
    global _runner, _spare_status
    if _runner is None:
        board = detect()
        limits = None
        if protect:
            limits = (
                max_operations,
                operation_timeout_ms,
                memory_reserve_permille,
                overrun_ms,
            )
        agent = Agent(board, interval_ms, budget_permille, _link_from(link, board), limits)
        _spare_status = _fill_status(agent, {}, True)
        if protect and board.has_stored_policy():
            _stored_policy(agent).load()
        _runner = Runner(agent)
    _runner.start()


def stop():
    """Stop the agent and close its link; harmless when it does not run."""
    global _runner
    runner = _runner
    _runner = None
    if runner is not None:
        runner.stop()
        runner.agent.close()


def poll():
    """Do what is due, once; return the milliseconds until there is more."""
    return _running().agent.poll()


def status():
    """Return the newest figures as a dict; its shape is docs/board.md's.

    age_ms: how old they are; running: whether something has run the agent in time until this call.
    With no memory for a new dict it is one that was made before, filled anew.
    """
    runner = _running()
    in_time = not runner.revive()
    try:
        return _fill_status(runner.agent, {}, in_time)
    except MemoryError:
        return _fill_status(runner.agent, _spare_status, in_time)


_STATUS_FIELDS = {
    "memory": ("total_bytes", "live_bytes", "largest_free_block_bytes"),
    "cpu": ("loop_lag_ms", "loop_lag_worst_ms", "uptime_s"),
    "network": ("rssi_dbm", "sent_bytes", "received_bytes"),
    "overhead": ("budget_permille", "dropped_frames"),
}


def _fill_status(agent, filled, running):
    """Put the newest figures into a dict; what is there already is used again."""
    sample = agent.sample
    for group in _STATUS_FIELDS:
        figures = filled.get(group)
        if figures is None:
            filled[group] = figures = {}
        for name in _STATUS_FIELDS[group]:
            figures[name] = getattr(sample, name)
    memory = filled["memory"]
    used = sample.total_bytes - sample.free_bytes
    memory["used_bytes"] = used
    memory["available_bytes"] = sample.free_bytes
    memory["usage_permille"] = used // (sample.total_bytes // 1000)
    cpu = filled["cpu"]
    cpu["usage_permille"] = sample.cpu_permille
    cpu["active_threads"] = sample.threads
    cpu["active_tasks"] = sample.tasks
    connected = sample.connected
    filled["network"]["connected"] = None if connected is None else connected == 1
    overhead = filled["overhead"]
    overhead["cpu_permille"] = sample.overhead_permille
    overhead["bytes_per_s"] = sample.link_bytes_per_s
    mounts = filled.get("storage")
    if mounts is None:
        filled["storage"] = mounts = []
    _fill_mounts(agent.storage.rows, mounts)
    if "board" not in filled:
        machine, firmware, port, unique_id, reset_cause, version = agent.identity
        filled["board"] = {
            "machine": machine,
            "firmware": firmware,
            "port": port,
            "unique_id": unique_id,
            "boot_id": agent.boot_id,
            "reset_cause": reset_cause,
            "agent": version,
        }
    filled["interval_ms"] = agent.governor.interval_ms
    filled["wanted_interval_ms"] = agent.governor.wanted_ms
    filled["faults"] = agent.faults
    agent.clock.advance()
    filled["age_ms"] = -agent.clock.left_ms(sample.uptime_s, sample.uptime_ms)
    filled["running"] = running
    return filled


def _fill_mounts(rows, mounts):
    for place, row in enumerate(rows):
        if place == len(mounts):
            mounts.append({})
        name, block, blocks, free, available = row
        mount = mounts[place]
        mount["mount"] = name
        mount["total_bytes"] = block * blocks
        mount["used_bytes"] = block * (blocks - free)
        mount["available_bytes"] = block * available
        mount["usage_permille"] = (blocks - free) * 1000 // blocks
    while len(mounts) > len(rows):
        mounts.pop()


def trends(period_ms):
    """Return the trends of the last period_ms, see `warden.trends.trends`."""
    with import_lock:
        from warden.trends import trends
    return trends(_agent(), period_ms)


def start_monitoring(interval_ms, budget_permille=None):
    """Sample every interval_ms (20 to 600 000) from now on, as far as the budget allows."""
    _agent().start_monitoring(interval_ms, budget_permille)


def stop_monitoring():
    """Take no more samples until `start_monitoring`; the link goes on."""
    _agent().stop_monitoring()


# --- what is granted ------------------------------------------------------------------------------


def allocate(
    kind,
    amount,
    owner="",
    priority=1,
    ttl_ms=60_000,
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
    policy = _policy()
    lease = policy.leases.allocate(
        kind, amount, owner, priority, ttl_ms, session, backed, mount, on_preempt
    )
    return lease if policy.lease_handle is None else policy.lease_handle(lease)


def allocations():
    """Return the leases that have not ended, oldest first."""
    leases = _policy().leases
    leases.clock.advance()
    leases.run_due()
    return leases.all()


def operation(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return an operation that begins with `with` or `async with`, and ends with it.

    timeout_ms: None for the board's; memory: bytes, None, or LEARNED: what this name needed at most
    so far; wait_ms: for a place. Entering raises `Denied`. Inside a task of asyncio use
    `async with`: a plain one cannot wait there.
    """
    return _policy().operations.new(name, priority, timeout_ms, memory, wait_ms, session)


def begin(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return an operation, see `operation()`, that has its place; end it with `complete()`."""
    operations = _policy().operations
    op = operations.new(name, priority, timeout_ms, memory, wait_ms, session)
    operations.begin_here(op)
    return op


def guarded(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return a decorator: each call of a function, plain or async, is then an `operation()`."""
    with import_lock:
        from warden.guard import wrap

    def make_operation():
        return operation(name, priority, timeout_ms, memory, wait_ms, session)

    def decorate(function):
        return wrap(function, make_operation)

    return decorate


def can_execute(priority=1):
    """Tell whether an operation of this priority would get a place, now or by preemption."""
    return _policy().operations.can_execute(priority)


def operations():
    """Return the operations that have not ended, oldest first."""
    return _policy().operations.all()


def session(name, memory=None, storage=None, operations=None, ttl_ms=None):
    """Open a session with quotas: memory, storage (bytes), operations; or raise `Denied`.

    ttl_ms: it ends when it was not used for so long, None: never by itself.
    """
    return _policy().sessions.open(name, memory, storage, operations, ttl_ms)


def set_limits(
    max_operations=None,
    operation_timeout_ms=None,
    memory_reserve_permille=None,
    overrun_ms=None,
):
    """Set limits, see `start()`; None: as it is. Changes nothing where a stored policy is in force."""
    policy = _policy()
    if not policy.overrules("limits"):
        policy.set_limits(
            max_operations, operation_timeout_ms, memory_reserve_permille, overrun_ms
        )


# --- what is watched ------------------------------------------------------------------------------


def threshold(metric, warn=None, critical=None, clear=None, hold_ms=0, action=0):
    """Watch a metric, instead of how it was watched before; without levels, no more.

    metric: a name of `warden.policy.metrics.METRICS`; warn, critical: its levels; clear: where it
    is well again; hold_ms: how long a level must have been reached; action: TELL, PROTECT or RESET.
    Changes nothing where a stored policy is in force.
    """
    policy = _policy()
    if not policy.overrules("threshold"):
        policy.thresholds.set(metric, warn, critical, clear, hold_ms, action)


def thresholds():
    """Return what is watched: each with metric, warn, critical, clear, hold_ms, action, level."""
    return _policy().thresholds.all()


def on(event, function):
    """Call function(event) when it happens: "lease", "threshold" …, None for any.

    An event is (number, kind, uptime_s, ms, subject, detail, value), see docs/board.md.
    """
    _policy().events.on(event, function)


def on_trim(function):
    """Call function(level) when memory is short, 1 for warn, 2 for critical; it returns bytes."""
    _policy().pressure.on_trim(function)


def spawn(coro, name=None, priority=1, lease=None):
    """Return a new task of asyncio that runs the coroutine, with each of its steps timed.

    LOW ones are cancelled while something that is protected is critical. lease: of CPU_TIME, that
    it is held to. `Denied` when there are 16 tasks and threads that are named.
    """
    return _policy().meters.spawn(coro, name, priority, lease)


def thread(function, args=(), name=None):
    """Start function(*args) in a thread that hosts see by its name; `Denied` beyond 16 of those."""
    return _policy().meters.thread(function, args, name)


# --- network --------------------------------------------------------------------------------------


def counted(sock):
    """Return `sock`, wrapped so that its bytes are counted in the status."""
    return _agent().network.count(sock)


def use_wlan(wlan):
    """Have this `network.WLAN` watched; one made after `start()` is found by itself."""
    _agent().network.wlan = wlan


def TcpServer(port, host="0.0.0.0"):
    """Return a link for one host at a time that connects to this port."""
    with import_lock:
        from warden.link.tcp import TcpServer
    return TcpServer(port, host)


def TcpClient(host, port):
    """Return a link that connects to a host which listens."""
    with import_lock:
        from warden.link.tcp import TcpClient
    return TcpClient(host, port)


# --- the one agent --------------------------------------------------------------------------------


def _running():
    if _runner is None:
        raise RuntimeError("warden.start() first")
    return _runner


def _agent():
    """Return the agent, after it has done what is overdue."""
    runner = _running()
    runner.revive()
    return runner.agent


def _policy():
    """Return what decides; RuntimeError where the agent only watches."""
    policy = _agent().policy
    if policy is None:
        raise RuntimeError("warden.start(protect=False) only watches")
    return policy


def _stored_policy(agent):
    with import_lock:
        from warden.stored_policy import stored_policy_of
    return stored_policy_of(agent)


def _link_from(link, board):
    if link is False:
        return None
    if link is None:
        return board.default_link()
    if hasattr(link, "waitable"):
        return link
    from warden.link.stream import StreamLink

    return StreamLink(link)
