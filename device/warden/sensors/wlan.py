"""Finds the WLAN that the application makes, where the firmware has `network`."""

import sys


def watch_wlan(network):
    """Have a Network stand in for the module from now on; return the one that does.

    That is another one if another agent was here before.
    """
    module = __import__("network")
    owner = getattr(module, "_warden", None)
    if owner is not None:
        return owner
    if hasattr(module, "WLAN"):
        network.available = True
        from warden.stand_in import copy

        stand_in = copy(module, network)
        stand_in.WLAN = StandInWlan(module.WLAN, network)
        stand_in.WLAN.station = getattr(module, "STA_IF", 0)
        sys.modules["network"] = stand_in
    return network


class StandInWlan:
    """Stands for `network.WLAN`, with its constants; shows what it makes to the agent."""

    station = 0  # what it is given for one that connects

    def __init__(self, wlan, network):
        self.warden_wlan = wlan
        self.warden_network = network

    def __getattr__(self, name):
        return getattr(self.warden_wlan, name)

    def __call__(self, *args):
        made = self.warden_wlan(*args)
        if not args or args[0] == self.station:
            self.warden_network.wlan = made
        return made
