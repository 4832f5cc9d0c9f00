"""The loops over a frame's bytes as machine code; `loops_plain` has the same in bytecode.

They check no bounds: the caller compares lengths with the buffers. docs/fast.md has what they save.
"""

from micropython import const

_DELIMITER = const(0xC0)
_ESCAPE = const(0x7D)
_CONTROLS = const(0x140A243F)  # a bit for each control character that is escaped

# Of a deframer's progress.
_STATE = const(0)
_TO = const(1)
_LIMIT = const(2)
_BAD = const(3)
_SIZE = const(4)

# States.
_IN_TEXT = const(0)
_OPENED = const(1)
_IN_FRAME = const(2)
_IN_ESCAPE = const(3)


@micropython.viper
def crc16(data: ptr8, start: int, end: int) -> int:
    """CRC-16/CCITT-FALSE of data[start:end]; what is above 16 bits meanwhile does no harm."""
    crc = 0xFFFF
    while start < end:
        high = (crc >> 8 ^ data[start]) & 0xFF
        high ^= high >> 4
        crc = crc << 8 ^ high << 12 ^ high << 5 ^ high
        start += 1
    return crc & 0xFFFF


@micropython.viper
def stuff(payload: ptr8, length: int, wire: ptr8) -> int:
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


@micropython.viper
def unstuff(data: ptr8, at: int, end: int, payload: ptr8, progress: ptr32) -> int:
    """Undo `stuff` on data[at:end] up to the end of a frame; return where it stopped."""
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
