"""The link over TCP: the board listens for hosts.

Sockets never wait; a connection that breaks is replaced by the next one. Only the frames of a host
that has subscribed keep it its place: the session says so by `keep_place()`.
"""

import select
import socket
from time import ticks_diff, ticks_ms

from micropython import const

_UNPROVEN_MS = const(1000)  # one that has not subscribed, while another one waits,
_SILENT_MS = const(250)  # or has not said anything: a host does so at once
_BACKLOG = const(4)  # connections that wait
_DELIMITER = const(0xC0)
_OBSERVE = const(1)  # rights of a host, see docs/security.md
_CONTROL = const(2)


def _is_within(since_ms, limit_ms):
    """Tell whether a moment is past by limit_ms at most; ticks wrap after 6 days."""
    return 0 <= ticks_diff(ticks_ms(), since_ms) <= limit_ms


class Line:
    """A connection that a `ServerLink` has accepted. address: of its other end, a text.

    right: what a host may do over it, see docs/security.md.
    """

    window = 0  # a socket tells itself how much it takes
    silent_ms = _SILENT_MS

    def __init__(self, server, connection, address):
        self._poller = server.poller
        self._ipoll = server.poller.ipoll  # a bound method is an object: made once
        self._lines = server.lines
        self._lines.append(self)
        self.right = server.right
        self.address = address
        self.broken = False  # a write found that it has ended: the next read() closes it
        self._seen_ms = ticks_ms()  # when it was made, or its host's last frame came
        self._is_new = True  # nothing has come over it yet
        self.connection = connection  # a socket, until it is closed
        connection.setblocking(False)
        self._poller.register(connection, select.POLLIN)

    def _ready(self):
        for entry in self._ipoll(0):
            if entry[0] is self.connection:
                return True
        return False

    def keep_place(self):
        """Note that a frame of a host that has subscribed came over the connection."""
        self._seen_ms = ticks_ms()

    def read(self, buf):
        """Read what has arrived into buf, or close what has ended; return the count."""
        if self.connection is None:
            return 0
        if not self.broken:
            if not self._ready():
                return 0
            try:
                got = self.connection.readinto(buf)
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
        if self.connection is None or self.broken:
            return 0
        try:
            return self.connection.write(buf, start, end - start) or 0
        except OSError:
            self.broken = True  # closed by the next read(): a task may be waiting on the socket
            return 0

    def drop(self):
        """Close the connection: the host at its other end is gone, or says nothing any more."""
        connection = self.connection
        self.connection = None
        self.broken = False
        if connection is not None:
            self._poller.unregister(connection)
            connection.close()
        if self in self._lines:
            self._lines.remove(self)

    def readable(self):
        """Tell whether something has arrived, or the connection has ended."""
        return self.broken or self._ready()

    def is_fresh(self):
        """Tell whether it was made, or a host's last frame came, less than a second ago.

        A quarter of a second where nothing came over it yet.
        """
        is_silent = self._is_new and not self.readable()
        return _is_within(self._seen_ms, self.silent_ms if is_silent else _UNPROVEN_MS)


class ServerLink:
    """Listens on a port from `open()` on; `accept()` gives a `Line` for each connection.

    control: whether hosts may change anything; without, they only look. session(agent) makes
    what serves them: it decides who may stay, see `warden.hosts`.
    """

    window = 0
    line = Line

    def __init__(self, port, host, control):
        self.right = _CONTROL if control else _OBSERVE
        self.session = None
        self.lines = []
        self.poller = select.poll()
        self._ipoll = self.poller.ipoll
        self._address = (host, port)
        self._listener = None
        self.waitable = None
        self._queue = self._entry = None  # of asyncio, see queue_read
        self._waited = []

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
        self.waitable = self._listener = listener
        self.poller.register(listener, select.POLLIN)

    def readable(self):
        """Tell whether something has arrived, somebody connects, or a connection has ended."""
        for _ in self._ipoll(0):
            return True
        for line in self.lines:
            if line.broken:
                return True
        return False

    def has_caller(self):
        """Tell whether somebody connects."""
        for entry in self._ipoll(0):
            if entry[0] is self._listener:
                return True
        return False

    def accept(self):
        """Return a `Line` for the next one that connects, None if it is gone."""
        try:
            connection, address = self._listener.accept()
        except OSError:
            return None
        if not isinstance(address, tuple):  # the unix port gives it as the system has it
            address = socket.sockaddr(address)
            address = (socket.inet_ntop(address[0], address[1]),)
        try:
            return self.line(self, connection, address[0])
        except OSError:
            pass
        except MemoryError:
            pass
        connection.close()
        return None

    def close(self):
        """Close the connections and stop listening."""
        while self.lines:
            self.lines[-1].drop()
        self.waitable = None
        if self._listener is not None:
            self.poller.unregister(self._listener)
            self._listener.close()
            self._listener = None

    # --- asyncio --------------------------------------------------------------------------------

    def queue_read(self, core):
        """Wait until something has arrived over any of the connections; to be awaited.

        asyncio has an entry for each stream: the task that waits to read, the one that waits to
        write, and the stream (asyncio/core.py, IOQueue). All of these have the same entry: the
        first that has something wakes the task, and takes it out of the entry.
        """
        self._queue = queue = core._io_queue
        self._waited.clear()  # in an event loop before this one, say
        self._entry = [core.cur_task, None, self._listener]
        core.cur_task.data = self  # whose remove() is called when the task is cancelled
        self._waited.append(self._listener)
        for line in self.lines:
            self._waited.append(line.connection)
        for stream in self._waited:
            queue.map[id(stream)] = self._entry
            queue.poller.register(stream, select.POLLIN)
        yield
        self.remove(queue)

    def remove(self, _):
        """Have asyncio wait for none of them any more."""
        queue = self._queue
        for stream in self._waited:
            if queue.map.get(id(stream)) is self._entry:
                queue._dequeue(stream)
        self._waited.clear()
