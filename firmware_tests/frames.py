"""What the tests of codec, frames and loops share: chance, fenced buffers, and frames."""

from warden_schema.codec import Malformed, Reader, put
from warden_schema.frame import Deframer, encode
from warden_schema.values import read_value

MARGIN = 16
# What framing treats apart, as often as everything else together.
SPECIAL = b"\xc0\xc0\xc0\x7d\x7d\x00\x01\x05\x06\x0a\x0d\x1a\x1f\x20\x91\x9f\x90\xa0\x5d\xe0\xff"


class Chance:
    """The same numbers on every board (a linear congruence; QEMU's firmware has no `random`)."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        self._state = (self._state * 75 + 74) % 65537
        return self._state % limit

    def bytes(self, count):
        data = bytearray(count)
        for at in range(count):
            special = self.below(2)
            data[at] = SPECIAL[self.below(len(SPECIAL))] if special else self.below(256)
        return data


class Fenced:
    """A buffer of `count` bytes between two margins."""

    def __init__(self, count, fill=0xAA):
        self.whole = bytearray(b"\xaa" * (count + 2 * MARGIN))
        self.buffer = memoryview(self.whole)[MARGIN : MARGIN + count]
        self.fill(fill)

    def fill(self, byte):
        for at in range(len(self.buffer)):
            self.buffer[at] = byte

    def untouched(self):
        margin = b"\xaa" * MARGIN
        return self.whole[:MARGIN] == margin and self.whole[-MARGIN:] == margin


def framed(message):
    """Return the frame of a message, a list."""
    payload = bytearray(500)
    wire = bytearray(1006)
    length = put(payload, 0, message)
    return bytes(wire[: encode(payload, length, wire)])


def decode(payload):
    """Return the one value that bytes hold; raise Malformed for anything else."""
    reader = Reader(payload, 0, len(payload))
    value = read_value(reader)
    if reader.at != len(payload):
        raise Malformed  # bytes after the end
    return value


def deframed(data, limit=300, size=1):
    """Return (payloads, text, frames that were bad) of bytes that arrive `size` at a time.

    With a size of 1; a larger one gives no text.
    """
    deframer = Deframer(limit)
    payloads = []
    text = bytearray()
    at = 0
    while at < len(data):
        end = min(at + size, len(data))
        while at < end:
            at = deframer.feed(data, at, end)
            if deframer.length:
                payloads.append(bytes(deframer.payload[: deframer.length]))
            elif size == 1 and not deframer.opened and not deframer.in_frame:
                text.append(data[at - 1])
    return payloads, bytes(text), deframer.bad
