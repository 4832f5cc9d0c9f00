"""Public functions for setting up, and those seldom used; loaded at the first use of one."""

from warden.runner import Runner
from warden.running import running_agent, running_policy
from warden.sensors.threads import import_lock

_PUBLIC = ("TcpClient", "TcpServer", "counted", "guarded", "trends", "use_wlan")


def find_public(name):
    """Return what has this public name here, None if nothing has.

    While an agent only watches: RuntimeError for what decides, AttributeError for other names.
    """
    if name in _PUBLIC:
        return globals()[name]
    names = ("exceptions", "resets")
    if name in names:
        with import_lock:
            from warden.crash_report import exceptions, resets
        return exceptions if name == "exceptions" else resets
    names = ("run", "safe_mode")
    if name in names:
        with import_lock:
            from warden.crashes import run, safe_mode
        return run if name == "run" else safe_mode
    names = ("file_budget",)
    if name in names:
        with import_lock:
            from warden.budgets import file_budget
        return file_budget
    if Runner.current is None or Runner.current.agent.policy is not None:
        return None
    deciding = (  # as `warden.policy.decisions` has it, which is not loaded: a test compares them
        "Denied Stopped Preempted TimedOut MEMORY STORAGE CPU_TIME NETWORK_BANDWIDTH "
        "LOW NORMAL HIGH CRITICAL LEARNED TELL PROTECT RESET "
        "allocate allocations begin can_execute on on_trim operation operations session set_limits "
        "spawn thread threshold thresholds"
    )
    if name in deciding.split():
        running_policy()
    raise AttributeError(name)


def trends(period_ms):
    """Return the trends of the last period_ms, see `warden.trend_report.report_trends`."""
    with import_lock:
        from warden.trend_report import report_trends
    return report_trends(running_agent(), period_ms)


def guarded(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return a decorator: each call of a function, plain or async, is then an `operation()`."""
    with import_lock:
        from warden.guard import wrap

    def make_operation():
        new = running_policy().operations.new
        return new(name, priority, timeout_ms, memory, wait_ms, session)

    def decorate(function):
        return wrap(function, make_operation)

    return decorate


def counted(sock):
    """Return `sock`, wrapped so that its bytes are counted in the status."""
    with import_lock:
        from warden.counted_socket import CountedSocket
    return CountedSocket(sock, running_agent().network)


def use_wlan(wlan):
    """Have this `network.WLAN` watched; one made after `start()` is found by itself."""
    running_agent().network.wlan = wlan


def TcpServer(port, host="0.0.0.0"):
    """Return a link for one host at a time that connects to this port."""
    with import_lock:
        from warden.link.tcp import ServerLink
    return ServerLink(port, host)


def TcpClient(host, port):
    """Return a link that connects to a host which listens."""
    with import_lock:
        from warden.link.tcp import ClientLink
    return ClientLink(host, port)
