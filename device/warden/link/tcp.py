"""Links over TCP: the board listens for a host, or connects to one.

One host at a time. Sockets never wait; a connection that breaks is replaced by the next one.
"""

import select
import socket
from errno import EINPROGRESS

from micropython import const

_RETRY_MS = const(5000)
_SILENCE_MS = const(3000)  # as in session: a host that lives says so every second
_GIVEN_UP_MS = const(30_000)


class _Tcp:
    window = 0  # a socket tells itself how much it takes

    def __init__(self):
        from time import ticks_diff, ticks_ms

        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._connection = None
        self._received_ms = 0  # when something came over it last
        self._poller = select.poll()
        self._ipoll = self._poller.ipoll  # a bound method is an object: made once
        self.waitable = None
        self._broken = False

    def readable(self):
        """Tell whether something has arrived, a host connects, or the connection has ended."""
        for _ in self._ipoll(0):
            return True
        return self._broken

    def _ready(self, sock):
        for entry in self._ipoll(0):
            if entry[0] is sock:
                return True
        return False

    def _silent_ms(self):
        return self._ticks_diff(self._ticks_ms(), self._received_ms)

    def _receive(self, buf):
        if not self._broken:
            if not self._ready(self._connection):
                return 0
            try:
                got = self._connection.readinto(buf)
                if got is None:  # nothing after all
                    return 0
            except OSError:
                got = 0
            if got:
                self._received_ms = self._ticks_ms()
                return got
        self.drop()
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

    def _adopt(self, connection, events):
        """Make a new connection the current one."""
        self._received_ms = self._ticks_ms()
        self._connection = connection
        connection.setblocking(False)
        self._poller.register(connection, events)
        self.waitable = connection

    def drop(self):
        """Close the connection: the host at its other end is gone, or says nothing any more."""
        connection = self._connection
        self._connection = None
        self._broken = False
        self._idle()
        if connection is not None:
            self._poller.unregister(connection)
            connection.close()


class ServerLink(_Tcp):
    """Listens on a port for one host at a time.

    A second one is turned away, its connection closed at once; unless the first has said nothing
    for three seconds: one that lost its power or its network never says that it is gone.
    """

    def __init__(self, port, host="0.0.0.0"):
        super().__init__()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(socket.getaddrinfo(host, port)[0][-1])
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._poller.register(self._listener, select.POLLIN)
        self._idle()

    def _idle(self):
        self.waitable = self._listener

    def read(self, buf):
        """Read what has arrived into buf, or let a host in; return the count."""
        count = self._receive(buf) if self._connection is not None else 0
        if not count and self._ready(self._listener):  # not before the end of the last was seen
            self._let_in()
        return count

    def _let_in(self):
        try:
            connection = self._listener.accept()[0]
        except OSError:
            return
        if self._connection is not None:
            if 0 <= self._silent_ms() <= _SILENCE_MS:  # it wraps after 6 days
                connection.close()
                return
            self.drop()
        self._adopt(connection, select.POLLIN)

    def close(self):
        """Close the connection and stop listening."""
        self.drop()
        self.waitable = None
        self._poller.unregister(self._listener)
        self._listener.close()


class ClientLink(_Tcp):
    """Connects to a host that listens; tries again every five seconds, or whenever the agent polls.

    A connection over which nothing has come for half a minute is given up: see ServerLink. The name
    is looked up once, here, for that may wait: make it when the network is up.
    """

    def __init__(self, host, port):
        super().__init__()
        self._address = socket.getaddrinfo(host, port)[0][-1]
        self._tried_ms = None
        self._connected = False

    def _idle(self):
        self.waitable = None
        self._connected = False

    def read(self, buf):
        """Read what has arrived into buf, or make or drop the connection; return the count."""
        if self._connection is None:
            now = self._ticks_ms()
            if self._tried_ms is None or self._ticks_diff(now, self._tried_ms) >= _RETRY_MS:
                self._tried_ms = now
                self._connect()
            return 0
        if self._silent_ms() > _GIVEN_UP_MS:
            self.drop()
            return 0
        if not self._connected:
            if self._ready(self._connection):
                self._poller.modify(self._connection, select.POLLIN)
                self._connected = True
            return 0
        return self._receive(buf)

    def write(self, buf, start, end):
        """Write as far as it goes without waiting; nothing until connected."""
        return super().write(buf, start, end) if self._connected else 0

    def _connect(self):
        connection = socket.socket()
        connection.setblocking(False)
        try:
            connection.connect(self._address)
        except OSError as error:
            if error.errno != EINPROGRESS:
                connection.close()
                return
        self._adopt(connection, select.POLLOUT)

    def close(self):
        """Close the connection."""
        self.drop()
