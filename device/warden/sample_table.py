"""The newest sample, as a host is told it: whole, or by what changed since the last one sent.

Seqs are numbered, so a host knows which sample a DELTA counts from, and asks anew where that one
was lost. docs/wire.md has the rules.
"""

from micropython import const

from warden_schema import codec, loops

from .tables import Table

_SAMPLE = const(3)
_DELTA = const(16)
_DELTA_BIAS = const(48)
_MAX_CHANGES = const(10)
_WHOLE_EVERY = const(20)
_MAX_MS = const(1 << 28)

# Places in the sample: those of ids.DELTA_VALUES, in their order, and those of which a change is
# told by a whole one.
_CHANGING = b"\x04\x07\x10\x09\x08\x05\x11\x0a\x0d\x0e\x0f\x06\x0b\x0c\x12\x13\x14\x15"
_LASTING = b"\x02\x03\x16\x17"
_INTERVAL_MS = const(2)


class Sample(Table):
    """One that is overtaken before it could go is dropped, and counted."""

    def __init__(self, values):
        super().__init__(1)
        self.dropped = 0
        self.values = values  # in the order of ids.SAMPLE_VALUES
        self.taken = False  # whether there has been one
        self._base = list(values)  # as they were sent last,
        self._base_seq = 0  # in the frame of this number
        self._left = 0  # deltas until the next whole one; 0: it is due
        self._seq = 0  # of the frame that was encoded last,
        self._whole = True  # and whether it tells all, or these:
        self._fields = [0] * (3 + _MAX_CHANGES)  # since, mask, ms and the changes

    def mark(self):
        """Have it sent whole, if there is one."""
        self._left = 0
        self.news[self.place] = 1
        self.due[0] = 1 if self.taken else 0

    def renew(self, wanted):
        """Note that the values are new; `wanted`: somebody listens."""
        if self.due[0]:
            self.dropped += 1
        self.taken = True
        self.news[self.place] = 1
        self.due[0] = 1 if wanted else 0

    def encode(self, _row, uplink):
        """Put the message into the uplink; return its length. Allocates nothing."""
        self._seq = uplink.seq
        count = self._compare() if self._left else 0
        if not count:
            self._whole = True
            return self._encode_whole(uplink)
        self._whole = False
        fields = self._fields
        fields[0] = (self._seq - self._base_seq & 0xFFFF) + _DELTA_BIAS
        at = uplink.begin(_DELTA, count)
        return codec.put_ints(uplink.payload, at, fields, count)

    def sent(self):
        """Count from this one from now on."""
        values = self.values
        base = self._base
        self._base_seq = self._seq
        if self._whole:
            self._left = _WHOLE_EVERY - 1
            place = 0
            while place < len(values):
                base[place] = values[place]
                place += 1
            return
        self._left -= 1
        base[0] = values[0]
        base[1] = values[1]
        loops.renew(values, base, _CHANGING, self._fields[1])

    def _compare(self):
        """Fill in a DELTA's fields but since; return how many there are, 0 where it cannot tell."""
        values = self.values
        base = self._base
        for place in _LASTING:
            if values[place] != base[place]:
                return 0
        passed = (values[0] - base[0]) * 1000 + values[1] - base[1]
        if not 0 <= passed < _MAX_MS:
            return 0
        self._fields[2] = passed - values[_INTERVAL_MS] + _DELTA_BIAS
        return loops.compare(values, base, _CHANGING, self._fields, _DELTA_BIAS)

    def _encode_whole(self, uplink):
        buf = uplink.payload
        values = self.values
        count = len(values)
        at = codec.put_array(buf, uplink.begin(_SAMPLE, 1), count)
        return codec.put_ints(buf, at, values, count)
