"""A socket whose bytes are counted; loaded when an application has one counted."""

import io

from micropython import const

_POLL = const(3)  # py/stream.h: MP_STREAM_POLL
_CLOSE = const(4)  # MP_STREAM_CLOSE
_MAX_BYTES = const(0x3FFFFFFF)  # they count modulo 2**30


class CountedSocket(io.IOBase):
    """Works as the socket it wraps, for `select.poll` and asyncio, too.

    network: its `sent` and `received` count the bytes.
    """

    def __init__(self, sock, network):
        import select

        self._sock = sock
        self._network = network
        self._poller = select.poll()

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def _add_received(self, count):
        if count:
            network = self._network
            network.received = network.received + count & _MAX_BYTES

    def _add_sent(self, count):
        if count:
            network = self._network
            network.sent = network.sent + count & _MAX_BYTES
        return count

    def _add_data(self, data):
        if data:
            self._add_received(len(data))
        return data

    def read(self, *args):
        """As the socket's own; so are all that follow."""
        return self._add_data(self._sock.read(*args))

    def readline(self, *args):
        return self._add_data(self._sock.readline(*args))

    def recv(self, *args):
        return self._add_data(self._sock.recv(*args))

    def recvfrom(self, *args):
        data = self._sock.recvfrom(*args)
        self._add_received(len(data[0]))
        return data

    def readinto(self, *args):
        count = self._sock.readinto(*args)
        self._add_received(count)
        return count

    def write(self, *args):
        return self._add_sent(self._sock.write(*args))

    def send(self, *args):
        return self._add_sent(self._sock.send(*args))

    def sendto(self, *args):
        return self._add_sent(self._sock.sendto(*args))

    def sendall(self, data):
        self._sock.sendall(data)
        self._add_sent(len(data))

    def accept(self):
        sock, address = self._sock.accept()
        return CountedSocket(sock, self._network), address

    def ioctl(self, request, arg):
        """Answer MicroPython's stream protocol, which poll speaks (py/stream.h)."""
        if request == _POLL:
            self._poller.register(self._sock, arg)
            for entry in self._poller.ipoll(0):
                return entry[1]
            return 0
        if request == _CLOSE:
            self._sock.close()
            return 0
        return -1
