"""The loops over bytes in bytecode, which runs everywhere. `fast` has the same ones in viper.

`loops` chooses; a test holds the two equal. They check no bounds, because viper cannot: who calls
them has compared places and lengths with the buffers.
"""

try:
    from micropython import const
except ImportError:  # CPython

    def const(value: int) -> int:
        """Stand for MicroPython's compile-time constant."""
        return value


# As in `frame`.
_DELIMITER = const(0xC0)
_ESCAPE = const(0x7D)
_CONTROLS = const(0x140A243F)
_IN_TEXT = const(0)
_OPENED = const(1)
_IN_FRAME = const(2)
_IN_ESCAPE = const(3)

# A Reader's marks: see `frame`.
_STATE = const(0)
_TO = const(1)
_ROOM = const(2)
_BAD = const(3)
_LENGTH = const(4)
_FOUND = const(5)
_ITEMS = const(6)
_FIRST = const(7)
_MARKS = const(20)


def crc16(data, start: int, end: int, crc: int) -> int:
    """Take data[start:end] into a CRC-16/CCITT-FALSE.

    Without a table: in bytecode too three shifts are quicker than two look-ups.
    """
    while start < end:
        high = (crc >> 8 ^ data[start]) & 0xFF
        high ^= high >> 4
        crc = (crc << 8 ^ high << 12 ^ high << 5 ^ high) & 0xFFFF
        start += 1
    return crc & 0xFFFF


def escape(payload, length: int, wire, room: int) -> int:
    """Escape payload[:length] into wire[1:room] and close the frame; return where it ends, or 0.

    0: it does not fit, counting an escaped byte's two also where there is one left to put.
    """
    last = room - 2
    to = 1
    at = 0
    while at < length:
        if to >= last:
            return 0
        byte = payload[at]
        if byte == _DELIMITER or byte == _ESCAPE or (byte < 32 and _CONTROLS >> byte & 1):
            wire[to] = _ESCAPE
            to += 1
            byte ^= 0x20
        wire[to] = byte
        to += 1
        at += 1
    wire[to] = _DELIMITER
    return to + 1


# Figures are words of 32 bits, array("i"): from -2**30 + 1 to 2**30 - 1, so that no board has to
# make an object of one, and this for one that the board cannot tell.
_NONE = const(0xFFFF)
_UNKNOWN = const(-0x40000000)
_MOST = const(0x3FFFFFFF)
_MAX_FIELDS = const(13)  # of a DELTA: since, mask, ms and the changes
_BIAS = const(48)
_MAX_S = const(200_000)  # more than that between two samples, and the next one is told whole


def pack(buf, at: int, words, count: int) -> int:
    """Put the figures of words[:count] into buf, from `at` on; return where they end.

    As msgpack has them, nil for what is not known; at most 5 bytes each, which must be there.
    """
    index = 0
    while index < count:
        at = _pack_one(buf, at, words[index])
        index += 1
    return at


def pack_row(buf, at: int, row, count: int) -> int:
    """Put row[:count], figures, bools and None, into buf, from `at` on; return where they end.

    As `pack` does; nil for what a figure cannot be.
    """
    index = 0
    while index < count:
        item = row[index]
        if item is True or item is False:
            buf[at] = 0xC3 if item else 0xC2
            at += 1
        else:
            at = _pack_one(buf, at, _word(item))
        index += 1
    return at


def _pack_one(buf, at: int, number: int) -> int:
    if number == _UNKNOWN:
        buf[at] = 0xC0
    elif -0x20 <= number < 0x80:
        buf[at] = number & 0xFF
    else:
        head = 0xCC if number >= 0 else 0xD0
        size = 1
        if not (-0x80 <= number < 0x100):
            head += 1
            size = 2
        if not (-0x8000 <= number < 0x10000):
            head += 1
            size = 4
        buf[at] = head
        shift = size * 8
        while shift:
            shift -= 8
            at += 1
            buf[at] = number >> shift & 0xFF
    return at + 1


def copy(words, to, count: int) -> None:
    """Copy words[:count]."""
    index = 0
    while index < count:
        to[index] = words[index]
        index += 1


