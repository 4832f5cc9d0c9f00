"""Public functions that are seldom used; loaded at the first use of one."""

import os

from micropython import const

from warden.checks import check_int
from warden.runner import Runner
from warden.running import running_agent, running_policy
from warden.sensors.threads import import_lock
from warden.sleep import Sleeping

_NOTE_WRITE = const(2)  # a purpose of `wear`
_LEARNED = const(-1)  # as memory
_MAX_PORT = const(65_535)


def trends(period_ms):
    """Return the trends of the last period_ms, see `warden.trend_report.report_trends`."""
    check_int("period_ms", period_ms, 1, None)
    with import_lock:
        from warden.trend_report import report_trends
    return report_trends(running_agent(), period_ms)


def scan_storage():
    """Measure storage now, however long that takes; return what `status()["storage"]` then is."""
    agent = running_agent()
    is_slow = agent.storage.scan()
    with import_lock:
        note_slow(agent, is_slow)
    return agent.storage.mounts


def note_slow(agent, is_slow):
    """Note for the next start whether measuring storage takes long. The caller has import_lock."""
    path = agent.board.path + ".slow"
    try:
        os.stat(path)
        was_slow = True
    except (AttributeError, OSError):
        was_slow = False
    if is_slow == was_slow:
        return
    try:
        from warden.wear import wear

        wear.join(agent.storage)
        if wear.spend(_NOTE_WRITE, agent.clock.s):
            if is_slow:
                open(path, "w").close()
            else:
                os.remove(path)
    except (AttributeError, OSError):  # there are no files, or they cannot be written
        pass


def guarded(name, priority=1, timeout_ms=None, memory=None, wait_ms=0, session=None):
    """Return a decorator: each call of a function, plain or async, is then an `operation()`."""
    with import_lock:
        from warden.guard import check, wrap

        check(name, priority, timeout_ms, memory, wait_ms, session)
        if memory == _LEARNED:  # not at the first call
            from warden.policy.memory_profile import MemoryProfile  # noqa: F401
    runner = Runner.current
    if memory == _LEARNED and runner is not None and runner.agent.policy is not None:
        runner.agent.policy.load_profile()

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
    if not hasattr(sock, "close"):
        raise TypeError("not a socket")
    return CountedSocket(sock, running_agent().network)


def sleeping():
    """Return a context manager for `machine.lightsleep()`, or whatever blocks for long.

    Such a time is no load and no lag, and a host shows the board as asleep instead of lost.
    """
    return Sleeping()


def use_wlan(wlan):
    """Have this `network.WLAN` watched; one made after `start()` is found by itself."""
    if not (wlan is None or hasattr(wlan, "isconnected")):
        raise TypeError("not a network.WLAN")
    running_agent().network.wlan = wlan


def TcpServer(
    port,
    host="0.0.0.0",
    control=False,
    key=None,
    control_key=None,
    open=False,
    ssl_context=None,
):
    """Return a link for hosts that connect to this port, three at once.

    key, control_key: of 32 bytes, or what `stored_key` returns; a host that proves one looks, and
    one that proves the other changes what it likes. open=True: who proves none sees figures only.
    Without all three, whoever reaches the port looks, and changes nothing; control=True, for a
    network of which all is trusted, lets it. ssl_context: an `ssl.SSLContext` of the application's,
    with the board's certificate: connections are inside TLS.
    """
    if not isinstance(host, str):
        raise TypeError("host must be a str")
    check_int("port", port, 0, _MAX_PORT)
    if ssl_context is not None and not hasattr(ssl_context, "wrap_socket"):
        raise TypeError("not an ssl.SSLContext")
    is_keyed = key is not None or control_key is not None or open
    if control and is_keyed:
        raise ValueError("control=True is without keys")
    with import_lock:
        from warden.link.tcp import ServerLink

        link = ServerLink(port, host, control)
        if ssl_context is not None:
            from warden.link.tls import TlsLine

            link.line = TlsLine
            link.ssl_context = ssl_context
        if is_keyed:
            from warden.keyed_hosts import KeyedHosts
            from warden.link.keys import Keys

            link.session = KeyedHosts
            link.keys = Keys(key, control_key, open)
        else:
            from warden.hosts import Hosts

            link.session = Hosts
    return link


def stored_key(right):
    """Return the key for "observe" or "control" that `boardwarden key put` stored on this board.

    A tuple of one generation or two; empty where none is stored: a link with it lets nobody in.
    """
    with import_lock:
        from warden.link.stored_keys import stored_key
    return stored_key(right)
