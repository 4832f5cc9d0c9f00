"""A socket whose bytes are counted; loaded when an application has one counted."""

import io

from micropython import const

_POLL = const(3)  # py/stream.h: MP_STREAM_POLL
_CLOSE = const(4)  # MP_STREAM_CLOSE
_SENT = const(2)
_RECEIVED = const(3)
_MOST = const(0x3FFFFFFF)  # they count modulo 2**30


class Counted(io.IOBase):
    """A socket whose bytes are counted; `select.poll` and asyncio take it as the socket."""

    def __init__(self, sock, words):
        import select

        self._sock = sock
        self._words = words  # of Network
        self._poller = select.poll()

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def _received(self, count):
        words = self._words
        words[_RECEIVED] = words[_RECEIVED] + count & _MOST

    def _got(self, data):
        if data:
            self._received(len(data))
        return data

    def _put(self, count):
        if count:
            words = self._words
            words[_SENT] = words[_SENT] + count & _MOST
        return count

    def read(self, *args):
        """As the socket's own; so are all that follow."""
        return self._got(self._sock.read(*args))

    def readline(self, *args):
        return self._got(self._sock.readline(*args))

    def recv(self, *args):
        return self._got(self._sock.recv(*args))

    def recvfrom(self, *args):
        data = self._sock.recvfrom(*args)
        self._got(data[0])
        return data

    def readinto(self, *args):
        count = self._sock.readinto(*args)
        if count:
            self._received(count)
        return count

    def write(self, *args):
        return self._put(self._sock.write(*args))

    def send(self, *args):
        return self._put(self._sock.send(*args))

    def sendto(self, *args):
        return self._put(self._sock.sendto(*args))

    def sendall(self, data):
        self._sock.sendall(data)
        self._put(len(data))

    def accept(self):
        sock, address = self._sock.accept()
        return Counted(sock, self._words), address

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
