"""Forecasts when a metric of the history reaches its limit. Integers only; allocates nothing.

Loaded when a threshold on a forecast is set. The last minute and the last hour are each read
as up to twelve means of five slots. A rise counts if Kendall's S of these (the pairs that rise less
those that fall) is so high that chance alone would give it once in 200 times (the Mann-Kendall
test, its exact distribution); its rate is that from the first third of the points to the last.
"""

from micropython import const

_POINTS = const(12)
_MIN_POINTS = const(6)
_SLOTS_A_POINT = const(5)
_FORECAST_ROWS = const(8)  # two for each metric of the history
_METRICS = const(4)  # in a slot, see history
_NO_VALUE = const(0xFFFF)

# The least S of 6, 7 … 12 points that has a probability of at most 0.005 if nothing rises.
_LEAST_S = const(b"\x0f\x13\x16\x1a\x1d\x21\x26")


class Forecast:
    """Forecasts for each metric of the history; one is made anew after five slots have closed."""

    def __init__(self, history):
        self.tiers = history.tiers
        self.points = [0] * _POINTS  # means, the newest first
        # For each metric one of the last minute, and one of the last hour:
        self.numbers = [0] * _FORECAST_ROWS  # the slot from which on it is made anew
        self.values = [None] * _FORECAST_ROWS  # the seconds that were found
        self.last_s = -1  # when one was made

    def seconds(self, metric, limit):
        """Return in how many seconds a metric reaches its limit, None if it never does.

        limit: in the history's scale, None if there is none.
        """
        if limit is None:
            return None
        row = 2 * metric
        if self.tiers[0].number != self.last_s:
            self.evaluate(row, self.tiers[0], limit)
            self.evaluate(row + 1, self.tiers[1], limit)
        minute = self.values[row]
        hour = self.values[row + 1]
        if minute is None or (hour is not None and hour < minute):
            return hour
        return minute

    def evaluate(self, row, tier, limit):
        """Make the forecast of a row anew, if five slots have closed since the last one."""
        if tier.number >= self.numbers[row]:
            self.last_s = self.tiers[0].number
            self.numbers[row] = tier.number + _SLOTS_A_POINT
            self.values[row] = self.seconds_by(tier, row // 2, limit)

    def seconds_by(self, tier, place, limit):
        """Return the seconds by the slots of one tier; place: of the metric's mean in a slot."""
        count = self.read_points(tier, place)
        if count < _MIN_POINTS:
            return None
        third = count // 3
        rise = place = 0
        while place < third:  # the newest third over the oldest
            rise += self.points[place]
            place += 1
            rise -= self.points[count - place]
        if rise <= 0 or not self.is_clear(count):
            return None
        limit -= self.points[0]  # what is left
        return max(0, limit) * third * (count - third) * (_SLOTS_A_POINT * tier.step_s) // rise

    def read_points(self, tier, place):
        """Fill in the points from a tier's closed slots; return how many there are.

        They end with five slots that have no value.
        """
        place += tier.begin
        for count in range(_POINTS):
            slot = tier.number - count * _SLOTS_A_POINT
            self.points[count] = _mean_before(slot, tier.ring, tier.slots, place)
            if self.points[count] is None:
                return count
        return _POINTS

    def is_clear(self, count):
        """Tell whether so many points rise more clearly than by chance."""
        points = self.points
        lacking = _LEAST_S[count - _MIN_POINTS]
        while count:  # the points that are left; to begin with the oldest: points[count]
            if lacking > count * (count - 1) // 2:  # more than all pairs of these
                return False
            count -= 1
            oldest = points[count]
            newer = count
            while newer:
                newer -= 1
                if oldest < points[newer]:
                    lacking -= 1
                elif oldest > points[newer]:
                    lacking += 1
        return lacking <= 0


def _mean_before(slot, ring, slots, place):
    """Return the mean of the five slots before this one, None if they have no value.

    place: of the figure in slot 0, in the ring of a tier that has so many slots.
    """
    total = count = 0
    first = slot - _SLOTS_A_POINT
    while slot > first:
        slot -= 1
        value = ring[slot % slots * _METRICS + place]
        if value != _NO_VALUE:
            total += value
            count += 1
    return total // count if count else None
