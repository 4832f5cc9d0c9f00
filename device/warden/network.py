"""The network: the WLAN that the application made, and the bytes of the sockets it had counted.

No interface is made here: `network.WLAN()` starts a radio and takes memory. The one that the
application makes is seen by standing in for the module, or given with `warden.use_wlan()`.
"""

import io
import sys

from micropython import const

from .stand_in import StandIn, owner_of

_POLL = const(3)  # py/stream.h: MP_STREAM_POLL
_CLOSE = const(4)  # MP_STREAM_CLOSE


def install():
    """Return the one watcher of this board's network, standing in for `network` from now on."""
    return owner_of("network") or Network()


class Network:
    """`connected`, `rssi_dbm`, `sent`, `received`: None where nobody can tell."""

    def __init__(self):
        self.available = False
        self.early = "network" in sys.modules  # a WLAN may have been made already
        self.wlan = None
        self.connected = None
        self.rssi_dbm = None
        self.sent = None
        self.received = None
        try:
            import network
        except ImportError:
            return
        if hasattr(network, "WLAN"):
            self.available = True
            self._stand_in(network)

    def _stand_in(self, module):
        make = module.WLAN
        station = getattr(module, "STA_IF", 0)

        def found(made):
            self.wlan = made

        class Wlan(StandIn):  # has WLAN's constants too: WLAN.IF_STA, WLAN.PM_NONE …
            def __call__(self, *args):
                made = make(*args)
                if not args or args[0] == station:
                    found(made)
                return made

        sys.modules["network"] = StandIn(module, self, WLAN=Wlan(make, self))

    def read(self):
        """Bring the WLAN's state up to now; some ports ask the radio for it, so not every tick."""
        wlan = self.wlan
        if wlan is None:
            return
        try:
            self.connected = 1 if wlan.isconnected() else 0
            self.rssi_dbm = wlan.status("rssi") if self.connected else None
        except (OSError, ValueError):  # not a station, or the port does not tell
            self.rssi_dbm = None

    def count(self, sock):
        """Return `sock`, wrapped so that its bytes are counted."""
        if self.sent is None:
            self.sent = self.received = 0
        return Counted(sock, self)


class Counted(io.IOBase):
    """A socket whose bytes are counted; `select.poll` and asyncio take it as the socket."""

    def __init__(self, sock, totals):
        import select

        self._sock = sock
        self._totals = totals
        self._poller = select.poll()

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def _got(self, data):
        if data:
            self._totals.received += len(data)
        return data

    def _put(self, count):
        if count:
            self._totals.sent += count
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
            self._totals.received += count
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
        return Counted(sock, self._totals), address

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
