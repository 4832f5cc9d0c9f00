"""TCP ports of 127.0.0.1 that stay free until a server that a test starts listens there.

Not those that the system gives to outgoing connections: one could be taken in between. Nor those of
another of pytest-xdist's workers, which may choose one and listen there much later.
"""

import itertools
import os
import socket

_FIRST = 10_000
_COUNT = 1000  # of a worker; with 22 workers they end below Linux' ip_local_port_range
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 22
_numbers = itertools.count(os.getpid())  # so that two runs at once seldom choose the same


def free_port():
    """Return a port at which nobody listens, another one each time."""
    while True:
        port = _FIRST + _worker * _COUNT + next(_numbers) % _COUNT
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
