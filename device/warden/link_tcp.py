"""Links over TCP: the board listens for a host, or connects to one.

One host at a time. Sockets never wait; a connection that breaks is replaced by the next one.
"""

import select
import socket
from errno import EINPROGRESS

_RETRY_MS = 5000


class _Tcp:
    window = 0  # a socket tells itself how much it takes

    def __init__(self):
        self._connection = None
        self._poller = select.poll()
        self.waitable = None
        self._broken = False

    def _ready(self):
        for _ in self._poller.ipoll(0):
            return True
        return False

    def _watch(self, sock, events=select.POLLIN):
        """Poll this socket from now on, and no other."""
        if self.waitable is not None:
            self._poller.unregister(self.waitable)
        self.waitable = sock
        if sock is not None:
            self._poller.register(sock, events)

    def _receive(self, buf):
        if not self._broken:
            if not self._ready():
                return 0
            try:
                got = self._connection.readinto(buf)
                if got is None:  # nothing after all
                    return 0
            except OSError:
                got = 0
            if got:
                return got
        self._drop()
        return 0

    def write(self, buf, start, end):
        """Write buf[start:end] as far as it goes without waiting; return the count."""
        if self._connection is None or self._broken:
            return 0
        try:
            return self._connection.write(buf, start, end - start) or 0
        except OSError:
            self._broken = True  # closed by the next read(): a task may be waiting on the socket
            return 0

    def _drop(self):
        connection = self._connection
        self._connection = None
        self._broken = False
        self._idle()
        if connection is not None:
            connection.close()


class TcpServer(_Tcp):
    """Listens on a port; a second host is turned away while the first is connected."""

    def __init__(self, port, host="0.0.0.0"):
        super().__init__()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(socket.getaddrinfo(host, port)[0][-1])
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._idle()

    def _idle(self):
        self._watch(self._listener)

    def read(self, buf):
        """Read what has arrived into buf, or let a host in; return the count."""
        if self._connection is not None:
            return self._receive(buf)
        if self._ready():
            try:
                self._connection = self._listener.accept()[0]
            except OSError:
                return 0
            self._connection.setblocking(False)
            self._watch(self._connection)
        return 0

    def close(self):
        """Close the connection and stop listening."""
        self._drop()
        self._watch(None)
        self._listener.close()


class TcpClient(_Tcp):
    """Connects to a host that listens; tries again every five seconds.

    The name is looked up once, here, for that may wait: make it when the network is up.
    """

    def __init__(self, host, port):
        super().__init__()
        import time

        self._ticks_ms = time.ticks_ms
        self._ticks_diff = time.ticks_diff
        self._address = socket.getaddrinfo(host, port)[0][-1]
        self._tried_ms = None
        self._connected = False

    def _idle(self):
        self._watch(None)
        self._connected = False

    def read(self, buf):
        """Read what has arrived into buf, or see to the connection; return the count."""
        if self._connection is None:
            now = self._ticks_ms()
            if self._tried_ms is None or self._ticks_diff(now, self._tried_ms) >= _RETRY_MS:
                self._tried_ms = now
                self._connect()
            return 0
        if not self._connected:
            if self._ready():
                self._watch(self._connection)
                self._connected = True
            return 0
        return self._receive(buf)

    def write(self, buf, start, end):
        """Write as far as it goes without waiting; nothing until connected."""
        return super().write(buf, start, end) if self._connected else 0

    def _connect(self):
        self._connection = socket.socket()
        self._connection.setblocking(False)
        try:
            self._connection.connect(self._address)
        except OSError as error:
            if error.errno != EINPROGRESS:
                self._drop()
                return
        self._watch(self._connection, select.POLLOUT)

    def close(self):
        """Close the connection."""
        self._drop()
