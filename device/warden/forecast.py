"""When a figure of the history reaches its limit, in integers only: nothing here allocates.

The last minute and the last hour are each looked at as up to twelve means of five slots. A rise
counts if Kendall's S of these (the pairs that rise less those that fall) is so high that chance
alone would give it once in 200 times (the Mann-Kendall test, its exact distribution); its rate is
that from the first third of the points to the last.
"""

from array import array

from micropython import const

from warden_schema.loops import foresee as _foresee

_POINTS = const(12)
_SLOTS = const(60)
_TIERS = const(2)  # those of 60 slots
_METRICS = const(4)
_STATS = const(3)
_MEAN = const(1)
_BEGINS = const(4)  # in `words`: see `plain.foresee`
_DUE_S = const(6)
_WORDS = const(7)

# The least S of 6, 7 … 12 points that has a probability of at most 0.005 if nothing rises.
_LEAST_S = b"\x0f\x13\x16\x1a\x1d\x21\x26"


class Forecast:
    """Of one metric of the history.

    seconds(limit): in how many seconds `limit` (in the history's scale) is reached, -2**30, which
    stands for what is not known, if it is never.
    """

    least = _LEAST_S
    seconds = _foresee

    def __init__(self, history, metric):
        self.ring = history.ring
        self.open_slots = history.open_slots
        self.points = array("i", [0] * _POINTS)
        self.words = array("i", [0] * _WORDS)
        for tier in range(_TIERS):  # where its means begin in the ring
            self.words[_BEGINS + tier] = (tier * _SLOTS * _METRICS + metric) * _STATS + _MEAN

    def due_s(self):
        """Return the uptime at which it is looked at again."""
        return self.words[_DUE_S]
