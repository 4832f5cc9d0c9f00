"""Watches the network: the WLAN that the application made, and the bytes of counted sockets.

No interface is made here: `network.WLAN()` starts a radio and takes memory. The one that the
application makes is seen by standing in for the module (`wlan`), or given with `warden.use_wlan()`.
"""

from micropython import const

_WLAN_PERIOD_S = const(10)  # some ports ask the radio for its state


class Network:
    """`connected` is 1 or 0, `rssi_dbm` the signal's strength; `wlan` is what they are read of.

    sent, received: bytes of sockets that are counted, modulo 2**30. None is what nobody can tell.
    available: whether the firmware has WLAN; early: the application may have made one unseen. Made
    by `warden.setup.watch_network`, which lists what else it has.
    """

    def read(self, sample):
        """Put the figures into the sample; return whether a capability may have changed."""
        sample.sent_bytes = self.sent
        sample.received_bytes = self.received
        if sample.uptime_s < self.deadline_s:
            return False
        self.deadline_s = sample.uptime_s + _WLAN_PERIOD_S
        if self.wlan is not None:
            self.connected = self.rssi_dbm = None
            try:
                self.connected = 1 if self.wlan.isconnected() else 0
                if self.connected:
                    self.rssi_dbm = int(self.wlan.status("rssi"))
            except Exception:  # not a station, or the port does not tell
                pass
        sample.connected = self.connected
        sample.rssi_dbm = self.rssi_dbm
        return True
