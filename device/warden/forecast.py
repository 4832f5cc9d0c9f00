"""When a figure of the history reaches its limit, in integers only: nothing here allocates.

The last minute and the last hour are each looked at as up to twelve means of five slots. A rise
counts if Kendall's S of these (the pairs that rise less those that fall) is so high that chance
alone would give it once in 200 times (the Mann-Kendall test, its exact distribution); its rate is
that from the first third of the points to the last.
"""

from array import array

from micropython import const

from warden_schema.loops import forecast as _forecast

_POINTS = const(12)
_SLOTS = const(60)
_SLOTS_A_POINT = const(5)
_TIERS = const(2)  # those of 60 slots
_METRICS = const(4)
_STATS = const(3)
_MEAN = const(1)
_UNKNOWN = const(-0x40000000)

# The least S of 6, 7 … 12 points that has a probability of at most 0.005 if nothing rises.
_LEAST_S = b"\x0f\x13\x16\x1a\x1d\x21\x26"


class Forecast:
    """Of one metric of the history."""

    def __init__(self, history, metric):
        self._ring = history.ring
        # Where the means of each tier begin in the ring.
        self._begins = [
            (tier * _SLOTS * _METRICS + metric) * _STATS + _MEAN for tier in range(_TIERS)
        ]
        self._open_slots = history.open_slots
        self._points = array("i", [0] * _POINTS)
        self._next = array("i", [0] * _TIERS)  # the slot with which it is looked at again
        self._found = array("i", [-1] * _TIERS)  # seconds, -1 for none
        self._soonest = _UNKNOWN

    def seconds(self, limit):
        """Return in how many seconds `limit` (in the history's scale) is reached.

        -2**30, which stands for what is not known, if it is never.
        """
        open_slots = self._open_slots
        if open_slots[0] >= self._next[0] or open_slots[1] >= self._next[1]:
            self._look_again(open_slots, limit)
        return self._soonest

    def due_s(self):
        """Return the uptime at which it is looked at again."""
        return min(self._next[0], self._next[1] * 60)

    def _look_again(self, open_slots, limit):
        soonest = -1
        tier = 0
        while tier < _TIERS:
            slot = open_slots[tier]
            if slot >= self._next[tier]:
                self._next[tier] = slot + _SLOTS_A_POINT
                self._found[tier] = self._look(tier, limit)
            found = self._found[tier]
            if found >= 0 and (soonest < 0 or found < soonest):
                soonest = found
            tier += 1
        self._soonest = _UNKNOWN if soonest < 0 else soonest

    def _look(self, tier, limit):
        return _forecast(  # a frame of eleven words: see `agent`
            self._ring,
            (self._open_slots[tier] + _SLOTS - 1) % _SLOTS,
            self._begins[tier],
            self._points,
            _LEAST_S,
            limit,
            60 if tier else 1,
        )
