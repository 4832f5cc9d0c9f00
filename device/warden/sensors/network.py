"""Watches the network: the WLAN that the application made, and the bytes of counted sockets.

No interface is made here: `network.WLAN()` starts a radio and takes memory. The one that the
application makes is seen by standing in for the module (`wlan`), or given with `warden.use_wlan()`.
"""

from micropython import const

_WLAN_PERIOD_S = const(10)  # some ports ask the radio for its state
_UNKNOWN = const(-0x3FFFFFFF - 1)
# Places among a sample's figures.
_UPTIME_S = const(0)
_RSSI_FIGURE = const(10)
_SENT_FIGURE = const(11)
_RECEIVED_FIGURE = const(12)
_CONNECTED_FIGURE = const(15)


class Network:
    """Whether `wlan` is connected is 1 or 0; beside that, its signal's strength.

    sent, received: bytes of sockets that are counted, modulo 2**30. None is what nobody can tell.
    available: whether the firmware has WLAN; early: the application may have made one unseen. Made
    by `warden.setup.watch_network`, which lists what else it has.
    """

    def read(self, figures):
        """Put the figures among a sample's; return whether a capability may have changed."""
        if self.sent is not None:
            figures[_SENT_FIGURE] = self.sent
            figures[_RECEIVED_FIGURE] = self.received
        if figures[_UPTIME_S] < self.deadline_s:
            return False
        self.deadline_s = figures[_UPTIME_S] + _WLAN_PERIOD_S
        if self.wlan is not None:
            figures[_CONNECTED_FIGURE] = figures[_RSSI_FIGURE] = _UNKNOWN
            try:
                figures[_CONNECTED_FIGURE] = 1 if self.wlan.isconnected() else 0
                if figures[_CONNECTED_FIGURE]:
                    figures[_RSSI_FIGURE] = int(self.wlan.status("rssi"))
            except Exception:  # not a station, or the port does not tell
                pass
        return True
