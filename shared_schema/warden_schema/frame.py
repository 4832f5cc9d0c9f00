"""Frames on a line that also carries printed text.

A frame is `0xC0`, the escaped payload and its CRC, `0xC0`. The delimiter never occurs in UTF-8
(RFC 3629), so text around a frame cannot be taken for one. Escaping is that of PPP in HDLC-like
framing (RFC 1662 4.2): 0x7D, then the byte XOR 0x20. Escaped are the delimiter, the escape and
what a REPL, a terminal or software flow control acts on: NUL, Ctrl-A to Ctrl-E, LF, CR, XON, XOFF
and, because a terminal may turn it into a signal, Ctrl-Z and Ctrl-\\. The CRC is CRC-16/CCITT-FALSE
(polynomial 0x1021, start 0xFFFF), big-endian, over the unescaped payload. A payload is a msgpack
array of 1 to 15 items, so its first byte is 0x91 to 0x9F: no character begins with such a byte,
which tells an opening delimiter from a closing one after damage.

The loops themselves check no bounds: here each length is compared with its buffer first.
"""

from array import array

from warden_schema.loops import crc16 as _crc16
from warden_schema.loops import seal as _seal
from warden_schema.loops import take as _take

try:
    from micropython import const
except ImportError:  # CPython

    def const(value: int) -> int:
        """Stand for MicroPython's compile-time constant."""
        return value


_DELIMITER = const(0xC0)
_ESCAPE = const(0x7D)

DELIMITER = 0xC0
ESCAPE = 0x7D
# One bit for each control character that is escaped.
ESCAPED_CONTROLS = b"\x00\x01\x02\x03\x04\x05\x0a\x0d\x11\x13\x1a\x1c"
_CONTROLS = const(0x140A243F)

# What Reader.feed() says of a byte.
TEXT = -1  # it is not part of a frame
MORE = 0  # it is, or may be, and the frame is not complete
# greater than 0: a payload of so many bytes is in Reader.payload

# A Reader's marks: what `loops.take` works on.
_STATE = const(0)  # 0: in text
_TO = const(1)
_ROOM = const(2)
_BAD = const(3)
_LENGTH = const(4)  # of the whole payload that is there, or 0
FOUND = 5  # how many fields it has, if all are small integers or nil, or 0;
ITEMS = 6  # how many the last has, if that is an array of such, or -1;
FIRST = 7  # and the first of them
_MARKS = const(20)


def crc16(data: bytes | bytearray, start: int, end: int, crc: int = 0xFFFF) -> int:
    """CRC-16/CCITT-FALSE of data[start:end]; the same as `binascii.crc_hqx(…, 0xFFFF)`."""
    if not 0 <= start <= end <= len(data):
        raise IndexError("not inside the data")
    return _crc16(data, start, end, crc)


def encode(payload: bytes | bytearray, length: int, wire: bytearray) -> int:
    """Frame payload[:length] into `wire`; return the frame's length, or 0 if it does not fit.

    Allocates nothing.
    """
    if not 0 <= length <= len(payload):
        raise IndexError("not inside the payload")
    wire[0] = _DELIMITER  # raises where there is no room at all, or it is read-only
    return _seal(payload, length, wire, len(wire))


class Reader:
    """Takes bytes and gives back whole, checked payloads; never raises for what they hold.

    Memory is bounded by `limit` (bytes of payload); a longer frame is dropped and counted in
    `bad`, as is one with a wrong CRC, a broken escape or a control character inside.
    """

    def __init__(self, limit: int) -> None:
        self.payload = bytearray(limit + 2)
        self.length = 0  # of the payload that the last take() completed, or 0
        self.marks = array("i", [0] * _MARKS)
        self.marks[_ROOM] = limit + 2
        self._one = bytearray(1)

    @property
    def bad(self) -> int:
        """Frames that were damaged."""
        return self.marks[_BAD]

    def take(self, data: bytes | bytearray, at: int, end: int) -> int:
        """Read data[at:end] as far as a whole payload; return the place after what was read.

        With `length` 0 all of it was. Text is passed over.
        """
        if not 0 <= at <= end <= len(data):
            raise IndexError("not inside the data")
        at = _take(data, at, end, self.payload, self.marks)
        self.length = self.marks[_LENGTH]
        return at

    def feed(self, byte: int) -> int:
        """Take one byte; return TEXT, MORE, or the length of the payload that it completed."""
        self._one[0] = byte
        self.take(self._one, 0, 1)
        if self.length:
            return self.length
        return MORE if self.marks[_STATE] else TEXT
