"""Forecasts when a figure of the history reaches its limit. Integers only; allocates nothing.

The last minute and the last hour are each looked at as up to twelve means of five slots. A rise
counts if Kendall's S of these (the pairs that rise less those that fall) is so high that chance
alone would give it once in 200 times (the Mann-Kendall test, its exact distribution); its rate is
that from the first third of the points to the last.
"""

from micropython import const

_POINTS = const(12)
_MIN_POINTS = const(6)
_SLOTS_A_POINT = const(5)
_FORECAST_TIERS = const(2)  # those of 60 slots
_SLOT = const(12)  # figures, see history
_MEAN = const(1)
_NO_VALUE = const(0xFFFF)

# The least S of 6, 7 … 12 points that has a probability of at most 0.005 if nothing rises.
_LEAST_S = b"\x0f\x13\x16\x1a\x1d\x21\x26"


class Forecast:
    """Of one metric of the history; `due_s` is the uptime at which it is looked at again."""

    def __init__(self, history, metric):
        self.due_s = 0
        self._tiers = history.tiers
        self._mean = 3 * metric + _MEAN  # its place in a slot
        self._points = [0] * _POINTS  # means, the newest first
        self._next = [0, 0]  # the slot with which each tier is looked at again
        self._found = [None, None]  # the seconds that were found

    def seconds(self, limit):
        """Return in how many seconds `limit` is reached, None if it is never.

        limit: in the history's scale.
        """
        soonest = None
        for place in range(_FORECAST_TIERS):
            number = self._tiers[place].number
            if number >= self._next[place]:
                self._next[place] = number + _SLOTS_A_POINT
                self._found[place] = self._seconds_by(self._tiers[place], limit)
            found = self._found[place]
            if soonest is None or (found is not None and found < soonest):
                soonest = found
        self.due_s = min(self._next[0], self._next[1] * 60)
        return soonest

    def _seconds_by(self, tier, limit):
        """Return the seconds as a tier has them."""
        count = self._read_points(tier)
        if count < _MIN_POINTS:
            return None
        points = self._points
        third = count // 3
        rise = 0
        for newer in range(third):
            rise += points[newer] - points[count - 1 - newer]
        if rise <= 0 or not self._rises(count):
            return None
        left = max(0, limit - points[0])
        return left * third * (count - third) * (_SLOTS_A_POINT * tier.step_s) // rise

    def _read_points(self, tier):
        """Put the means of five slots each into the points; return how many there are.

        They end with five slots that have no value.
        """
        ring = tier.ring
        slot = tier.number
        for count in range(_POINTS):
            total = filled = 0
            for _ in range(_SLOTS_A_POINT):
                slot -= 1
                figure = ring[tier.begin + slot % tier.slots * _SLOT + self._mean]
                if figure != _NO_VALUE:
                    total += figure
                    filled += 1
            if not filled:
                return count
            self._points[count] = total // filled
        return _POINTS

    def _rises(self, count):
        """Tell whether so many points rise more clearly than chance has it."""
        points = self._points
        s = 0
        for newer in range(count):
            figure = points[newer]
            for older in range(newer + 1, count):
                other = points[older]
                if figure > other:
                    s += 1
                elif figure < other:
                    s -= 1
        return s >= _LEAST_S[count - _MIN_POINTS]
