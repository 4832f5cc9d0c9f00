"""The loops of `plain` as machine code. Only MicroPython can import this, through `loops`.

Viper checks no bounds of buffers: nothing here reads or writes past what the caller gave as
lengths, and the callers compare those with the buffers first.
"""

from micropython import const

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


@micropython.viper
def crc16(data: ptr8, start: int, end: int, crc: int) -> int:
    """Take data[start:end] into a CRC-16/CCITT-FALSE; what is above 16 bits meanwhile is let be."""
    while start < end:
        high = (crc >> 8 ^ data[start]) & 0xFF
        high ^= high >> 4
        crc = crc << 8 ^ high << 12 ^ high << 5 ^ high
        start += 1
    return crc & 0xFFFF


@micropython.viper
def escape(payload: ptr8, length: int, wire: ptr8, room: int) -> int:
    """Escape payload[:length] into wire[1:room] and close the frame; return where it ends, or 0."""
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


@micropython.viper
def unescape(data: ptr8, at: int, end: int, payload: ptr8, marks: ptr32) -> int:
    """Take data[at:end] up to the end of a frame; return the place after what was taken."""
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
                to = room + 1
    marks[_STATE] = state
    marks[_TO] = to
    return at


# Words of 32 bits hold figures of 31 and a sign: see `plain`. Viper on a 64-bit machine reads them
# without their sign, which _NEGATIVE gives back.
_NONE = const(0xFFFF)
_UNKNOWN = const(-0x40000000)
_NEGATIVE = const(-0x40000000)
_MOST = const(0x3FFFFFFF)
_MAX_FIELDS = const(13)
_BIAS = const(48)
_MAX_S = const(200_000)


@micropython.viper
def pack(buf: ptr8, at: int, words: ptr32, count: int) -> int:
    """Put the figures of words[:count] into buf, from `at` on; return their end."""
    index = 0
    while index < count:
        number = words[index]
        index += 1
        if number >> 31:
            number |= _NEGATIVE
        if number >= 0:
            if number < 0x80:
                buf[at] = number
            elif number < 0x100:
                buf[at] = 0xCC
                at += 1
                buf[at] = number
            elif number < 0x10000:
                buf[at] = 0xCD
                buf[at + 1] = number >> 8
                at += 2
                buf[at] = number
            else:
                buf[at] = 0xCE
                buf[at + 1] = number >> 24
                buf[at + 2] = number >> 16
                buf[at + 3] = number >> 8
                at += 4
                buf[at] = number
        elif number == _UNKNOWN:
            buf[at] = 0xC0
        elif number >= -0x20:
            buf[at] = number
        elif number >= -0x80:
            buf[at] = 0xD0
            at += 1
            buf[at] = number
        elif number >= -0x8000:
            buf[at] = 0xD1
            buf[at + 1] = number >> 8
            at += 2
            buf[at] = number
        else:
            buf[at] = 0xD2
            buf[at + 1] = number >> 24
            buf[at + 2] = number >> 16
            buf[at + 3] = number >> 8
            at += 4
            buf[at] = number
        at += 1
    return at


@micropython.viper
def copy(words: ptr32, to: ptr32, count: int):
    """Copy words[:count]."""
    index = 0
    while index < count:
        to[index] = words[index]
        index += 1


@micropython.viper
def compare(
    values: ptr32, base: ptr32, places: ptr8, lasting: int, count: int, fields: ptr32
) -> int:
    """Fill in a DELTA's fields but the first; return how many there are then, or 0."""
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
            if value >> 31:
                value |= _NEGATIVE
            if old >> 31:
                old |= _NEGATIVE
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


@micropython.viper
def shrink(values: ptr32, places: ptr8, shifts: ptr8, row: ptr16, count: int):
    """Put figures into row[:count], shifted so that 16 bits hold them."""
    index = 0
    while index < count:
        value = values[places[index]]
        if value >> 31:  # unknown: none of these is negative
            value = _NONE
        else:
            value >>= shifts[index]
            if value >= _NONE:
                value = _NONE - 1
        row[index] = value
        index += 1


