"""The msgpack subset: nil, bool, integers of up to 64 bits, str, bin and arrays.

Encoding goes into the caller's buffer and allocates nothing as long as the values do not;
it gives the same bytes as the `msgpack` package. Decoding is bounded: what a length claims is
checked against the bytes that are there before anything is made of it.
"""

try:
    from micropython import const
except ImportError:  # CPython

    def const(value: int) -> int:
        """Stand for MicroPython's compile-time constant."""
        return value


_MAX_DEPTH = const(4)


class Malformed(ValueError):
    """The bytes are not a payload of this protocol."""


def put_int(buf: bytearray, at: int, value: int | None) -> int:
    """Put an integer, a bool or None at buf[at]; return where the next item goes.

    Raises IndexError where the buffer ends, OverflowError beyond 64 bits.
    """
    if value is None:
        buf[at] = 0xC0
    elif value is True or value is False:
        buf[at] = 0xC3 if value else 0xC2
    elif value < 0:
        return _put_negative(buf, at, value)
    elif value < 0x80:
        buf[at] = value
    elif value < 0x100:
        buf[at] = 0xCC
        buf[at + 1] = value
        return at + 2
    elif value < 0x10000:
        buf[at] = 0xCD
        buf[at + 1] = value >> 8
        buf[at + 2] = value & 0xFF
        return at + 3
    elif value >> 32 == 0:
        buf[at] = 0xCE
        return _put_bytes_of(buf, at + 1, value, 4)
    elif value >> 64 == 0:
        buf[at] = 0xCF
        return _put_bytes_of(buf, at + 1, value, 8)
    else:
        raise OverflowError("more than 64 bits")
    return at + 1


def _put_negative(buf: bytearray, at: int, value: int) -> int:
    if value >= -0x20:
        buf[at] = value & 0xFF
        return at + 1
    if value >= -0x80:
        buf[at] = 0xD0
        return _put_bytes_of(buf, at + 1, value, 1)
    if value >= -0x8000:
        buf[at] = 0xD1
        return _put_bytes_of(buf, at + 1, value, 2)
    if value >> 31 == -1:
        buf[at] = 0xD2
        return _put_bytes_of(buf, at + 1, value, 4)
    if value >> 63 == -1:
        buf[at] = 0xD3
        return _put_bytes_of(buf, at + 1, value, 8)
    raise OverflowError("more than 64 bits")


def _put_bytes_of(buf: bytearray, at: int, value: int, count: int) -> int:
    """Put the lowest `count` bytes of value, big-endian."""
    shift = (count - 1) * 8
    while shift >= 0:
        buf[at] = value >> shift & 0xFF
        at += 1
        shift -= 8
    return at


def put_array(buf: bytearray, at: int, count: int) -> int:
    """Put the head of an array of `count` items (up to 65 535); return where they go."""
    if count < 16:
        buf[at] = 0x90 | count
        return at + 1
    buf[at] = 0xDC
    return _put_bytes_of(buf, at + 1, count, 2)


def put_bytes(buf: bytearray, at: int, data: bytes | bytearray | memoryview) -> int:
    """Put bytes (any buffer of up to 65 535) as bin; return where the next item goes."""
    count = len(data)
    if count < 0x100:
        buf[at] = 0xC4
        buf[at + 1] = count
        at += 2
    else:
        buf[at] = 0xC5
        at = _put_bytes_of(buf, at + 1, count, 2)
    return _put_raw(buf, at, data)


def put_str(buf: bytearray, at: int, text: str) -> int:
    """Put a str of up to 65 535 bytes of UTF-8; return where the next item goes."""
    data = text.encode()
    count = len(data)
    if count < 0x20:  # as nearly always
        end = at + 1 + count
        if end > len(buf):  # else the assignment would make it longer
            raise IndexError("no room")
        buf[at] = 0xA0 | count
        buf[at + 1 : end] = data
        return end
    if count < 0x100:
        buf[at] = 0xD9
        at = _put_bytes_of(buf, at + 1, count, 1)
    else:
        buf[at] = 0xDA
        at = _put_bytes_of(buf, at + 1, count, 2)
    return _put_raw(buf, at, data)


