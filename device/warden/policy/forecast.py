"""Forecasts when memory or storage is exhausted. Integers only; allocates nothing.

Loaded when a threshold on a forecast is set. The last minute and the last hour of the history are
each read as up to fourteen points, of one slot and of four; where memory is sampled too seldom for
those of seconds, the last fourteen samples that are six seconds apart or more are read, too.
`warden_schema.rise` tells whether they rise. What was as high before, and rises again and again, is
no leak; nor is a tooth of a saw that is a little higher than those before: how fast they become so,
longer slots tell.
"""

from micropython import const

from warden.sensors.storage import shift_for
from warden_schema.rise import LONGEST_GAP, POINTS, STEPS, rise_of

_MEMORY_METRIC = const(0)  # of the history
_STORAGE_METRIC = const(3)
_BLOCKS = const(2)  # a place in the row of a mount
# See `warden.history`.
_TIER_SLOTS = const(60)  # of seconds, and of minutes behind them
_METRICS = const(4)  # in a slot
_TIER_VALUES = const(240)  # of a tier's slots
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
_LONGEST_REST_S = const(610)  # between two samples that are compared: the longest interval, late
_LEAK_RENEW_SHIFT = const(6)  # live memory is measured again when a 64th of the heap was used
NEVER = 0x3FFFFFFF