def compare(values, base, places, lasting: int, count: int, fields) -> int:
    """Fill in a DELTA's fields but the first; return how many there are then.

    values, base: samples, as they are and as the host has them; places[:lasting]: where they must
    be equal; places[lasting:count]: where they may differ. A change is value - base, and its bit is
    set in the mask. 0: a DELTA cannot tell it, because there are too many changes, or one too
    great, or because a figure began or ceased to be known.
    """
    index = 0
    while index < lasting:
        place = places[index]
        if values[place] != base[place]:
            return 0
        index += 1
    passed = values[0] - base[0]
    if passed < 0 or passed > _MAX_S:
        return 0
    passed = passed * 1000 + values[1] - base[1]
    if passed < 0:
        return 0
    fields[2] = passed - values[2] + _BIAS
    found = 3
    mask = 0
    bit = 1
    while index < count:
        place = places[index]
        value = values[place]
        old = base[place]
        if value != old:
            change = value - old + _BIAS
            if value == _UNKNOWN or old == _UNKNOWN or found >= _MAX_FIELDS:
                return 0
            if change > _MOST or change < -_MOST:
                return 0
            fields[found] = change
            found += 1
            mask |= bit
        bit <<= 1
        index += 1
    fields[1] = mask
    return found


def shrink(values, places, shifts, row, count: int) -> None:
    """Put the figures at places[:count] into the row, shifted so that 16 bits hold them.

    row is array("H"); 0xFFFF for what is not known. None of these figures is negative.
    """
    index = 0
    while index < count:
        value = values[places[index]]
        if value < 0:
            value = _NONE
        else:
            value >>= shifts[index]
            if value >= _NONE:
                value = _NONE - 1
        row[index] = value
        index += 1


def crossed(values, rows, row: int, count: int) -> int:
    """Return the first of rows[row:count] that has to be looked at, or -1.

    A row is four words: the place of its figure, negative if the row is free; its edge, which a
    good figure does not reach; whether that is so from above; and whether it is to be looked at
    whatever its figure is.
    """
    while row < count:
        at = row << 2
        place = rows[at]
        if place >= 0:
            if rows[at + 3] != 0:
                return row
            value = values[place]
            edge = rows[at + 1]
            if value != _UNKNOWN and (value <= edge if rows[at + 2] else value >= edge):
                return row
        row += 1
    return -1


def known(values, count: int) -> int:
    """Return a bit for each of values[:count] that is known, the lowest for the first; up to 30."""
    mask = 0
    index = 0
    while index < count:
        value = values[index]
        if value != _UNKNOWN:
            mask |= 1 << index
        index += 1
    return mask


def put(words, at: int, first, second, third, fourth) -> None:
    """Put four figures into words[at:]; None, and what a figure cannot be, is not known."""
    words[at] = _word(first)
    words[at + 1] = _word(second)
    words[at + 2] = _word(third)
    words[at + 3] = _word(fourth)


def _word(value) -> int:
    return _UNKNOWN if value is None or not -_MOST <= value <= _MOST else value


# A governor's state: see `device/warden/governor.py`.
_BUDGET = const(0)
_WANTED = const(1)
_INTERVAL = const(2)
_COST_US = const(3)
_REST = const(4)
_SMOOTH_SHIFT = const(2)  # a sample counts a quarter in the means,
_STEP = const(64)  # and at most as twice the mean and so much, so that one of 0 can rise
_REST_SHIFT = const(6)
_MAX_STRETCHED_MS = const(60_000)


def govern(state, cost_us: int, busy_us: int, period_ms: int) -> None:
    """Take what a sample cost, and set the interval so that it keeps to the budget.

    state is array("i"), as in `device/warden/governor.py`. All of what is in it and comes here is
    so small that nothing exceeds 31 bits.
    """
    mean = state[_COST_US]
    if mean > 0:
        most = 2 * mean + _STEP
        if cost_us > most:
            cost_us = most
        mean += (cost_us - mean) >> _SMOOTH_SHIFT
    else:
        mean = cost_us
    state[_COST_US] = mean
    interval = state[_INTERVAL]
    if interval == 0:
        return
    if period_ms > 0:
        rest = 0
        if busy_us > mean:
            rest = (busy_us - mean << _REST_SHIFT) // period_ms  # µs / ms: permille
        others = state[_REST]
        most = 2 * others + _STEP
        if rest > most:
            rest = most
        state[_REST] = others + ((rest - others) >> _SMOOTH_SHIFT)
    budget = state[_BUDGET]
    left = (budget << _REST_SHIFT) - budget - state[_REST]
    least = budget << (_REST_SHIFT - 2)
    if left < least:
        left = least
    needed = (mean << _REST_SHIFT) // left + 1
    if needed > interval or needed < interval - (interval >> 2):
        interval = needed + (needed >> 3)
        if interval > _MAX_STRETCHED_MS:
            interval = _MAX_STRETCHED_MS
        # What was asked for may be longer than any stretched one.
        if interval < state[_WANTED]:
            interval = state[_WANTED]
        state[_INTERVAL] = interval


