"""Forecasts when a metric of the history reaches its limit. Integers only; allocates nothing.

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
_FORECASTS = const(8)  # of four metrics
_SLOT = const(12)  # figures, see history
_MEAN = const(1)
_NO_VALUE = const(0xFFFF)

# The least S of 6, 7 … 12 points that has a probability of at most 0.005 if nothing rises.
_LEAST_S = const(b"\x0f\x13\x16\x1a\x1d\x21\x26")


class Forecast:
    """Of any metric of the history. A tier is looked at again after five more slots."""

    def __init__(self, history):
        self.tiers = history.tiers
        self.points = [0] * _POINTS  # means, the newest first
        # Two for each metric, one of each tier:
        self.numbers = [0] * _FORECASTS  # the slot from which on it is looked at again
        self.values = [None] * _FORECASTS  # the seconds that were found
        self.last_s = -1  # when one was made: one metric a second

    def seconds(self, metric, limit):
        """Return in how many seconds a metric reaches its limit, None if it never does.

        limit: in the history's scale, None if there is none.
        """
        if limit is None:
            return None
        s = self.tiers[0].number
        rests = s == self.last_s
        soonest = None
        for place in range(_FORECAST_TIERS):
            tier = self.tiers[place]
            place += metric * _FORECAST_TIERS
            if tier.number >= self.numbers[place] and not rests:
                self.last_s = s
                self.numbers[place] = tier.number + _SLOTS_A_POINT
                self.values[place] = self.seconds_by(tier, metric, limit)
            value = self.values[place]
            if soonest is None or (value is not None and value < soonest):
                soonest = value
        return soonest

    def seconds_by(self, tier, metric, limit):
        """Return the seconds as the closed slots of a tier have it."""
        points = self.points
        count = 0
        slot = tier.number
        while count < _POINTS:
            total = filled = 0
            for _ in range(_SLOTS_A_POINT):
                slot -= 1
                value = tier.ring[tier.begin + slot % tier.slots * _SLOT + 3 * metric + _MEAN]
                if value != _NO_VALUE:
                    total += value
                    filled += 1
            if not filled:  # a gap ends what is looked at
                break
            points[count] = total // filled
            count += 1
        if count < _MIN_POINTS:
            return None
        s = 0
        for newer in range(count):
            for older in range(newer + 1, count):
                if points[older] < points[newer]:
                    s += 1
                elif points[older] > points[newer]:
                    s -= 1
        third = count // 3
        rise = 0
        for newer in range(third):
            rise += points[newer] - points[count - 1 - newer]
        if rise <= 0 or s < _LEAST_S[count - _MIN_POINTS]:
            return None
        left = max(0, limit - points[0])
        return left * third * (count - third) * (_SLOTS_A_POINT * tier.step_s) // rise
