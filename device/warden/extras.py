"""Public functions that set something up: loaded for each call, and then let go."""

import os

from micropython import const

from warden.checks import check_int
from warden.running import running_agent
from warden.sensors.threads import import_lock

_NOTE_WRITE = const(2)  # a purpose of `wear`
_MAX_PORT = const(65_535)
_KEYS = const("warden.keys")  # a file in the directory that the board starts in
_MAX_LINES = const(4)  # of it: two generations of two rights


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

    A tuple of one generation or two, newest first; empty where none is stored, or the file cannot
    be read: a link with it lets nobody in.
    """
    if right not in ("observe", "control"):
        raise ValueError(right)
    from binascii import unhexlify  # not every port has it

    found = []
    try:
        with open(_KEYS) as file:
            for _ in range(_MAX_LINES):
                words = file.readline().split()
                if len(words) == 2 and words[0] == right and len(found) < 2:
                    found.append(unhexlify(words[1]))
    except (OSError, ValueError):
        return ()
    return tuple(found)
