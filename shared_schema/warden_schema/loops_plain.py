"""The loops over bytes and words in bytecode, which runs everywhere; `loops_viper` has the same.

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
_TO = const(0)  # bytes in the payload; one more than the limit once the frame is too long
_LIMIT = const(1)
_FLIP = const(2)  # 0x20 after an escape: what the next byte is XORed with


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
    """Undo `stuff` on data[at:end] up to a byte that is never inside a frame; return where that is.

    Text is not looked for here: the caller finds where a frame begins, and what its end means.
    """
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


def changes(count: int, words, last) -> int:
    """Return a bit for each of `count` words (up to 30) that is not as it was in `last`."""
    mask = 0
    while count:
        count -= 1
        mask += mask
        if words[count] != last[count]:
            mask += 1
    return mask
