"""The network: the WLAN that the application made, and the bytes of the sockets it had counted.

No interface is made here: `network.WLAN()` starts a radio and takes memory. The one that the
application makes is seen by standing in for the module, or given with `warden.use_wlan()`.
"""

import sys


def install():
    """Return the one watcher of this board's network, standing in for `network` from now on."""
    return getattr(sys.modules.get("network"), "warden_owner", None) or Network()


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
        from .stand_in import StandIn

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
        from .counted_socket import Counted

        if self.sent is None:
            self.sent = self.received = 0
        return Counted(sock, self)
