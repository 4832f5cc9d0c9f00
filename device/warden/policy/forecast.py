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
        self._place = 3 * metric + _MEAN  # of its mean in a slot
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
        """Return the seconds as the slots of a tier have it."""
        count = self._read_points(tier)
        if count < _MIN_POINTS:
            return None
        third = count // 3
        rise = newer = 0
        while newer < third:  # the newest third over the oldest
            rise += self._points[newer]
            rise -= self._points[count - 1 - newer]
            newer += 1
        if rise <= 0 or not self._is_clear(count):
            return None
        limit -= self._points[0]  # what is left
        return max(0, limit) * third * (count - third) * (_SLOTS_A_POINT * tier.step_s) // rise

    def _read_points(self, tier):
        """Fill in the points from a tier's closed slots; return how many there are.

        They end with five slots that have no value.
        """
        slot = tier.number
        for count in range(_POINTS):
            mean = self._mean_before(slot, tier)
            if mean is None:
                return count
            self._points[count] = mean
            slot -= _SLOTS_A_POINT
        return _POINTS

    def _mean_before(self, slot, tier):
        """Return the mean of the five slots before this one, None if they have no value."""
        total = filled = 0
        first = slot - _SLOTS_A_POINT
        while slot > first:
            slot -= 1
            figure = tier.ring[tier.begin + slot % tier.slots * _SLOT + self._place]
            if figure != _NO_VALUE:
                total += figure
                filled += 1
        return total // filled if filled else None

    def _is_clear(self, count):
        """Tell whether so many points rise more clearly than by chance."""
        points = self._points
        s = 0
        for newer in range(count):
            older = newer + 1
            while older < count:
                if points[older] < points[newer]:
                    s += 1
                elif points[older] > points[newer]:
                    s -= 1
                older += 1
        return s >= _LEAST_S[count - _MIN_POINTS]
