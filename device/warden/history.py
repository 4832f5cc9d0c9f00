"""What happened, kept on the board: three tiers of fixed size, with no host.

A slot keeps the least, the mean and the greatest of each metric. Seconds are gathered into
minutes, and these into hours. Figures are scaled to 16 bits; 0xFFFF is no value. `columns` reads
them.
"""

from array import array

from micropython import const

from warden_schema.loops import keep as _keep

_METRICS = const(4)
_NONE = const(0xFFFF)
_TIERS = const(3)

_FIELDS = const(4)  # what `loops.keep` keeps of a metric in a slot that is still open
_FIGURES = const(1728)  # of 144 slots


class History:
    """`add(s)` files a sample at uptime s; values: its words, see `plain` for figures."""

    def __init__(self, values):
        self._values = values
        self.ring = array("H", [_NONE] * _FIGURES)  # the closed slots, tier after tier
        # The number of each tier's open slot, seconds // step; then what is gathered there.
        self.open_slots = array("i", [0] * (_TIERS + _TIERS * _METRICS * _FIELDS))

    def add(self, s):
        """File the sample under uptime s (seconds, never less than before); allocates nothing.

        Return a bit for each of its values, from live to received bytes, that is not known.
        """
        return _keep(self._values, self.open_slots, self.ring, s)
