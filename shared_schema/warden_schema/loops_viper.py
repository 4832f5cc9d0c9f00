"""The loops over bytes and words as machine code; `loops_plain` has the same in bytecode.

They check no bounds: the caller compares lengths with the buffers. docs/fast.md has what they save.
"""

from micropython import const

_DELIMITER = const(0xC0)
_ESCAPE = const(0x7D)
_CONTROLS = const(0x140A243F)  # a bit for each control character that is escaped

# Of a deframer's progress.
_TO = const(0)
_LIMIT = const(1)
_FLIP = const(2)


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
    """Undo `stuff` on data[at:end] up to a byte that is never inside a frame; return its place."""
    to = progress[_TO]
    flip = progress[_FLIP]
    while at < end:
        byte = data[at]
        if byte == _DELIMITER or (byte < 32 and _CONTROLS >> byte & 1):
            break
        at += 1
        if byte == _ESCAPE and flip == 0:
            flip = 0x20
        else:
            if to < progress[_LIMIT]:
                payload[to] = byte ^ flip
                to += 1
            else:
                to = progress[_LIMIT] + 1
            flip = 0
    progress[_TO] = to
    progress[_FLIP] = flip
    return at


@micropython.viper
def changes(count: int, words: ptr32, last: ptr32) -> int:
    """Return a bit for each of `count` words (up to 30) that is not as it was in `last`."""
    mask = 0
    while count:
        count -= 1
        mask += mask
        if words[count] != last[count]:
            mask += 1
    return mask
