"""TCP ports of 127.0.0.1 that stay free until a server that a test starts listens there.

Not those that the system gives to outgoing connections: one could be taken in between.
"""

import itertools
import os
import socket

_FIRST, _LAST = 10_000, 32_000  # below Linux' ip_local_port_range
# Tests run in several processes at once, each of which begins elsewhere and goes on from there.
_ports = itertools.cycle(range(_FIRST, _LAST))
for _ in range(os.getpid() * 97 % (_LAST - _FIRST)):
    next(_ports)


def free_port():
    """Return a port at which nobody listens, another one each time."""
    while True:
        port = next(_ports)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
