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
_CLOSED = const(4)

# A Reader's marks.
_STATE = const(0)
_TO = const(1)
_ROOM = const(2)
_BAD = const(3)


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


def unescape(data, at: int, end: int, payload, marks) -> int:
    """Take data[at:end] up to the end of a frame; return the place after what was taken.

    `marks` is array("i") of state, bytes put into `payload` so far (one more than its room once
    the frame was too long), that room, and damaged frames. A frame that ended leaves the state
    _CLOSED: whether it is whole is for the caller to say.
    """
    state = marks[_STATE]
    to = marks[_TO]
    room = marks[_ROOM]
    while at < end:
        byte = data[at]
        at += 1
        if byte == _DELIMITER:
            if state == _IN_FRAME:
                state = _CLOSED
                break
            if state == _IN_ESCAPE:
                # This delimiter may be the next frame's first: what follows it decides.
                marks[_BAD] += 1
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
    return at


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
        number = words[index]
        index += 1
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
        at += 1
    return at


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


def flat(payload, length: int, words, most: int) -> int:
    """Take an array of at most `most` small integers and nils into words; return how many, or 0.

    Integers below 2**30 that are not negative. 0: payload[:length] begins with something else.
    """
    if length < 1:
        return 0
    count = payload[0] - 0x90
    if count < 1 or count > most:
        return 0
    at = 1
    index = 0
    while index < count:
        if at >= length:
            return 0
        head = payload[at]
        at += 1
        if head >= 0x80:
            if head == 0xC0:
                head = _UNKNOWN
            else:
                size = 1 << (head & 3)
                if head < 0xCC or head > 0xCE or at + size > length:
                    return 0
                end = at + size
                head = 0
                while at < end:
                    if head > 0x3FFFFF:
                        return 0
                    head = head << 8 | payload[at]
                    at += 1
        words[index] = head
        index += 1
    return count


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


def note(events, kind, subject, detail, value):
    """Put an event into events.ring, a list of sixteen times six, and have it told."""
    number = int(events.seq)
    ring = events.ring
    clock = events.clock
    at = (number & 15) * 6
    ring[at] = kind
    ring[at + 1] = clock.s
    ring[at + 2] = clock.ms
    ring[at + 3] = subject
    ring[at + 4] = detail
    ring[at + 5] = value
    events.seq = number + 1
    clock.news[0] = 1
    events.changed()


def over(timed) -> int:
    """Return a bit for each row of a table whose end has come.

    timed.due: array("i"), the seconds of all rows and then the milliseconds of all; 2**30 - 1 s is
    never. timed.clock: says what time it is, and hears of the soonest end still to come.
    """
    due = timed.due
    rows = int(timed.rows)
    clock = timed.clock
    s = int(clock.s)
    ms = int(clock.ms)
    mask = 0
    soonest_s = _MOST
    soonest_ms = 0
    row = 0
    while row < rows:
        due_s = due[row]
        due_ms = due[rows + row]
        if due_s < s or (due_s == s and due_ms <= ms):
            mask |= 1 << row
        elif due_s < soonest_s or (due_s == soonest_s and due_ms < soonest_ms):
            soonest_s = due_s
            soonest_ms = due_ms
        row += 1
    if soonest_s <= int(clock.next_s):
        clock.sooner(soonest_s, soonest_ms)
    return mask


def put_off(timed, row: int, ms: int):
    """Have a row of a table (see `over`) end so many milliseconds from now, at most 2**30 - 1."""
    due = timed.due
    clock = timed.clock
    ms += int(clock.ms)
    s = int(clock.s) + ms // 1000
    ms %= 1000
    due[row] = s
    due[int(timed.rows) + row] = ms
    if s <= int(clock.next_s):
        clock.sooner(s, ms)


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
