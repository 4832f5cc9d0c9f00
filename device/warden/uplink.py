"""Frames to the host: numbered, framed, and written only as far as the link takes them.

Nothing here waits. A frame that the link took in part is finished before the next begins;
what cannot go now is refused, and the caller sends it later as it is then.
"""

from array import array

from micropython import const

from warden_schema.codec import put
from warden_schema.frame import encode

_MAX_PAYLOAD = const(200)
_SLACK = const(48)  # behind it: a text is put with zeros behind it
_MAX_WIRE = const(406)
_MAX_UNACKED = const(16)  # frames; a power of two
_RESERVE = const(48)  # bytes of a link's window that only ALIVE may take


class Uplink:
    """Begin a message with `begin()`, `put()` its fields, end it with `send()`."""

    def __init__(self, link):
        self.link = link
        self.payload = bytearray(_MAX_PAYLOAD + _SLACK)
        self.at = 0  # where the next field goes
        self.seq = 0  # of the next frame
        self.sent = 0  # bytes on the wire, modulo 2**16
        self.buf = bytearray(_MAX_WIRE)
        self.written = 0  # of the frame in `buf`,
        self.length = 0  # which has so many bytes
        self.sent_at = array("H", [0] * _MAX_UNACKED)  # `sent` after the frame with this seq
        self.acked = 0  # `sent` as far as the host has it
        self.unacked = 0  # frames; 0 has it begin anew, with another host

    def ready(self):
        """Tell whether a frame may be begun; finishes the last one first, if it must."""
        if self.written < self.length:
            self.written += self.write(self.written)
        return self.written >= self.length

    def write(self, start):
        """Write what the link takes of the frame; return the count, 0 where it is broken."""
        try:
            return self.link.write(self.buf, start, self.length)
        except OSError:
            return 0

    def begin(self, kind, fields):
        """Start a message with `fields` fields after kind and seq; return where they go."""
        payload = self.payload
        payload[0] = 0x92 + fields
        payload[1] = kind
        self.at = put(payload, 2, self.seq)
        return self.at

    def put(self, value):
        """Put one field."""
        self.at = put(self.payload, self.at, value)

    def send(self, reserve=_RESERVE):
        """Frame the message and write what the link takes; False if it does not fit now.

        reserve: bytes of the link's window that stay free. IndexError for a message that is too
        long.
        """
        if not self.ready():
            return False
        if self.at > _MAX_PAYLOAD:
            raise IndexError
        length = encode(self.payload, self.at, self.buf)
        sent = self.sent
        window = self.link.window
        if not self.unacked:
            self.acked = sent
        elif window and (sent - self.acked & 0xFFFF) + length > window - reserve:
            return False
        seq = self.seq
        self.seq = seq + 1 & 0xFFFF  # first: Ctrl-C must not make two of one number
        # Should Ctrl-C come: a broken frame is not gone on with.
        self.length = self.written = length
        self.written = self.write(0)
        if not self.written:
            self.written = length
            self.seq = seq
            return False
        self.sent = sent = sent + length & 0xFFFF
        self.sent_at[seq & _MAX_UNACKED - 1] = sent
        if self.unacked < _MAX_UNACKED:
            self.unacked += 1
        return True

    def acknowledge(self, seq):
        """Note that the host has seen all frames up to that one."""
        behind = self.seq - 1 - seq & 0xFFFF
        if behind < self.unacked and not seq >> 16:  # else no frame has that number
            self.acked = self.sent_at[seq & _MAX_UNACKED - 1]
            self.unacked = behind
