"""A socket whose bytes are counted; loaded when an application has one counted."""

import io
import select

from micropython import const

from warden.running import running_agent

_POLL = const(3)  # py/stream.h: MP_STREAM_POLL
_CLOSE = const(4)  # MP_STREAM_CLOSE
_BYTES_MASK = const(0x3FFFFFFF)  # bytes count modulo 2**30


def counted(sock):
    """Return `sock`, wrapped so that its bytes are counted in the status."""
    if not hasattr(sock, "close"):
        raise TypeError("not a socket")
    return CountedSocket(sock, running_agent().network)


class CountedSocket(io.IOBase):
    """Works as the socket it wraps, for `select.poll` and asyncio, too.

    network: its `sent` and `received` count the bytes.
    """

    def __init__(self, sock, network):
        self.sock = sock
        self.network = network
        self.poller = select.poll()
        if network.sent is None:
            network.sent = network.received = 0
            network.deadline_s = 0  # the next sample says that they are known

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def count_received(self, count):
        """Count bytes, None where there were none yet; return their number as it is."""
        network = self.network
        network.received = network.received + (count or 0) & _BYTES_MASK
        return count

    def count_sent(self, count):
        """Count bytes, as count_received()."""
        network = self.network
        network.sent = network.sent + (count or 0) & _BYTES_MASK
        return count

    def count_data(self, data):
        """Count the bytes that were received, None where there were none yet; return them."""
        self.count_received(len(data or b""))
        return data

    def read(self, *args):
        """As the socket's own; so are all that follow."""
        return self.count_data(self.sock.read(*args))

    def readline(self, *args):
        return self.count_data(self.sock.readline(*args))

    def recv(self, *args):
        return self.count_data(self.sock.recv(*args))

    def recvfrom(self, *args):
        data, address = self.sock.recvfrom(*args)
        return self.count_data(data), address

    def readinto(self, *args):
        return self.count_received(self.sock.readinto(*args))

    def write(self, *args):
        return self.count_sent(self.sock.write(*args))

    def send(self, *args):
        return self.count_sent(self.sock.send(*args))

    def sendto(self, *args):
        return self.count_sent(self.sock.sendto(*args))

    def sendall(self, data):
        view = memoryview(data.encode() if isinstance(data, str) else data)
        self.sock.sendall(data)
        self.count_sent(len(view) * len(bytes(view[:1])))  # items of an array may be several bytes

    def makefile(self, *args):
        """Return this socket, as MicroPython's own does: it is a file already."""
        return self

    def accept(self):
        sock, address = self.sock.accept()
        return CountedSocket(sock, self.network), address

    def ioctl(self, request, arg):
        """Answer MicroPython's stream protocol, which poll speaks (py/stream.h)."""
        if request == _POLL:
            self.poller.register(self.sock, arg)
            for entry in self.poller.ipoll(0):
                return entry[1]
        elif request == _CLOSE:
            self.sock.close()
        else:
            return -1
        return 0