def take(data, at: int, end: int, payload, marks) -> int:
    """Take data[at:end] up to the end of a whole frame; return the place after what was taken.

    `marks` is array("i"), see `frame`: the state, bytes put into `payload` so far (one more than
    its room once the frame was too long), that room, damaged frames, and the length of the whole
    payload that is there now, or 0. If that is an array of small integers (not negative, below
    2**30) and nils, of which the last may be an array of such, they are there as well: how many
    there are (or 0), how many that last one has (or -1), and all of them, those of the last
    instead of it, as far as there are marks.
    """
    state = marks[_STATE]
    to = marks[_TO]
    room = marks[_ROOM]
    length = 0
    while at < end:
        byte = data[at]
        at += 1
        if byte == _DELIMITER:
            if state == _IN_FRAME:
                # The CRC of what ends with its own CRC is 0.
                if 2 < to <= room and crc16(payload, 0, to, 0xFFFF) == 0:
                    length = to - 2
                    state = _IN_TEXT
                    break
                marks[_BAD] += 1
            elif state == _IN_ESCAPE:
                marks[_BAD] += 1
            # That of a damaged frame may be the next one's first: what follows it decides.
            state = _OPENED
        elif state != _IN_TEXT:
            if state == _OPENED:
                if byte < 0x91 or byte > 0x9F:
                    state = _IN_TEXT
                    continue
                state = _IN_FRAME
                to = 0
            elif byte < 32 and _CONTROLS >> byte & 1:
                # Never inside a frame: its end was lost, and this is text again.
                marks[_BAD] += 1
                state = _IN_TEXT
                continue
            elif byte == _ESCAPE and state == _IN_FRAME:
                state = _IN_ESCAPE
                continue
            elif state == _IN_ESCAPE:
                byte ^= 0x20
                state = _IN_FRAME
            if to < room:
                payload[to] = byte
                to += 1
            else:
                to = room + 1  # too long, whatever follows
    marks[_STATE] = state
    marks[_TO] = to
    marks[_LENGTH] = length
    marks[_FOUND] = 0
    if length:
        _flat(payload, length, marks)
    return at


def _flat(payload, length: int, marks) -> None:
    """Take the integers of a payload into the marks, if they are as `take` says."""
    count = left = payload[0] - 0x90
    items = -1
    place = 1
    index = _FIRST
    while left > 0:
        if place >= length or index >= _MARKS:
            return
        head = payload[place]
        place += 1
        left -= 1
        if head >= 0x80:
            if head == 0xC0:
                head = _UNKNOWN
            elif head & 0xF0 == 0x90:
                if left > 0 or items >= 0:
                    return
                left = items = head - 0x90
                continue
            else:
                size = 1 << (head & 3)
                if head < 0xCC or head > 0xCE or place + size > length:
                    return
                last = place + size
                head = 0
                while place < last:
                    if head > 0x3FFFFF:
                        return
                    head = head << 8 | payload[place]
                    place += 1
        marks[index] = head
        index += 1
    marks[_FOUND] = count
    marks[_ITEMS] = items


def taken(entries, due, count: int) -> int:
    """Note in due[:count] which of entries[:count], a list, are there; return a bit for each."""
    mask = 0
    row = 0
    while row < count:
        if entries[row] is None:
            due[row] = 0
        else:
            due[row] = 1
            mask |= 1 << row
        row += 1
    return mask


# Of an agent that rests: see `device/warden/agent.py`.
_STEPPING = const(0)
_NOW = const(1)
_ARRIVED = const(2)
_RESTED = const(3)
_REST_US = const(4)
_MASK = const(5)
_IDLE = const(6)
_READING = const(7)
_LOW_BITS = const(0x3FFFFFFF)
_BUSY_MS = const(10)


