"""The loops over a frame's bytes in bytecode, which runs everywhere; `loops_viper` has the same.

They check no bounds, because viper cannot: the caller compares lengths with the buffers.
"""

try:
    from micropython import const
except ImportError:  # CPython
    const = int

_DELIMITER = const(0xC0)
_ESCAPE = const(0x7D)
_CONTROLS = const(0x140A243F)  # a bit for each control character that is escaped

# Of a deframer's progress, an array("i").
_STATE = const(0)
_TO = const(1)  # bytes in the payload; one more than the limit once the frame is too long
_LIMIT = const(2)
_BAD = const(3)  # frames that were dropped
_SIZE = const(4)  # of the frame that ended, its CRC included, or 0

# States.
_IN_TEXT = const(0)
_OPENED = const(1)
_IN_FRAME = const(2)
_IN_ESCAPE = const(3)


def crc16(data, start: int, end: int) -> int:
    """CRC-16/CCITT-FALSE of data[start:end]; 0 if they end with their own CRC.

    Without a table: three shifts are quicker than two look-ups, in bytecode too.
    """
    crc = 0xFFFF
    while start < end:
        high = crc >> 8 ^ data[start]
        high ^= high >> 4
        crc = (crc << 8 ^ high << 12 ^ high << 5 ^ high) & 0xFFFF
        start += 1
    return crc


def stuff(payload, length: int, wire) -> int:
    """Escape payload[:length] into wire[1:], put a delimiter after it; return where that ends."""
    to = 1
    at = 0
    while at < length:
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


def unstuff(data, at: int, end: int, payload, progress) -> int:
    """Undo `stuff` on data[at:end] up to the end of a frame; return where it stopped.

    The frame is then in the payload, its size in the progress: its CRC is for the caller to check.
    The delimiter that ends a damaged frame may open the next one: what follows it decides.
    """
    state = progress[_STATE]
    to = progress[_TO]
    limit = progress[_LIMIT]
    size = 0
    while at < end and size == 0:
        byte = data[at]
        at += 1
        if byte == _DELIMITER:
            if state == _IN_FRAME and to > 2 and to <= limit:
                size = to
            elif state >= _IN_FRAME:
                progress[_BAD] += 1
            state = _OPENED
        elif state == _IN_TEXT:
            pass
        elif state == _OPENED and (byte < 0x91 or byte > 0x9F):
            state = _IN_TEXT
        elif byte < 32 and _CONTROLS >> byte & 1:
            # Never inside a frame: its end was lost, and this is text again.
            progress[_BAD] += 1
            state = _IN_TEXT
        elif byte == _ESCAPE and state == _IN_FRAME:
            state = _IN_ESCAPE
        else:
            if state == _OPENED:
                to = 0
            elif state == _IN_ESCAPE:
                byte ^= 0x20
            state = _IN_FRAME
            if to < limit:
                payload[to] = byte
                to += 1
            else:
                to = limit + 1
    progress[_STATE] = state
    progress[_TO] = to
    progress[_SIZE] = size
    return at
