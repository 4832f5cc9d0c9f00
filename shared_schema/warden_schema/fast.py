"""The loops of `plain` as machine code. Only MicroPython can import this, through `loops`.

Viper checks no bounds of buffers: nothing here reads or writes past what the caller gave as
lengths, and the callers compare those with the buffers first. Lists are objects, and checked.
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


_MOST = const(0x3FFFFFFF)  # a small integer also where they have 31 bits
# Viper can neither compare with None nor make an object of a number; these two do it for it.
_none = None
_small = range(_MOST)


@micropython.viper
def pack(buf, at: int, end: int, values, count: int, put) -> int:
    """Put the integers, bools and None of values[:count] into buf[at:end]; return their end."""
    out = ptr8(buf)
    none = _none
    small = _small
    last = end - 5  # the most that is put here
    index = 0
    while index < count:
        value = values[index]
        index += 1
        if at < 0 or at > last:
            at = int(put(buf, at, value))
            continue
        if value is none:
            out[at] = 0xC0
            at += 1
            continue
        number = int(value)
        if number < 0 or number >= _MOST:
            at = int(put(buf, at, value))
            continue
        # int() makes a number of a bool too, and cuts a long integer: neither is the object that
        # the number gives.
        if small[number] is value:
            pass
        else:
            at = int(put(buf, at, value))
            continue
        if number < 0x80:
            out[at] = number
            at += 1
        elif number < 0x100:
            out[at] = 0xCC
            out[at + 1] = number
            at += 2
        elif number < 0x10000:
            out[at] = 0xCD
            out[at + 1] = number >> 8
            out[at + 2] = number
            at += 3
        else:
            out[at] = 0xCE
            out[at + 1] = number >> 24
            out[at + 2] = number >> 16
            out[at + 3] = number >> 8
            out[at + 4] = number
            at += 5
    return at


@micropython.viper
def compare(values, base, places, fields, bias) -> int:
    """Fill in the mask and the changes of a DELTA; return how many fields there are then, or 0."""
    none = _none
    room = int(len(fields))
    count = 3
    mask = 0
    bit = 1
    for place in places:
        value = values[place]
        old = base[place]
        # Most have not changed, and are the very same small integer: the quickest of questions.
        if value is old:
            pass
        elif value != old:
            if value is none or old is none or count >= room:
                return 0
            fields[count] = value - old + bias
            count += 1
            mask |= bit
        bit <<= 1
    fields[1] = mask
    return count


@micropython.viper
def renew(values, base, places, mask: int):
    """Set base to values at those of `places` whose bit is set in the mask."""
    for place in places:
        if mask & 1:
            base[place] = values[place]
        mask >>= 1


# A history's figures: see `device/warden/history.py`.
_NONE = const(0xFFFF)
_MIN = const(0)
_MAX = const(1)
_SUM = const(2)
_COUNT = const(3)
_FIELDS = const(4)
_STATS = const(3)


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
