"""Watches the network: the WLAN that the application made, and the bytes of counted sockets.

No interface is made here: `network.WLAN()` starts a radio and takes memory. The one that the
application makes is seen by standing in for the module, or given with `warden.use_wlan()`.
"""

import sys

from micropython import const

from warden.sensors.threads import StandIn

_WLAN_PERIOD_S = const(10)  # some ports ask the radio for its state


def install_network():
    """Return the one watcher of this board's network, standing in for `network` from now on."""
    return getattr(sys.modules.get("network"), "warden_owner", None) or Network()


class StandInWlan(StandIn):
    """Stands for `network.WLAN`, with its constants; shows what it makes to the agent."""

    def __call__(self, *args):
        made = self._module(*args)
        if not args or args[0] == self.warden_owner.station:
            self.warden_owner.wlan = made
        return made


class Network:
    """`connected` is 1 or 0, `rssi_dbm` the signal's strength; `wlan` is what they are read of.

    sent, received: bytes of sockets that are counted, modulo 2**30. None is what nobody can tell.
    available: whether the firmware has WLAN; early: the application may have made one unseen.
    """

    def __init__(self):
        self.available = False
        self.early = "network" in sys.modules
        self.wlan = None
        self.connected = self.rssi_dbm = None
        self.sent = self.received = None
        self.station = 0  # what WLAN() is given for one that connects
        self._due_s = 0
        try:
            import network
        except ImportError:
            return
        if hasattr(network, "WLAN"):
            self.available = True
            self.station = getattr(network, "STA_IF", 0)
            stand_in = StandIn(network, self)
            stand_in.WLAN = StandInWlan(network.WLAN, self)
            sys.modules["network"] = stand_in

    def read(self, sample):
        """Put the figures into the sample; return whether others may be known now."""
        sample.sent_bytes = self.sent
        sample.received_bytes = self.received
        if sample.uptime_s < self._due_s:
            return False
        self._due_s = sample.uptime_s + _WLAN_PERIOD_S
        if self.wlan is not None:
            self.connected = self.rssi_dbm = None
            self._read_wlan(self.wlan)
        sample.connected = self.connected
        sample.rssi_dbm = self.rssi_dbm
        return True

    def _read_wlan(self, wlan):
        try:
            self.connected = 1 if wlan.isconnected() else 0
            if self.connected:
                self.rssi_dbm = wlan.status("rssi")
        except Exception:  # not a station, or the port does not tell
            pass

    def start_counting(self):
        """Begin to count bytes: a socket is wrapped that counts them here."""
        if self.sent is None:
            self.received = self.sent = 0
            self._due_s = 0  # the next sample says that they are known
