"""The public functions that an application calls seldom or never: `warden` has them when asked.

In the heap a function that is there takes some forty bytes, used or not.
"""

from warden.api import _agent_runner, _policy

TELL, PROTECT, RESET = range(3)  # what a threshold does


def trends(period_ms):
    """Return the trends of the last period_ms, see `warden.report.trends`."""
    from warden.report import trends as told

    return told(_agent_runner().agent, period_ms)


def start_monitoring(interval_ms, budget_permille=None):
    """Sample every interval_ms (20 to 600 000) from now on, as far as the budget allows."""
    _agent_runner().agent.start_monitoring(interval_ms, budget_permille)


def cost():
    """Take a sample; return a dict of what each part of it cost, in µs."""
    from warden.costs import PARTS, cost

    return dict(zip(PARTS, cost(_agent_runner().agent)))


def stop_monitoring():
    """Take no more samples until `start_monitoring`; the link goes on."""
    _agent_runner().agent.stop_monitoring()


def counted(sock):
    """Return `sock`, wrapped so that its bytes are counted in the status."""
    return _agent_runner().agent.network.count(sock)


def use_wlan(wlan):
    """Have this `network.WLAN` watched; one made after `start()` is found by itself."""
    _agent_runner().agent.network.wlan = wlan


def allocations():
    """Return the leases that have not ended, oldest first."""
    return _policy().ledger.active()


def guarded(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return a decorator: each call of a function, plain or async, is then an `operation()`."""
    from warden.guard import guarded

    return guarded(_policy, (name, priority, timeout_ms, memory, wait_ms, session))


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


def _overruled(policy, what):
    return policy.kept is not None and policy.kept.overrules(what)