@micropython.viper
def crossed(values: ptr32, rows: ptr32, row: int, count: int) -> int:
    """Return the first of rows[row:count] that has to be looked at, or -1."""
    while row < count:
        at = row << 2
        place = rows[at]
        if place >> 31 == 0:
            if rows[at + 3] != 0:
                return row
            value = values[place]
            edge = rows[at + 1]
            if value >> 31:
                value |= _NEGATIVE
            if edge >> 31:
                edge |= _NEGATIVE
            if value != _UNKNOWN:
                if rows[at + 2] != 0:
                    if value <= edge:
                        return row
                elif value >= edge:
                    return row
        row += 1
    return -1


@micropython.viper
def known(values: ptr32, count: int) -> int:
    """Return a bit for each of values[:count] that is known, the lowest for the first; up to 30."""
    mask = 0
    index = 0
    while index < count:
        value = values[index]
        if value >> 31:
            value |= _NEGATIVE
        if value != _UNKNOWN:
            mask |= 1 << index
        index += 1
    return mask


_none = None  # viper can compare with a name only


@micropython.viper
def put(words: ptr32, at: int, first, second, third, fourth):
    """Put four figures into words[at:]; None, and what a figure cannot be, is not known."""
    none = _none
    if first is none:
        words[at] = _UNKNOWN
    else:
        number = int(first)
        if number > _MOST or number < -_MOST:
            number = _UNKNOWN
        words[at] = number
    if second is none:
        words[at + 1] = _UNKNOWN
    else:
        number = int(second)
        if number > _MOST or number < -_MOST:
            number = _UNKNOWN
        words[at + 1] = number
    if third is none:
        words[at + 2] = _UNKNOWN
    else:
        number = int(third)
        if number > _MOST or number < -_MOST:
            number = _UNKNOWN
        words[at + 2] = number
    if fourth is none:
        words[at + 3] = _UNKNOWN
    else:
        number = int(fourth)
        if number > _MOST or number < -_MOST:
            number = _UNKNOWN
        words[at + 3] = number


# A governor's state: see `device/warden/governor.py`.
_BUDGET = const(0)
_WANTED = const(1)
_INTERVAL = const(2)
_COST_US = const(3)
_REST = const(4)
_SMOOTH_SHIFT = const(2)
_STEP = const(64)
_REST_SHIFT = const(6)
_MAX_STRETCHED_MS = const(60_000)


@micropython.viper
def govern(state: ptr32, cost_us: int, busy_us: int, period_ms: int):
    """Take what a sample cost, and set the interval so that it keeps to the budget."""
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
            rest = (busy_us - mean << _REST_SHIFT) // period_ms
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
        if interval < state[_WANTED]:
            interval = state[_WANTED]
        state[_INTERVAL] = interval


@micropython.viper
def flat(payload: ptr8, length: int, words: ptr32, most: int) -> int:
    """Take an array of at most `most` small integers and nils into words; return how many, or 0."""
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
_SLOTS_A_POINT = const(5)


@micropython.viper
def gather(cells: ptr32, row: ptr16, metrics: int):
    """Take row[:metrics] into the cells of a slot that is open."""
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


@micropython.viper
def file(cells: ptr32, ring: ptr16, to: int, longer: ptr32, metrics: int, last: int):
    """Put what a slot's cells gathered into ring[to:], and forget it."""
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


@micropython.viper
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


@micropython.viper
def over(timed) -> int:
    """Return a bit for each row of a table whose end has come; see plain.over."""
    due = ptr32(timed.due)
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


@micropython.viper
def put_off(timed, row: int, ms: int):
    """Have a row of a table (see `over`) end so many milliseconds from now, at most 2**30 - 1."""
    due = ptr32(timed.due)
    clock = timed.clock
    ms += int(clock.ms)
    s = int(clock.s) + ms // 1000
    ms %= 1000
    due[row] = s
    due[int(timed.rows) + row] = ms
    if s <= int(clock.next_s):
        clock.sooner(s, ms)


@micropython.viper
def means(
    ring: ptr16, newest: int, slots: int, stride: int, at: int, points: ptr32, most: int
) -> int:
    """Put the means of every five slots of a ring into points[:most], newest first."""
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


@micropython.viper
def rises(points: ptr32, count: int) -> int:
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
