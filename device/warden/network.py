"""The network: the WLAN that the application made, and the bytes of the sockets it had counted.

No interface is made here: `network.WLAN()` starts a radio and takes memory. The one that the
application makes is seen by standing in for the module, or given with `warden.use_wlan()`.
"""

import sys
from array import array

from micropython import const

# Places in `words`.
_CONNECTED = const(0)
_RSSI_DBM = const(1)
_SENT = const(2)
_RECEIVED = const(3)
_UNKNOWN = const(-0x40000000)


def install():
    """Return the one watcher of this board's network, standing in for `network` from now on."""
    return getattr(sys.modules.get("network"), "warden_owner", None) or Network()


class Network:
    """words: array("i") of what a sample tells, _UNKNOWN where nobody can.

    Connected: 1 or 0; the signal's strength in dBm; bytes sent and received by sockets that are
    counted, modulo 2**30.
    """

    def __init__(self):
        self.available = False
        self.early = "network" in sys.modules  # a WLAN may have been made already
        self.wlan = None
        self.words = array("i", [_UNKNOWN] * 4)
        try:
            import network
        except ImportError:
            return
        if hasattr(network, "WLAN"):
            self.available = True
            self._stand_in(network)

    def _stand_in(self, module):
        from warden.stand_in import StandIn

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
            self.words[_CONNECTED] = 1 if wlan.isconnected() else 0
            self.words[_RSSI_DBM] = wlan.status("rssi") if self.words[_CONNECTED] else _UNKNOWN
        except (OSError, ValueError, TypeError):  # not a station, or the port does not tell
            self.words[_RSSI_DBM] = _UNKNOWN

    def count(self, sock):
        """Return `sock`, wrapped so that its bytes are counted."""
        from warden.counted_socket import Counted

        words = self.words
        if words[_SENT] == _UNKNOWN:
            words[_SENT] = words[_RECEIVED] = 0
        return Counted(sock, words)
