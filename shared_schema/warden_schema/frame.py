"""Frames on a line that also carries printed text.

A frame is `0xC0`, the escaped payload and its CRC, `0xC0`. The delimiter never occurs in UTF-8
(RFC 3629), so text around a frame cannot be taken for one. Escaping is that of PPP in HDLC-like
framing (RFC 1662 4.2): 0x7D, then the byte XOR 0x20. Escaped are the delimiter, the escape and
what a REPL, a terminal or software flow control acts on: NUL, Ctrl-A to Ctrl-E, LF, CR, XON, XOFF
and, because a terminal may turn it into a signal, Ctrl-Z and Ctrl-\\. The CRC is CRC-16/CCITT-FALSE
(polynomial 0x1021, start 0xFFFF), big-endian, over the unescaped payload. A payload is a msgpack
array of 1 to 15 items, so its first byte is 0x91 to 0x9F: no character begins with such a byte,
which tells an opening delimiter from a closing one after damage.

The loops over the bytes (`loops`) check no bounds: here each length is compared with its buffer
before they run.
"""

from array import array

from warden_schema.loops import crc16, stuff, unstuff


def encode(payload: bytearray, length: int, wire: bytearray) -> int:
    """Frame payload[:length] into `wire`; return the frame's length. Allocates nothing.

    The CRC goes into the two bytes of `payload` after that length. `wire` must have room for
    2 * length + 6 bytes, as if each of them had to be escaped.
    """
    if not 0 <= length <= len(payload) - 2 or 2 * length + 6 > len(wire):
        raise IndexError("no room")
    crc = crc16(payload, 0, length)
    payload[length] = crc >> 8
    payload[length + 1] = crc & 0xFF
    wire[0] = 0xC0  # raises where it may not be written
    return stuff(payload, length + 2, wire)


class Deframer:
    """Takes bytes and gives back whole, checked payloads; never raises for what they hold.

    Memory is bounded by `limit` (bytes of payload); a longer frame is dropped and counted in
    `bad`, as is one with a wrong CRC, a broken escape or a control character inside.
    """

    def __init__(self, limit: int) -> None:
        self.payload = bytearray(limit + 2)
        self.length = 0  # of the whole payload that is there now, or 0
        self.bad = 0  # frames that were dropped
        self.opened = False  # after a delimiter: the next byte says whether a frame begins
        self.in_frame = False
        # For `unstuff`: bytes in the payload, their limit, what the next byte is XORed with.
        self.progress = array("i", (0, limit + 2, 0))

    def feed(self, data: bytes | bytearray, at: int, end: int) -> int:
        """Read data[at:end], at most up to the end of a payload; return where it stopped.

        `length` is then the payload's, or 0 if all was read and none is whole. Text is skipped.
        Allocates nothing.
        """
        if not 0 <= at <= end <= len(data):
            raise IndexError("not inside the data")
        self.length = 0
        while at < end:
            if self.in_frame:
                at = unstuff(data, at, end, self.payload, self.progress)
                if at < end:
                    size = self.progress[0]
                    self.in_frame = False
                    # The delimiter of a damaged frame may open the next one: what follows decides.
                    self.opened = data[at] == 0xC0
                    at += 1
                    if (
                        self.opened
                        and 2 < size <= self.progress[1]
                        and not self.progress[2]
                        and crc16(self.payload, 0, size) == 0
                    ):
                        self.opened = False
                        self.length = size - 2
                        break
                    self.bad += 1
            elif self.opened and 0x91 <= data[at] <= 0x9F:
                self.progress[0] = self.progress[2] = 0
                self.in_frame = True
            else:
                at = data.find(b"\xc0", at, end) + 1
                self.opened = at > 0
                if not at:
                    return end
        return at
