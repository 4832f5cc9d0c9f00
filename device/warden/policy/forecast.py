"""Forecasts when memory or storage is exhausted. Integers only; allocates nothing.

Loaded when a threshold on a forecast is set. The last minute and the last hour of the history are
each read as up to fourteen points, of one slot and of four; `warden_schema.rise` tells whether they
rise. What was as high before, and rises again and again, is no leak; nor is a tooth of a saw that
is a little higher than those before: how fast they become so, longer slots tell.
"""

from micropython import const

from warden_schema.rise import POINTS, STEPS, rise_of

_MEMORY_METRIC = const(0)  # of the history
_STORAGE_METRIC = const(3)
# See `warden.history`.
_TIER_SLOTS = const(60)  # of seconds, and of minutes behind them
_METRICS = const(4)  # in a slot
_EXTREMES = const(96)
_GREATEST = const(1)
_MINUTES = const(1)  # a tier
_MANY_FALLS = const(3)  # slots; one fall is seen in two of them
_FORECAST_ROWS = const(4)  # for each metric: of seconds and of minutes, of one slot and of four
_SLOTS_A_POINT = const(4)
_POINT_S = const((1, 4, 60, 240))  # how long a point of a row is
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
        self.tier = self.metric = self.width = self.mean = self.falls = self.edge = self.limit = 0
        self.has_extremes = False

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
        soonest = None
        numbers = self.history.slots
        row = metric * _OPEN
        if limit is None or not numbers[row + _COUNT]:
            return soonest
        self.metric = metric
        self.limit = limit
        self.mean = numbers[row + _SUM] // numbers[row + _COUNT]
        limit = max(0, limit - self.mean)  # what is left
        numbers = self.history.numbers
        row = metric * _FORECAST_ROWS
        metric = row + _FORECAST_ROWS
        while row < metric:
            if numbers[row >> 1 & 1] >= self.numbers[row]:
                self.renew(row)
            rise = self.rises[row]
            if rise is not None:
                rise = self.reach(row, limit) if rise else NEVER
                if soonest is None or rise < soonest:
                    soonest = rise
            row += 1
        return soonest

    def reach(self, row, left):
        """Return when `left` more is there by the rise of a row."""
        if row >> 1 & 1:
            left = self.left_of(left)
        return left * (_POINT_S[row & 3] * STEPS) // self.rises[row]

    def left_of(self, left):
        """Return what is left, counted from the highest of the last two minutes, if that is less.

        So high it will be again.
        """
        slot = self.history.numbers[_MINUTES] - 2
        while slot < self.history.numbers[_MINUTES]:
            value = (_TIER_SLOTS + slot % _TIER_SLOTS) * _METRICS + self.metric
            value = self.history.ring[2 * value + _EXTREMES + _GREATEST]
            if value != _NO_VALUE:
                left = min(left, self.limit - value)
            slot += 1
        return max(0, left)

    def renew(self, row):
        """Find the rise of a row over STEPS points anew, as a point has closed."""
        self.tier = row >> 1 & 1
        self.width = _SLOTS_A_POINT if row & 1 else 1
        self.numbers[row] = self.history.numbers[self.tier] + self.width
        self.rises[row] = self.find_rise()

    def find_rise(self):
        """Return the rise of the points of `width` slots; mostly there is none, as two tell."""
        newest = self.read_point(0)
        oldest = self.read_point(STEPS)
        if newest is None or oldest is None:
            return None
        if newest <= oldest:
            return 0
        rise = rise_of(self.points, self.read_points())
        # What fills more and more slowly is flat soon. With points of one slot a pause seems so.
        if self.width > 1 and rise and (newest - self.points[3]) * 9 < 2 * rise:
            return 0
        return 0 if rise and (self.was_higher(rise) or self.is_tooth(rise)) else rise

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
        width = self.width
        if width == 1 and not self.tier:  # the second that runs is the newest
            if not place:
                return self.mean
            place -= 1
        place = self.history.numbers[self.tier] - place * width
        total = count = 0
        while width:
            width -= 1
            place -= 1
            value = self.read_slot(place)
            if value != _NO_VALUE:
                total += value
                count += 1
        return total // count if count else None

    def read_slot(self, slot):
        """Return a metric's value in a slot."""
        slot = (self.tier * _TIER_SLOTS + slot % _TIER_SLOTS) * _METRICS
        return self.history.ring[slot + self.metric]

    # What reads all slots reads the ring itself: a call for each would take longer than the tick.

    def was_higher(self, rise):
        """Tell whether a slot from before the points was as high, and none was near the limit."""
        ring = self.history.ring
        number = self.history.numbers[self.tier]
        slot = number - _TIER_SLOTS
        number -= POINTS * self.width
        edge = 0
        while slot < number:
            value = ring[(self.tier * _TIER_SLOTS + slot % _TIER_SLOTS) * _METRICS + self.metric]
            if edge < value < _NO_VALUE:
                edge = value
            slot += 1
        return edge >= self.points[0] and edge + (rise >> 2) < self.limit

    def is_tooth(self, rise):
        """Tell whether it has fallen as far again and again, from about here or higher.

        About here: a quarter of a fall above where one was from is no tooth any more, nor is one
        that may reach the limit.
        """
        self.edge = 0
        rise -= rise >> 2
        has_teeth = self.falls_again(rise)
        if not self.tier:
            self.tier = _MINUTES  # where a tooth may be longer than a minute
            self.has_extremes = True
            has_teeth = self.falls_again(rise) or has_teeth
            self.has_extremes = False
        return has_teeth and self.points[0] < self.edge < self.limit

    def falls_again(self, least):
        """Tell whether it has often fallen by so much at least; note up to where teeth may be."""
        self.falls = 0
        slot = self.history.numbers[self.tier] - _TIER_SLOTS
        if self.has_extremes:
            self.find_falls(slot, least)
        else:
            self.find_falls_of_means(slot, least)
        return self.falls >= _MANY_FALLS

    def find_falls(self, slot, least):
        """Note each fall from the greatest of a minute to the least of the next."""
        ring = self.history.ring
        top = 0
        while slot < self.history.numbers[_MINUTES]:
            place = (_TIER_SLOTS + slot % _TIER_SLOTS) * _METRICS + self.metric
            place = 2 * place + _EXTREMES
            if top - ring[place] > least:
                self.note_fall(top, ring[place])
            top = ring[place + _GREATEST]
            slot += 1

    def find_falls_of_means(self, slot, least):
        """Note each fall from a slot to the next but one."""
        ring = self.history.ring
        older = top = 0
        while slot < self.history.numbers[self.tier]:
            value = ring[(self.tier * _TIER_SLOTS + slot % _TIER_SLOTS) * _METRICS + self.metric]
            if top - value > least:
                self.note_fall(top, value)
            top = older
            older = value
            slot += 1

    def note_fall(self, top, value):
        """Count a fall, unless nothing is known of where it is from."""
        if top != _NO_VALUE:
            self.falls += 1
            self.edge = max(self.edge, top + (top - value >> 2))
