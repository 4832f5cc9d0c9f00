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


def pack(buf, at: int, end: int, values, count: int, put) -> int:
    """Put the integers, bools and None of values[:count] into buf[at:end]; return where they end.

    `put(buf, at, value)` is codec.put_int, which puts what viper does not, and raises.
    """
    index = 0
    while index < count:
        at = put(buf, at, values[index])
        index += 1
    return at


def compare(values, base, places, fields, bias) -> int:
    """Fill in the mask and the changes of a DELTA; return how many fields there are then.

    `fields` is a list of since, mask, ms and room for changes. A change is value - base + bias, at
    each of `places` where the two differ, and its bit is set in the mask. 0: a DELTA cannot tell
    it, because there is no room or because a figure began or ceased to be known.
    """
    room = len(fields)
    count = 3
    mask = 0
    bit = 1
    for place in places:
        value = values[place]
        old = base[place]
        if value != old:
            if value is None or old is None or count >= room:
                return 0
            fields[count] = value - old + bias
            count += 1
            mask |= bit
        bit <<= 1
    fields[1] = mask
    return count


def renew(values, base, places, mask: int) -> None:
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