def look(resting, news, read, chunk, ticks_us) -> int:
    """See whether there is something to do; return the ms until there is, or 0 if there is.

    resting is array("i") of: whether a step is being made already (then it is 10 ms), which is so
    from now on if there is something to do; the ticks_us now, its lowest bits; what read(chunk)
    gave; when the rest began, and how long it is, if there is no news, in µs; the mask of ticks;
    how often nothing was found since it began; and whether more is to be read of a heap.
    The first time nothing is found the ms are negative, and the step goes on.
    """
    if resting[_STEPPING]:
        return _BUSY_MS
    resting[_STEPPING] = 1
    now = ticks_us() & _LOW_BITS
    resting[_NOW] = now
    count = read(chunk)
    resting[_ARRIVED] = count
    if count == 0 and news[0] == 0 and resting[_READING] == 0:
        left = resting[_REST_US] - (now - resting[_RESTED] & resting[_MASK])
        if left > 0:
            left = left // 1000 + 1
            idle = resting[_IDLE]
            resting[_IDLE] = idle + 1
            if idle == 0:
                return -left
            resting[_STEPPING] = 0
            return left
    return 0


# A history's figures: see `device/warden/history.py`.
_MIN = const(0)
_MAX = const(1)
_SUM = const(2)
_COUNT = const(3)
_FIELDS = const(4)
_STATS = const(3)
_SLOTS_A_POINT = const(5)  # of a forecast: see `device/warden/forecast.py`


def gather(cells, row, metrics: int) -> None:
    """Take row[:metrics] into the cells of a slot that is open.

    row is array("H"), 0xFFFF for no value; cells array("i"): least, greatest, sum and count of each
    metric.
    """
    metric = 0
    at = 0
    while metric < metrics:
        value = row[metric]
        if value != _NONE:
            if cells[at + _COUNT] == 0:
                cells[at + _MIN] = value
                cells[at + _MAX] = value
                cells[at + _SUM] = value
            else:
                if value < cells[at + _MIN]:
                    cells[at + _MIN] = value
                if value > cells[at + _MAX]:
                    cells[at + _MAX] = value
                cells[at + _SUM] += value
            cells[at + _COUNT] += 1
        at += _FIELDS
        metric += 1


def file(cells, ring, to: int, longer, metrics: int, last: int) -> None:
    """Put what a slot's cells gathered into ring[to:], and forget it.

    ring is array("H"): least, mean and greatest of each metric. Unless `last` is 1, they are
    gathered into the cells of the longer slot too.
    """
    end = metrics * _FIELDS
    at = 0
    while at < end:
        count = cells[at + _COUNT]
        if count == 0:
            ring[to] = _NONE
            ring[to + 1] = _NONE
            ring[to + 2] = _NONE
        else:
            cells[at + _COUNT] = 0
            least = cells[at + _MIN]
            mean = cells[at + _SUM]
            if count > 1:
                mean = mean // count
            greatest = cells[at + _MAX]
            ring[to] = least
            ring[to + 1] = mean
            ring[to + 2] = greatest
            if last == 0:
                if longer[at + _COUNT] == 0:
                    longer[at + _MIN] = least
                    longer[at + _MAX] = greatest
                    longer[at + _SUM] = mean
                else:
                    if least < longer[at + _MIN]:
                        longer[at + _MIN] = least
                    if greatest > longer[at + _MAX]:
                        longer[at + _MAX] = greatest
                    longer[at + _SUM] += mean
                longer[at + _COUNT] += 1
        to += _STATS
        at += _FIELDS


def means(ring, newest: int, slots: int, stride: int, at: int, points, most: int) -> int:
    """Put the means of every five slots of a ring into points[:most], newest first.

    ring is array("H"), `stride` figures a slot, of which the one `at` is looked at; newest: the
    slot to begin with. Return how many there are: it ends with five slots that have no value.
    """
    count = 0
    left = slots
    slot = newest
    while count < most:
        total = 0
        filled = 0
        end = left - _SLOTS_A_POINT
        if end < 0:
            break
        while left > end:
            figure = ring[slot * stride + at]
            if figure != _NONE:
                total += figure
                filled += 1
            slot -= 1
            if slot < 0:
                slot = slots - 1
            left -= 1
        if filled == 0:
            break
        points[count] = total // filled
        count += 1
    return count


def rises(points, count: int) -> int:
    """Return Kendall's S of points[:count], newest first: pairs that rise less those that fall."""
    s = 0
    newer = 0
    while newer < count:
        figure = points[newer]
        older = newer + 1
        while older < count:
            other = points[older]
            if figure > other:
                s += 1
            elif figure < other:
                s -= 1
            older += 1
        newer += 1
    return s
