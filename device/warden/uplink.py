"""Frames to the host: numbered, framed, and written only as far as the link takes them.

Nothing here waits. A frame that the link did not take whole is finished before the next begins;
what cannot go now is refused, and the caller sends it later as it is then.
"""

from array import array

from micropython import const

from warden_schema import codec
from warden_schema.loops import acknowledge as _acknowledge
from warden_schema.loops import send as _send

_MAX_PAYLOAD = const(200)
_MAX_WIRE = const(406)
_FRAMES = const(16)  # a power of two


class Uplink:
    """Begin a message with `begin`, put its fields into `payload`, end it with `send`."""

    def __init__(self, link):
        self.payload = bytearray(_MAX_PAYLOAD + 2)
        self.sent = 0  # bytes on the wire, modulo 2**16
        self.link = link
        self.wire = bytearray(_MAX_WIRE)
        self.at = 0  # what of the last frame is not written yet:
        self.end = 0  # 0 where all is
        self.seq = 0  # of the next frame
        self.sent_at = array("H", [0] * _FRAMES)  # `sent` after the frame with this seq
        self.acked = 0
        self.unacked_frames = 0

    def ready(self):
        """Tell whether a frame may be begun; finishes the last one first, if it must."""
        if not self.end:
            return True
        self.at += self.link.write(self.wire, self.at, self.end)
        if self.at < self.end:
            return False
        self.end = 0
        return True

    def begin(self, kind, fields):
        """Start a message with `fields` fields after kind and seq; return where they go."""
        payload = self.payload
        payload[0] = 0x92 + fields
        payload[1] = kind
        seq = self.seq
        if seq >= 0x100:  # as nearly always; an integer as msgpack has it
            payload[2] = 0xCD
            payload[3] = seq >> 8
            payload[4] = seq & 0xFF
            return 5
        return codec.put_int(payload, 2, seq)

    send = _send
    acknowledge = _acknowledge

    def forget(self):
        """Begin anew, with another host: nothing is under way to it."""
        self.acked = self.sent
        self.unacked_frames = 0
