"""When a figure of the history reaches its limit, in integers only: nothing here allocates.

The last minute and the last hour are each looked at as up to twelve means of five slots. A rise
counts if Kendall's S of these (the pairs that rise less those that fall) is so high that chance
alone would give it once in 200 times (the Mann-Kendall test, its exact distribution); its rate is
that from the first third of the points to the last.
"""

from array import array

from micropython import const

_POINTS = const(12)
_LEAST = const(6)  # points
_SLOTS_A_POINT = const(5)
_TIERS = const(2)  # those of 60 slots
_MEAN = const(1)
_NONE = const(0xFFFF)

# The least S of 6, 7 … 12 points that has a probability of at most 0.005 if nothing rises.
_LEAST_S = b"\x0f\x13\x16\x1a\x1d\x21\x26"


class Forecast:
    """Of one metric of the history."""

    def __init__(self, history, metric):
        self._history = history
        self._value = history.value  # a bound method is an object: made once
        self._metric = metric
        self._points = array("i", [0] * _POINTS)
        self._looked_s = array("i", [-1] * _TIERS)  # at the slots that ended then
        self._found = array("i", [-1] * _TIERS)  # seconds, -1 for none

    def seconds(self, limit):
        """Return in how many seconds `limit` (in the history's scale) is reached, None if never."""
        soonest = -1
        tier = 0
        while tier < _TIERS:
            newest_s = self._history.newest_s(tier)
            step_s = self._history.step_s(tier) * _SLOTS_A_POINT
            if newest_s - self._looked_s[tier] >= step_s or self._looked_s[tier] < 0:
                self._looked_s[tier] = newest_s
                self._found[tier] = self._look(tier, step_s, limit)
            found = self._found[tier]
            if found >= 0 and (soonest < 0 or found < soonest):
                soonest = found
            tier += 1
        return None if soonest < 0 else soonest

    def _look(self, tier, step_s, limit):
        count = self._gather(tier)
        if count < _LEAST or self._s(count) < _LEAST_S[count - _LEAST]:
            return -1
        points = self._points
        third = count // 3
        rise = 0
        at = 0
        while at < third:
            rise += points[at] - points[count - 1 - at]  # the newest is the first
            at += 1
        if rise <= 0:
            return -1
        left = limit - points[0]
        return 0 if left <= 0 else left * third * (count - third) * step_s // rise

    def _gather(self, tier):
        """Put the means of the newest slots into the points, newest first; return how many."""
        slot = 60
        count = 0
        while count < _POINTS:
            total = 0
            filled = 0
            end = slot - _SLOTS_A_POINT
            while slot > end:
                slot -= 1
                figure = self._value(tier, self._metric, _MEAN, slot)
                if figure != _NONE:
                    total += figure
                    filled += 1
            if not filled:
                break
            self._points[count] = total // filled
            count += 1
        return count

    def _s(self, count):
        points = self._points
        s = 0
        newer = 0
        while newer < count:
            older = newer + 1
            while older < count:
                if points[newer] > points[older]:
                    s += 1
                elif points[newer] < points[older]:
                    s -= 1
                older += 1
            newer += 1
        return s