def _put_raw(buf: bytearray, at: int, data: bytes | bytearray | memoryview) -> int:
    end = at + len(data)
    if end > len(buf):  # else the assignment would make it longer
        raise IndexError("no room")
    buf[at:end] = data
    return end


def put(buf: bytearray, at: int, value: object) -> int:
    """Put any value of the subset; return where the next item goes.

    Raises TypeError for another type, OverflowError for an integer beyond 64 bits and IndexError
    where the buffer ends.
    """
    if value is None:
        return put_int(buf, at, value)
    if isinstance(value, str):
        return put_str(buf, at, value)
    if isinstance(value, int) or value is True or value is False:  # no int on MicroPython
        return put_int(buf, at, value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return put_bytes(buf, at, value)
    if isinstance(value, (list, tuple)):
        at = put_array(buf, at, len(value))
        for item in value:
            at = put(buf, at, item)
        return at
    raise TypeError("not in the subset")


def cut(text: str, limit: int) -> str:
    """Return text, cut at a character so that it takes at most `limit` bytes of UTF-8."""
    while len(text.encode()) > limit:
        text = text[: min(limit, len(text) - 1)]
    return text


class Cursor:
    """Reads items one after the other from buf[at:end]; raises Malformed, and nothing else."""

    def __init__(self, buf: bytes | bytearray) -> None:
        self.buf = buf
        self.at = 0
        self.end = 0

    def begin(self, at: int, end: int) -> None:
        """Start reading at `at`; `end` is the first byte that is not there."""
        self.at = at
        self.end = end

    def _take(self, count: int) -> int:
        """Return where the next `count` bytes begin, and step over them."""
        at = self.at
        if count > self.end - at:
            raise Malformed("it ends early")
        self.at = at + count
        return at

    def _unsigned(self, count: int) -> int:
        at = self._take(count)
        return self._rest_of(0, at)

    def _signed(self, count: int) -> int:
        at = self._take(count)
        first = self.buf[at]
        return self._rest_of(first - 0x100 if first & 0x80 else first, at + 1)

    def _rest_of(self, value: int, at: int) -> int:
        while at < self.at:
            value = value << 8 | self.buf[at]
            at += 1
        return value

    def array(self) -> int:
        """Read an array's head; return how many items it claims."""
        head = self.buf[self._take(1)]
        if head & 0xF0 == 0x90:
            count = head & 0x0F
        elif head == 0xDC:
            count = self._unsigned(2)
        else:
            raise Malformed("not an array")
        return count

    def integer(self) -> int | None:
        """Read an integer, a bool or None; allocates nothing for one that fits a small int."""
        head = self.buf[self._take(1)]
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 0x100
        if 0xCC <= head <= 0xCF:
            return self._unsigned(1 << head - 0xCC)
        if 0xD0 <= head <= 0xD3:
            return self._signed(1 << head - 0xD0)
        if head == 0xC0:
            return None
        if head == 0xC2 or head == 0xC3:
            return head == 0xC3
        raise Malformed("not an integer")

    def value(self, depth: int = 1) -> object:
        """Read any value of the subset; bytes and str are copies, arrays are lists."""
        if self.at >= self.end:
            raise Malformed("it ends early")
        head = self.buf[self.at]
        if head & 0xF0 == 0x90 or head == 0xDC:
            if depth > _MAX_DEPTH:
                raise Malformed("nested too deep")
            return [self.value(depth + 1) for _ in range(self.array())]
        if head & 0xE0 == 0xA0:
            self.at += 1
            return self._text(head & 0x1F)
        if 0xD9 <= head <= 0xDA:
            self.at += 1
            return self._text(self._unsigned(head - 0xD8))
        if 0xC4 <= head <= 0xC5:
            self.at += 1
            at = self._take(self._unsigned(head - 0xC3))
            return bytes(self.buf[at : self.at])
        return self.integer()

    def _text(self, count: int) -> str:
        at = self._take(count)
        try:
            return str(self.buf[at : self.at], "utf-8")
        except ValueError:  # UnicodeError is one, on both
            raise Malformed("not UTF-8") from None


def decode(buf: bytes | bytearray, length: int) -> object:
    """Return the one value that buf[:length] holds; raise Malformed for anything else."""
    cursor = Cursor(buf)
    cursor.begin(0, length)
    value = cursor.value()
    if cursor.at != length:
        raise Malformed("bytes after the end")
    return value