class Forecast:
    """`memory()` and `storage()` return seconds: NEVER if it does not rise, None: not known yet."""

    def __init__(self, history):
        self.history = history
        self.full = None  # bytes in use with which an allocation of the usual size fails
        self.largest = self.live = 0  # the free block and live bytes, when these were compared last
        self.lost = 0  # bytes that are free, in pieces too small
        self.points = [0] * POINTS  # the newest first
        self.count = 0  # of them that are known
        self.span = STEPS  # how many points, known or not, the newest is after the one STEPS before
        # Four for each metric: of one slot a point and of four, in the last minute and hour.
        self.numbers = [0] * (_METRICS * _FORECAST_ROWS)  # the slot from which on it is made anew
        self.rises = [None] * (_METRICS * _FORECAST_ROWS)
        # What is read at present: frames of more than eleven words would be taken from the heap.
        self.tier = self.metric = self.width = self.mean = self.falls = self.edge = self.limit = 0
        self.crest = 0
        self.top = self.older = 0  # of the slots before those that are looked through for falls
        # In which minute the last hour has no fall by more than that, of which metric: mostly so.
        self.calm_slot = self.calm_fall = 0
        self.begin = 0  # in the ring: of the tier
        # Samples of memory that are more than LONGEST_GAP seconds apart, the newest first: values
        # and uptimes. Those between them are left out.
        self.sparse = [0] * POINTS
        self.sparse_s = [0] * POINTS
        self.sparse_count = 0
        self.sparse_rise = None

    def memory(self, memory, usual):
        """Return when an allocation of the usual size (bytes) will fail.

        memory: the sensor; it measures more often from now on what is live. Where the largest free
        block becomes smaller by half of what is allocated, the others are too small to be used, but
        for what of them is used later.
        """
        memory.renew_shift = _LEAK_RENEW_SHIFT
        left = memory.left
        if left is not None and memory.live is not None:
            others = memory.total - memory.live - left
            rise = memory.live - self.live
            if abs(rise) > memory.total >> _LEAK_RENEW_SHIFT:
                if 0 < rise <= 2 * (self.largest - left):
                    self.lost = others
                self.largest = left
                self.live = memory.live
            self.lost = min(self.lost, others)
        self.full = max(0, memory.total - self.lost - usual)
        return self.seconds(_MEMORY_METRIC, self.full >> self.history.shift)

    def storage(self, storage):
        """Return when the first mount will be full."""
        limit = None
        rows = storage.rows
        if rows and storage.scaled >= 0:
            limit = rows[0][_BLOCKS]
            limit >>= shift_for(limit)
        return self.seconds(_STORAGE_METRIC, limit)

    def seconds(self, metric, limit):
        """Return when a metric of the history reaches a limit in its scale, None if there is none.

        Of several rises the one that gets there first counts.
        """
        soonest = None
        slots = self.history.slots
        row = metric * _OPEN
        if limit is None or not slots[row + _COUNT]:
            return soonest
        self.metric = metric
        self.limit = limit
        self.mean = slots[row + _SUM] // slots[row + _COUNT]
        row = metric * _FORECAST_ROWS
        while row < (metric + 1) * _FORECAST_ROWS:
            if self.history.numbers[row >> 1 & 1] >= self.numbers[row]:
                self.renew(row)
            if self.rises[row] is not None:
                s = self.reach(row) if self.rises[row] else NEVER
                if soonest is None or s < soonest:
                    soonest = s
            row += 1
        if self.rises[0] is None and metric == _MEMORY_METRIC:
            s = self.by_samples()
            if soonest is None or (s is not None and s < soonest):
                soonest = s
        return soonest

    def by_samples(self):
        """Return when the limit is reached by the samples, of which the seconds have too few."""
        values = self.sparse
        times = self.sparse_s
        rest_s = self.history.numbers[0] - times[0]  # since the last one
        if not 0 <= rest_s <= LONGEST_GAP:
            self.sparse_count += 1
            if not 0 < rest_s <= _LONGEST_REST_S:
                self.sparse_count = 0
            place = POINTS - 1
            while place:
                values[place] = values[place - 1]
                times[place] = times[place - 1]
                place -= 1
            times[0] = self.history.numbers[0]
            values[0] = self.points[0] = self.mean
            self.sparse_rise = self.rise_of_samples()
        if self.sparse_rise:
            took_s = times[0] - times[STEPS]
            return max(0, self.limit - self.mean) * took_s // self.sparse_rise
        return None if self.sparse_rise is None else NEVER

    def rise_of_samples(self):
        """Return the rise over STEPS samples, as find_rise()."""
        values = self.sparse
        rise = rise_of(values, min(POINTS, self.sparse_count))
        if rise:
            self.width = 1
            self.points[0] -= rise // STEPS  # the tops before may have been between two samples
            self.turn_to(_MINUTES)
            if (values[0] - values[3]) * 9 < 2 * rise or self.was_higher(rise):
                return 0
            self.turn_to(0)
            if self.is_tooth(rise):
                return 0
        return rise

    def reach(self, row):
        """Return when the limit is reached by the rise of a row."""
        left = max(0, self.limit - self.mean)
        if row >> 1 & 1:
            left = self.left_of(left)
        return left * (_POINT_S[row & 3] * STEPS) // self.rises[row]

    def left_of(self, left):
        """Return what is left, counted from the highest of the last two minutes, if that is less.

        So high it will be again.
        """
        slot = self.history.numbers[_MINUTES] - 2
        while slot < self.history.numbers[_MINUTES]:
            place = (_TIER_SLOTS + slot % _TIER_SLOTS) * _METRICS + self.metric
            value = self.history.ring[2 * place + _EXTREMES + _GREATEST]
            if value != _NO_VALUE:
                left = min(left, self.limit - value)
            slot += 1
        return max(0, left)

    def renew(self, row):
        """Find the rise of a row over STEPS points anew, as a point has closed."""
        self.turn_to(row >> 1 & 1)
        self.width = _SLOTS_A_POINT if row & 1 else 1
        number = self.history.numbers[self.tier]
        rise = self.rises[row] = self.find_rise()
        # With fewer than are needed nothing is known before the others have closed.
        points = STEPS + 1 - self.count if rise is None else 1
        self.numbers[row] = number + points * self.width

    def turn_to(self, tier):
        """Read the slots of a tier from now on."""
        self.tier = tier
        self.begin = tier * _TIER_VALUES + self.metric

    def find_oldest(self):
        """Return where in the ring the oldest slot of the tier is."""
        return self.begin + self.history.numbers[self.tier] % _TIER_SLOTS * _METRICS

    def find_rise(self):
        """Return the rise of the points of `width` slots; mostly there is none, as two tell."""
        newest = self.read_point(0)
        oldest = self.read_point(STEPS)
        if newest is not None and oldest is not None and newest <= oldest:
            return 0
        self.count = self.read_points()
        rise = rise_of(self.points, self.count)
        if rise is None:
            return None
        # What fills more and more slowly is flat soon. With points of one slot a pause seems so.
        if self.width > 1 and rise and (self.points[0] - self.points[3]) * 9 < 2 * rise:
            return 0
        rise = rise * STEPS // self.span
        return 0 if rise and (self.was_higher(rise) or self.is_tooth(rise)) else rise

    def read_points(self):
        """Fill in the points that are known, and the span; return how many there are."""
        count = place = known = begin = 0
        places = _TIER_SLOTS // self.width
        while count < POINTS and place < places and place - known <= LONGEST_GAP:
            mean = self.read_point(place)
            if mean is not None:
                if not count:
                    begin = place
                elif count == STEPS:
                    self.span = place - begin
                self.points[count] = mean
                count += 1
                known = place + 1
            place += 1
        return count

    def read_point(self, place):
        """Return a point, 0 the newest: the mean of `width` slots, None if they have no value."""
        width = self.width
        if width == 1 and not self.tier:  # the second that runs is the newest
            if not place:
                return self.mean
            place -= 1
        ring = self.history.ring
        begin = self.begin
        place = self.history.numbers[self.tier] - place * width
        total = count = 0
        while width:
            width -= 1
            place -= 1
            value = ring[place % _TIER_SLOTS * _METRICS + begin]
            if value != _NO_VALUE:
                total += value
                count += 1
        return total // count if count else None

    # What reads all slots calls nothing for each: that would take longer than the tick.

    def was_higher(self, rise):
        """Tell whether a slot from before the points was as high, and none was near the limit."""
        ring = self.history.ring
        place = self.find_oldest()
        end = self.begin + _TIER_VALUES
        slots = _TIER_SLOTS - POINTS * self.width
        edge = 0
        while slots:
            value = ring[place]
            if value > edge and value != _NO_VALUE:
                edge = value
            place += _METRICS
            if place == end:
                place = self.begin
            slots -= 1
        return edge >= self.points[0] and edge + (rise >> 2) < self.limit

    def is_tooth(self, rise):
        """Tell whether it has fallen as far again and again, from about here or higher.

        About here: a quarter of a fall above where one was from is no tooth any more, nor is one
        that may reach the limit, a 16th of a fall above.
        """
        self.edge = self.crest = 0
        rise -= rise >> 2
        self.falls = self.top = self.older = 0
        oldest = self.find_oldest()
        self.find_falls_of_means(oldest, self.begin + _TIER_VALUES, rise)
        self.find_falls_of_means(self.begin, oldest, rise)
        has_teeth = self.falls >= _MANY_FALLS
        if not self.tier:  # a tooth may be longer than a minute
            self.turn_to(_MINUTES)
            slot = self.history.numbers[_MINUTES] * _METRICS + self.metric
            if slot != self.calm_slot or rise < self.calm_fall:
                self.falls = self.top = 0
                oldest = self.find_oldest()
                self.find_falls(oldest, self.begin + _TIER_VALUES, rise)
                self.find_falls(self.begin, oldest, rise)
                has_teeth = has_teeth or self.falls >= _MANY_FALLS
                self.calm_slot = -1 if self.falls else slot
                self.calm_fall = rise
        return has_teeth and self.points[0] < self.edge and self.crest < self.limit

    def find_falls(self, place, end, least):
        """Note each fall by more than `least`, from the greatest of a minute to the next's least.

        In the ring's slots from a place to an end, which go on from those before.
        """
        ring = self.history.ring
        top = self.top
        place = 2 * place + _EXTREMES
        end = 2 * end + _EXTREMES
        while place < end:
            if top - ring[place] > least:
                self.top = top
                self.note_fall(ring[place])
            top = ring[place + _GREATEST]
            place += 2 * _METRICS
        self.top = top

    def find_falls_of_means(self, place, end, least):
        """Note each fall from a slot to the next but one, as find_falls()."""
        ring = self.history.ring
        older = self.older
        top = self.top
        while place < end:
            if top - ring[place] > least:
                self.top = top
                self.note_fall(ring[place])
            top = older
            older = ring[place]
            place += _METRICS
        self.older = older
        self.top = top

    def note_fall(self, value):
        """Count a fall from `top`, unless nothing is known of that."""
        top = self.top
        if top != _NO_VALUE:
            self.falls += 1
            self.edge = max(self.edge, top + (top - value >> 2))
            self.crest = max(self.crest, top + (top - value >> 4))
