"""What the board has: found out by looking, never assumed from its name."""

import sys

from warden.hal_stock import Stock, module


def detect():
    """Return the adapter for this board."""
    if module("time") is None and "mps2-an385" in sys.implementation._machine:
        from warden.hal_mps2 import Mps2

        return Mps2()
    return Stock()
