"""The loops over a frame's bytes as machine code; `loops_plain` has the same, with what they do.

Nothing here has a constant of more than 16 bits: see docs/fast.md, "ARMv6-M".
"""

from micropython import const

_DELIMITER = const(0xC0)
_ESCAPE = const(0x7D)
_CONTROLS = const(0x243F)  # a bit for each control character that is escaped, 0 to 15
_CONTROLS_16 = const(0x140A)  # 16 to 31

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
    """Escape payload[:length] into `wire`, between delimiters; return where the frame ends."""
    controls = _CONTROLS_16
    controls = controls << 16 | _CONTROLS
    wire[0] = _DELIMITER
    to = 1
    at = 0
    while at < length:
        byte = payload[at]
        if byte == _DELIMITER or byte == _ESCAPE or (byte < 32 and controls >> byte & 1):
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
    controls = _CONTROLS_16
    controls = controls << 16 | _CONTROLS
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
        elif byte < 32 and controls >> byte & 1:
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
