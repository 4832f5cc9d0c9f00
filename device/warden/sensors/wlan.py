"""Finds the WLAN that the application makes, where the firmware has `network`."""

import sys

from warden.sensors.network import Network
from warden.sensors.threads import StandIn


def watch_wlan(early):
    """Return the one watcher of the network, standing in for the module from now on.

    early: whether the application has imported it.
    """
    module = __import__("network")
    network = getattr(module, "warden_owner", None)
    if network is None:
        network = Network()
        network.early = early
        if hasattr(module, "WLAN"):
            network.available = True
            stand_in = StandIn(module, network)
            stand_in.WLAN = StandInWlan(module.WLAN, network)
            stand_in.WLAN.station = getattr(module, "STA_IF", 0)
            sys.modules["network"] = stand_in
    return network


class StandInWlan(StandIn):
    """Stands for `network.WLAN`, with its constants; shows what it makes to the agent."""

    station = 0  # what it is given for one that connects

    def __call__(self, *args):
        made = self.warden_module(*args)
        if not args or args[0] == self.station:
            self.warden_owner.wlan = made
        return made
