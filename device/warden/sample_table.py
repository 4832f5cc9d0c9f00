"""The newest sample, as a host is told it: whole, or by what changed since the last one sent.

Seqs are numbered, so a host knows which sample a DELTA counts from, and asks anew where that one
was lost. docs/wire.md has the rules.
"""

from array import array

from micropython import const

from warden_schema import codec, loops

from .tables import Table

_SAMPLE = const(3)
_DELTA = const(16)
_DELTA_BIAS = const(48)
_MAX_FIELDS = const(13)  # since, mask, ms and ten changes
_WHOLE_EVERY = const(20)
_VALUES = const(24)

# Places in the sample: those of which a change is told by a whole one, and those of
# ids.DELTA_VALUES, in their order.
_LASTING_PLACES = b"\x02\x03\x16\x17"
_OTHERS = b"\x04\x07\x10\x09\x08\x05\x11\x0a\x0d\x0e\x0f\x06\x0b\x0c\x12\x13\x14\x15"
_PLACES = _LASTING_PLACES + _OTHERS
_LASTING = const(4)


class Sample(Table):
    """One that is overtaken before it could go is dropped, and counted.

    values: array("i"), the first of it in the order of ids.SAMPLE_VALUES; see `plain` for figures.
    """

    def __init__(self, values):
        super().__init__(1)
        if len(values) < _VALUES:  # which viper does not look at
            raise ValueError("too few values")
        self.dropped = 0
        self.values = values
        self.taken = False  # whether there has been one
        self._now = array("i", [0] * _VALUES)  # as they are told now,
        self._base = array("i", [0] * _VALUES)  # and as they were sent last,
        self._base_seq = 0  # in the frame of this number
        self._left = 0  # deltas until the next whole one; 0: it is due
        self._seq = 0  # of the frame that was encoded last,
        self._whole = True  # and whether it tells all, or these:
        self._fields = array("i", [0] * _MAX_FIELDS)

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
        now = self._now
        seq = self._seq = uplink.seq
        loops.copy(self.values, now, _VALUES)
        if self._left:
            fields = self._fields
            count = loops.compare(now, self._base, _PLACES, _LASTING, len(_PLACES), fields)
            if count:
                self._whole = False
                fields[0] = (seq - self._base_seq & 0xFFFF) + _DELTA_BIAS
                # At most 13 figures of five bytes: there is room for many more.
                return loops.pack(uplink.payload, uplink.begin(_DELTA, count), fields, count)
        self._whole = True
        buf = uplink.payload
        at = codec.put_array(buf, uplink.begin(_SAMPLE, 1), _VALUES)
        return codec.put_words(buf, at, now, _VALUES)

    def sent(self):
        """Count from this one from now on."""
        self._base, self._now = self._now, self._base
        self._base_seq = self._seq
        self._left = _WHOLE_EVERY - 1 if self._whole else self._left - 1
