"""Forecasts when memory or storage is exhausted. Integers only; allocates nothing.

Loaded when a threshold on a forecast is set. The last minute and the last hour of the history are
each read as up to fourteen points, of one slot and of four; `warden_schema.rise` tells whether they
rise. What was as high before, and rises again and again, is no leak.
"""

from micropython import const

from warden_schema.rise import POINTS, STEPS, rise_of

_MEMORY_METRIC = const(0)  # of the history
_STORAGE_METRIC = const(3)
# See `warden.history`.
_STEP_S = const((1, 60, 3600))
_SLOTS = const((60, 60, 24))
_TIER_BEGIN = const((0, 240, 480))
_METRICS = const(4)  # in a slot
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
        self.points = [0] * POINTS  # the newest first
        # Four for each metric: of one slot a point and of four, in the last minute and hour.
        self.numbers = [0] * (_METRICS * _FORECAST_ROWS)  # the slot from which on it is made anew
        self.rises = [None] * (_METRICS * _FORECAST_ROWS)
        # What is read at present: frames of more than eleven words would be taken from the heap.
        self.soonest = None
        self.tier = self.metric = self.width = self.slot = 0

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
        self.soonest = None
        self.metric = metric
        if limit is not None and self.history.slots[metric * _OPEN + _COUNT]:
            limit = max(0, limit - self.running_mean())  # what is left
            metric *= _FORECAST_ROWS
            for row in range(metric, metric + _FORECAST_ROWS):
                self.evaluate(row, limit)
        return self.soonest

    def running_mean(self):
        """Return a metric's mean in the second that runs, which has at least one value."""
        slots = self.history.slots
        place = self.metric * _OPEN
        return slots[place + _SUM] // max(1, slots[place + _COUNT])

    def evaluate(self, row, left):
        """Find when `left` more, in the history's scale, is there by the rise of a row."""
        rise = self.rise(row)
        if rise is not None:
            seconds = NEVER
            if rise:
                seconds = _STEP_S[row >> 1 & 1] * STEPS
                seconds = left * seconds * self.width_of(row) // rise
            if self.soonest is None or seconds < self.soonest:
                self.soonest = seconds

    def width_of(self, row):
        """Return how many slots are a point of a row."""
        return _SLOTS_A_POINT if row & 1 else 1

    def rise(self, row):
        """Return the rise of a row over STEPS points, made anew where a point has closed."""
        self.tier = row >> 1 & 1
        number = self.history.numbers[self.tier]
        if number >= self.numbers[row]:
            self.width = width = self.width_of(row)
            self.numbers[row] = number + width
            self.rises[row] = self.find_rise()
        return self.rises[row]

    def find_rise(self):
        """Return the rise of the points of `width` slots; mostly there is none, as two tell."""
        newest = self.read_point(0)
        oldest = self.read_point(STEPS)
        if newest is None or oldest is None:
            return None
        if newest <= oldest:
            return 0
        rise = rise_of(self.points, self.read_points())
        return 0 if rise and self.was_higher() else rise

    def read_points(self):
        """Fill in the points; return how many there are before a gap."""
        count = 0
        while count < POINTS:
            mean = self.read_point(count)
            if mean is None:
                break
            self.points[count] = mean
            count += 1
        return count

    def read_point(self, place):
        """Return a point, 0 the newest: the mean of `width` slots, None if they have no value."""
        if self.width == 1 and not self.tier:  # the second that runs is the newest
            if not place:
                return self.running_mean()
            place -= 1
        self.slot = self.history.numbers[self.tier] - place * self.width
        return self.read_mean()

    def read_mean(self):
        """Return the mean of the `width` slots before `slot`, None if they have no value."""
        total = count = 0
        for _ in range(self.width):
            self.slot -= 1
            value = self.read_slot()
            if value != _NO_VALUE:
                total += value
                count += 1
        return total // count if count else None

    def read_slot(self):
        """Return a metric's value in `slot`."""
        tier = self.tier
        place = _TIER_BEGIN[tier] + self.slot % _SLOTS[tier] * _METRICS
        return self.history.ring[place + self.metric]

    def was_higher(self):
        """Tell whether a slot from before the points was as high."""
        number = self.history.numbers[self.tier]
        self.slot = number - POINTS * self.width
        while self.slot > number - _SLOTS[self.tier]:
            self.slot -= 1
            value = self.read_slot()
            if value != _NO_VALUE and value >= self.points[0]:
                return True
        return False
