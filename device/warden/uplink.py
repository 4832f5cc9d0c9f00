"""Frames to the host: numbered, framed, and written only as far as the link takes them.

Nothing here waits. A frame that the link did not take whole is finished before the next begins;
what cannot go now is refused, and the caller sends it later as it is then.
"""

from array import array

from micropython import const

from warden_schema import codec
from warden_schema.loops import seal as _seal

_MAX_PAYLOAD = const(200)
_MAX_WIRE = const(406)
_FRAMES = const(16)  # a power of two
_SEQ_MASK = const(0xFFFF)
_RESERVE = const(48)


class Uplink:
    """Begin a message with `begin`, put its fields into `payload`, end it with `send`."""

    def __init__(self, link):
        self.payload = bytearray(_MAX_PAYLOAD + 2)
        self.sent = 0  # bytes on the wire, modulo 2**16
        self._link = link
        self.wire = bytearray(_MAX_WIRE)
        self.at = 0  # what of the last frame is not written yet
        self.end = 0
        self.seq = 0  # of the next frame
        self.sent_at = array("H", [0] * _FRAMES)  # `sent` after the frame with this seq
        self.acked = 0
        self.unacked_frames = 0

    def ready(self):
        """Tell whether a frame may be begun; finishes the last one first, if it must."""
        if self.at < self.end:
            self.at += self._link.write(self.wire, self.at, self.end)
        return self.at >= self.end

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

    def send(self, length, reserve=_RESERVE):
        """Send payload[:length]; return False, with nothing sent, if the link does not take it.

        What is not acknowledged leaves `reserve` bytes of the window free, so that an ALIVE still
        goes when the rest was lost: its acknowledgement opens the window again.
        """
        sent = self.sent
        length = _seal(self.payload, length, self.wire, _MAX_WIRE)  # of the frame, from here on
        if self.unacked_frames:
            seq = self._link.window
            if seq and (sent - self.acked & 0xFFFF) + length + reserve > seq:
                return False
        seq = self.seq
        self.seq = seq + 1 & _SEQ_MASK  # first: Ctrl-C must not make two of one number
        written = self._link.write(self.wire, 0, length)
        if written < length:
            if not written:
                self.seq = seq
                return False
            self.at = written
            self.end = length
        self.sent = sent = sent + length & 0xFFFF
        self.sent_at[seq & (_FRAMES - 1)] = sent
        if self.unacked_frames < _FRAMES:
            self.unacked_frames += 1
        return True

    def acknowledge(self, seq):
        """Take the host's word that it has seen the frame `seq` and those before it."""
        behind = (self.seq - 1 - seq) & _SEQ_MASK
        if 0 <= seq <= _SEQ_MASK and behind < self.unacked_frames:
            self.acked = self.sent_at[seq & (_FRAMES - 1)]
            self.unacked_frames = behind

    def forget(self):
        """Begin anew, with another host: nothing is under way to it."""
        self.acked = self.sent
        self.unacked_frames = 0
