"""Forecasts when memory or storage is exhausted. Integers only; allocates nothing.

Loaded when a threshold on a forecast is set. The last minute and the last hour of the history are
each read as up to fourteen points, of one slot and of four; `warden_schema.rise` tells whether they
rise. What was as high before, and rises again and again, is no leak.
"""

from micropython import const

from warden_schema.rise import POINTS, STEPS, rise_of

_MEMORY_METRIC = const(0)  # of the history
_STORAGE_METRIC = const(3)
_METRICS = const(4)  # in a slot, see history
_FORECAST_ROWS = const(4)  # for each metric: tier, and slots a point
_SLOTS_A_POINT = const(4)
_OPEN = const(4)  # values of the open slot, of which the third and the fourth are:
_SUM = const(2)
_COUNT = const(3)
_NO_VALUE = const(0xFFFF)
_LEAK_RENEW_SHIFT = const(6)  # live memory is measured again when a 64th of the heap was used
NEVER = 0x3FFFFFFF


class Forecast:
    """`memory()` and `storage()` return seconds: NEVER if it does not rise, None: not known yet."""

    def __init__(self, history):
        self.history = history
        self.full = None  # bytes in use with which an allocation of the usual size fails
        self.largest = self.live = 0  # the free block and live bytes, the last time
        self.lost = 0  # bytes that are free, in pieces too small
        self.tiers = history.tiers
        self.points = [0] * POINTS  # the newest first
        # Four for each metric: of one slot a point and of four, in the last minute and hour.
        self.numbers = [0] * (_METRICS * _FORECAST_ROWS)  # the slot from which on it is made anew
        self.rises = [None] * (_METRICS * _FORECAST_ROWS)

    def memory(self, memory, usual):
        """Return when an allocation of the usual size (bytes) will fail.

        memory: the sensor; it measures more often from now on what is live. Where the largest free
        block becomes smaller by what is allocated, the others are too small to be used.
        """
        memory.renew_shift = _LEAK_RENEW_SHIFT
        left = memory.left
        if left is not None:
            fall = self.largest - left
            if fall > 0 and fall * 2 >= memory.live - self.live:
                self.lost = memory.total - memory.live - left
            elif fall < 0:
                self.lost = 0
            self.largest = left
            self.live = memory.live
        self.full = max(0, memory.total - self.lost - usual)
        return self.seconds(_MEMORY_METRIC, self.full >> self.history.shift)

    def storage(self, storage):
        """Return when the first mount will be full."""
        return self.seconds(_STORAGE_METRIC, storage.limit)

    def seconds(self, metric, limit):
        """Return when a metric of the history reaches a limit in its scale, None if there is none.

        Of several rises the one that gets there first counts.
        """
        place = metric * _OPEN
        slot = self.tiers[0].open_slot
        if limit is None or not slot[place + _COUNT]:
            return None
        limit = max(0, limit - slot[place + _SUM] // slot[place + _COUNT])  # what is left
        soonest = None
        place = metric * _FORECAST_ROWS
        while place < metric * _FORECAST_ROWS + _FORECAST_ROWS:
            rise = self.rise(place)
            if rise is not None:
                slot = NEVER
                if rise:
                    slot = self.tiers[place >> 1 & 1].step_s * STEPS
                    slot = limit * slot * (_SLOTS_A_POINT if place & 1 else 1) // rise
                soonest = slot if soonest is None else min(soonest, slot)
            place += 1
        return soonest

    def rise(self, row):
        """Return the rise of a row over STEPS points, made anew where a point has closed."""
        tier = self.tiers[row >> 1 & 1]
        if tier.number >= self.numbers[row]:
            width = _SLOTS_A_POINT if row & 1 else 1
            self.numbers[row] = tier.number + width
            count = self.read_points(tier, row // _FORECAST_ROWS, width)
            count = rise_of(self.points, count)
            if count and self.was_higher(tier, row // _FORECAST_ROWS, width):
                count = 0
            self.rises[row] = count
        return self.rises[row]

    def read_points(self, tier, metric, width):
        """Fill in the points, means of `width` slots; return how many there are before a gap."""
        points = self.points
        count = 0
        if width == 1 and not tier.begin:  # the second that runs is the newest
            slot = tier.open_slot
            points[0] = slot[metric * _OPEN + _SUM] // max(1, slot[metric * _OPEN + _COUNT])
            count = 1
        end = tier.number
        while count < POINTS:
            mean = _mean_before(tier, end, metric, width)
            if mean is None:
                break
            points[count] = mean
            count += 1
            end -= width
        return count

    def was_higher(self, tier, metric, width):
        """Tell whether a slot from before the points was as high."""
        slot = tier.number - POINTS * width
        while slot > tier.number - tier.slots:
            slot -= 1
            value = tier.ring[tier.begin + slot % tier.slots * _METRICS + metric]
            if value != _NO_VALUE and value >= self.points[0]:
                return True
        return False


def _mean_before(tier, slot, metric, width):
    """Return the mean of so many slots of a tier before this one, None if they have no value."""
    total = count = 0
    metric += tier.begin
    first = slot - width
    while slot > first:
        slot -= 1
        value = tier.ring[slot % tier.slots * _METRICS + metric]
        if value != _NO_VALUE:
            total += value
            count += 1
    return total // count if count else None
