"""The msgpack subset of the protocol: nil, bool, integers, str, bin and arrays.

Encoding goes into the caller's buffer and gives the same bytes as the `msgpack` package.
Decoding is bounded: what a length claims is checked against the bytes that are there before
anything is made of it.

On MicroPython, putting None, a bool, an integer below 2**30 or a text of up to 40 bytes allocates
nothing, provided that a text has 44 bytes of the buffer from its place on.
"""

import sys
from struct import pack_into

# MicroPython's struct copies a str as its UTF-8, without an object in between; CPython's refuses.
_PACKS_STR = sys.implementation.name == "micropython"


Malformed = ValueError  # bytes that are not a payload: a class of its own would take 120 bytes


def put(buf: bytearray, at: int, value: object) -> int:
    """Put any value of the subset; return where the next item goes.

    A text or bytes may have up to 255 bytes. Raises TypeError for another type, OverflowError for
    an integer beyond 64 bits, and IndexError, ValueError or struct.error where the buffer ends.
    """
    if value is None:
        buf[at] = 0xC0
    elif value is True or value is False:
        buf[at] = 0xC3 if value else 0xC2
    elif not isinstance(value, int):
        return put_object(buf, at, value)
    elif -0x20 <= value < 0x80:
        buf[at] = value & 0xFF
    else:
        head = 0xCC
        size = 8  # in bits: 8, 16, 32 or 64
        while value >> size and value >> size - 1 != -1:
            head += 1
            size += size
        if size > 64:
            raise OverflowError
        buf[at] = head if value >= 0 else head + 4
        end = at + (size >> 3)
        place = end
        while place > at:  # the lowest byte is the last
            buf[place] = value & 0xFF
            value >>= 8
            place -= 1
        at = end
    return at + 1


def put_array(buf: bytearray, at: int, count: int) -> int:
    """Put the head of an array of `count` items (up to 65 535); return where they go."""
    if count < 16:
        buf[at] = 0x90 | count
        return at + 1
    buf[at] = 0xDC
    buf[at + 1] = count >> 8
    buf[at + 2] = count & 0xFF
    return at + 3


def put_object(buf: bytearray, at: int, value: object) -> int:
    """Put a text, bytes or an array."""
    head = 0xC4
    if isinstance(value, str):
        if _PACKS_STR and len(buf) - at > 43:
            pack_into("41s", buf, at + 1, value)  # what is left of the 41 is zeros
            count = buf.find(b"\x00", at + 1) - at - 1
            if 0 <= count <= 40 and (count == len(value) or "\x00" not in value):
                if count < 32:
                    buf[at] = 0xA0 | count
                else:
                    buf[at] = 0xD9
                    at += 1
                    pack_into("41s", buf, at + 1, value)
                    buf[at] = count
                return at + 1 + count
        head = 0xD9
        value = value.encode()
    elif isinstance(value, list) or isinstance(value, tuple):  # both at once: a tuple each time
        at = put_array(buf, at, len(value))
        count = 0
        while count < len(value):  # a `for` would have its frame in the heap
            at = put(buf, at, value[count])
            count += 1
        return at
    elif not (isinstance(value, bytes) or isinstance(value, bytearray)):
        raise TypeError
    count = len(value)
    if count > 255 or at + 2 + count > len(buf):  # else the assignment would make it longer
        raise IndexError  # no room
    if head == 0xD9 and count < 32:
        buf[at] = 0xA0 | count
    else:
        buf[at] = head
        at += 1
        buf[at] = count
    at += 1
    buf[at : at + count] = value
    return at + count


def cut(text: str, limit: int) -> str:
    """Return text, cut at a character so that it takes at most `limit` bytes of UTF-8.

    A NUL in it becomes a space. With no memory left, a text of at most `limit` characters is
    taken for ASCII. TypeError for what is no text: no host could read it.
    """
    if not isinstance(text, str):
        raise TypeError("a name must be a str")
    if "\x00" in text:
        text = text.replace("\x00", " ")
    while len(text) * 4 > limit:
        try:
            if len(text.encode()) <= limit:
                break
        except MemoryError:
            if len(text) <= limit:
                break
            raise
        text = text[: min(limit, len(text) - 1)]
    return text


class Reader:
    """Reads items one after the other from buf[at:end]; raises Malformed, and nothing else.

    `warden_schema.values` reads what is no integer.
    """

    def __init__(self, buf: bytes | bytearray, at: int, end: int) -> None:
        self.buf = buf
        self.at = at  # where the next item is
        self.end = end

    def integer(self) -> int | None:
        """Read an integer or None; allocates nothing for a positive one below 2**30."""
        at = self.at
        if at >= self.end:
            raise Malformed  # it ends early
        self.at = at + 1
        head = self.buf[at]
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if head == 0xC0:
            return None
        if head < 0xCC or head > 0xD3:
            raise Malformed  # not an integer
        size = 1 << (head & 3)
        end = at + 1 + size
        if end > self.end:
            raise Malformed  # it ends early
        self.at = end
        value = 0
        while at < end - 1:
            at += 1
            value = value << 8 | self.buf[at]
        if head >= 0xD0 and value >> 8 * size - 1:
            value -= 1 << 8 * size
        return value
