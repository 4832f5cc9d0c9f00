"""Links over TCP: the board listens for a host, or connects to one.

One host at a time. Sockets never wait; a connection that breaks is replaced by the next one. Only
the frames of a host that has subscribed keep it its place: the session says so by `keep_place()`.
"""

import select
import socket
from errno import EINPROGRESS

from micropython import const

_RETRY_MS = const(5000)
_SILENCE_MS = const(3000)  # as in session: a host that lives says so every second
_UNPROVEN_MS = const(1000)  # one that has not subscribed, while another one waits
_GIVEN_UP_MS = const(30_000)
_BACKLOG = const(4)  # connections that wait
_DELIMITER = const(0xC0)
_OBSERVE = const(1)  # rights of a host, see docs/security.md
_CONTROL = const(2)


class _Tcp:
    window = 0  # a socket tells itself how much it takes

    def __init__(self):
        from time import ticks_diff, ticks_ms

        self._ticks_ms = ticks_ms
        self._ticks_diff = ticks_diff
        self._connection = None
        self._seen_ms = 0  # when it was made, or its host's last frame came
        self._is_host = False  # a host has subscribed over it
        self._is_new = False  # nothing has come over it yet
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

    def keep_place(self):
        """Note that a frame of a host that has subscribed came over the connection."""
        self._seen_ms = self._ticks_ms()
        self._is_host = True

    def _is_within(self, since_ms, limit_ms):
        """Tell whether a moment is past by limit_ms at most; ticks wrap after 6 days."""
        return 0 <= self._ticks_diff(self._ticks_ms(), since_ms) <= limit_ms

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
            if got and self._is_welcome(buf):
                return got
        self.drop()
        return 0

    def _is_welcome(self, buf):
        """Tell whether what came may be of a host: its first byte begins a frame."""
        is_new = self._is_new
        self._is_new = False
        return not is_new or buf[0] == _DELIMITER

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
        self._seen_ms = self._ticks_ms()
        self._is_new = True
        self._is_host = False
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
    """Listens on a port for one host at a time, from `open()` on.

    control: whether hosts may change anything; without, they only look. While a host is there, a
    second connection is closed at once. A host loses its place after three seconds without a frame:
    one that lost its power or its network never says that it is gone. A connection that begins with
    something else than a frame is closed, and one that has not subscribed gives way to the next
    after a second.
    """

    right = _OBSERVE  # of its hosts

    def __init__(self, port, host="0.0.0.0", control=False):
        super().__init__()
        if control:
            self.right = _CONTROL
        self._address = (host, port)
        self._listener = None

    def open(self):
        """Listen; OSError where the port is in use. Again it does nothing."""
        if self._listener is not None:
            return
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(socket.getaddrinfo(*self._address)[0][-1])
            listener.listen(_BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._listener = listener
        self._poller.register(listener, select.POLLIN)
        self._idle()

    def _idle(self):
        self.waitable = self._listener

    def read(self, buf):
        """Read what has arrived into buf, or let a host in; return the count."""
        count = self._receive(buf) if self._connection is not None else 0
        # Not before the end of the last was seen.
        if not (count and self._is_host) and self._ready(self._listener):
            self._let_in()
        return count

    def _let_in(self):
        is_taken = self._connection is not None and self._is_within(
            self._seen_ms, _SILENCE_MS if self._is_host else _UNPROVEN_MS
        )
        if is_taken and not self._is_host:
            return  # the next one waits for so long
        try:
            connection = self._listener.accept()[0]
        except OSError:
            return
        if is_taken:
            connection.close()
            return
        self.drop()
        self._adopt(connection, select.POLLIN)

    def close(self):
        """Close the connection and stop listening."""
        self.drop()
        self.waitable = None
        if self._listener is not None:
            self._poller.unregister(self._listener)
            self._listener.close()
            self._listener = None


class ClientLink(_Tcp):
    """Connects to a host that listens; tries again every five seconds, or whenever the agent polls.

    A connection over which no host's frame has come for half a minute is given up: see ServerLink.
    The name is looked up once, here, for that may wait: make it when the network is up.
    """

    def __init__(self, host, port):
        super().__init__()
        self._address = socket.getaddrinfo(host, port)[0][-1]
        self._tried_ms = None
        self._connected = False

    def _idle(self):
        self.waitable = None
        self._connected = False

    def readable(self):
        """Tell whether something has arrived, or the connection is to be made or given up."""
        if self._connection is None:
            return self._may_try()
        return super().readable() or not self._is_within(self._seen_ms, _GIVEN_UP_MS)

    def _may_try(self):
        return self._tried_ms is None or not self._is_within(self._tried_ms, _RETRY_MS)

    def read(self, buf):
        """Read what has arrived into buf, or make or drop the connection; return the count."""
        if self._connection is None:
            if self._may_try():
                self._tried_ms = self._ticks_ms()
                self._connect()
            return 0
        if not self._is_within(self._seen_ms, _GIVEN_UP_MS):
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
