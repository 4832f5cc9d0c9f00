"""Frames on a line that also carries printed text.

A frame is `0xC0`, the escaped payload and its CRC, `0xC0`. The delimiter never occurs in UTF-8
(RFC 3629), so text around a frame cannot be taken for one. Escaping is that of PPP in HDLC-like
framing (RFC 1662 4.2): 0x7D, then the byte XOR 0x20. Escaped are the delimiter, the escape and
what a REPL, a terminal or software flow control acts on: NUL, Ctrl-A to Ctrl-E, LF, CR, XON, XOFF
and, because a terminal may turn it into a signal, Ctrl-Z and Ctrl-\\. The CRC is CRC-16/CCITT-FALSE
(polynomial 0x1021, start 0xFFFF), big-endian, over the unescaped payload. A payload is a msgpack
array of 1 to 15 items, so its first byte is 0x91 to 0x9F: no character begins with such a byte,
which tells an opening delimiter from a closing one after damage.
"""

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

# CRC of a nibble: 32 bytes of table instead of 512; a byte takes two look-ups.
_TABLE = (
    b"\x00\x00\x10\x21\x20\x42\x30\x63\x40\x84\x50\xa5\x60\xc6\x70\xe7"
    b"\x81\x08\x91\x29\xa1\x4a\xb1\x6b\xc1\x8c\xd1\xad\xe1\xce\xf1\xef"
)

# What Reader.feed() says of a byte.
TEXT = -1  # it is not part of a frame
MORE = 0  # it is, or may be, and the frame is not complete
# greater than 0: a payload of so many bytes is in Reader.payload

# Reader's states.
_IN_TEXT = const(0)
_OPENED = const(1)  # a delimiter was read; whether it opened or closed shows with the next byte
_IN_FRAME = const(2)
_IN_ESCAPE = const(3)


def crc16(data: bytes | bytearray, start: int, end: int, crc: int = 0xFFFF) -> int:
    """CRC-16/CCITT-FALSE of data[start:end]; the same as `binascii.crc_hqx(…, 0xFFFF)`."""
    table = _TABLE
    while start < end:
        byte = data[start]
        at = (crc >> 11 & 0x1E) ^ (byte >> 3 & 0x1E)
        crc = (crc << 4 & 0xFFFF) ^ (table[at] << 8 | table[at + 1])
        at = (crc >> 11 & 0x1E) ^ (byte << 1 & 0x1E)
        crc = (crc << 4 & 0xFFFF) ^ (table[at] << 8 | table[at + 1])
        start += 1
    return crc


def encode(payload: bytearray, length: int, wire: bytearray) -> int:
    """Frame payload[:length] into `wire`; return the frame's length, or 0 if it does not fit.

    `payload` must have two bytes of room after `length`: the CRC goes there. Allocates nothing.
    """
    crc = crc16(payload, 0, length)
    payload[length] = crc >> 8
    payload[length + 1] = crc & 0xFF
    last = len(wire) - 2  # room for an escaped byte; the closing delimiter takes one
    wire[0] = _DELIMITER
    to = 1
    at = 0
    length += 2
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


class Reader:
    """Takes a byte at a time and gives back whole, checked payloads; never raises.

    Memory is bounded by `limit` (bytes of payload); a longer frame is dropped and counted in
    `bad`, as is one with a wrong CRC, a broken escape or a control character inside.
    """

    def __init__(self, limit: int) -> None:
        self.payload = bytearray(limit + 2)
        self.bad = 0
        self._state = _IN_TEXT
        self._at = 0

    def feed(self, byte: int) -> int:
        """Return TEXT, MORE, or the length of the payload that this byte completed."""
        state = self._state
        if state == _IN_TEXT:
            if byte != _DELIMITER:
                return TEXT
            self._state = _OPENED
            return MORE
        if byte == _DELIMITER:
            if state == _OPENED:
                return MORE
            return self._close(state)
        if state == _OPENED:
            if not 0x91 <= byte <= 0x9F:
                self._state = _IN_TEXT
                return TEXT
            self._at = 0
            state = self._state = _IN_FRAME
        elif byte < 32 and _CONTROLS >> byte & 1:
            # Never inside a frame: its end was lost, and this is text again.
            self.bad += 1
            self._state = _IN_TEXT
            return TEXT
        if state == _IN_ESCAPE:
            byte ^= 0x20
            self._state = _IN_FRAME
        elif byte == _ESCAPE:
            self._state = _IN_ESCAPE
            return MORE
        at = self._at
        if at < len(self.payload):
            self.payload[at] = byte
            self._at = at + 1
        else:
            self._at = len(self.payload) + 1  # too long, whatever follows
        return MORE

    def _close(self, state: int) -> int:
        at = self._at - 2
        if (
            state == _IN_FRAME
            and 0 < at <= len(self.payload) - 2
            and crc16(self.payload, 0, at) == self.payload[at] << 8 | self.payload[at + 1]
        ):
            self._state = _IN_TEXT
            return at
        # This delimiter may be the next frame's first: what follows it decides.
        self.bad += 1
        self._state = _OPENED
        return MORE
