"""The newest sample, as a host is told it: whole, or by what changed since the last one sent.

Seqs are numbered, so a host knows which sample a DELTA counts from, and asks anew where that one
was lost. docs/wire.md has the rules.
"""

from array import array

from micropython import const

from warden.tables import Table
from warden_schema.loops import tell as _tell

_VALUES = const(24)
_DROPPED_FRAMES = const(18)
_UNKNOWN = const(-0x40000000)

# Places in `_told`: see `plain.tell`.
_SENT = const(0)  # whether the frame that was encoded last has left
_LEFT = const(1)  # deltas until the next whole one; 0: it is due
# 2: the number of the frame that a DELTA counts from; 3: of the one encoded last, 4: whether it is
# whole. 5: where the sample is that a DELTA counts from, 6 or 30; at the other of these is the one
# encoded last. From 54 on: the fields of a DELTA.
_BASE = const(5)
_FIRST_HALF = const(6)
_WORDS = const(67)

# Places in the sample: those of which a change is told by a whole one, and those of
# ids.DELTA_VALUES, in their order.
_PLACES = const(
    b"\x02\x03\x16\x17\x04\x07\x10\x09\x08\x05\x11\x0a\x0d\x0e\x0f\x06\x0b\x0c\x12\x13\x14\x15"
)


class Sample(Table):
    """One that is overtaken before it could go is dropped, and counted.

    values: array("i"), the first of it in the order of ids.SAMPLE_VALUES; see `plain` for figures.
    """

    def __init__(self, values):
        super().__init__(1)
        if len(values) < _VALUES:  # which viper does not look at
            raise ValueError("too few values")
        self.values = values
        self.taken = False  # whether there has been one
        self.places = _PLACES
        self.told = array("i", [0] * _WORDS)
        self.told[_BASE] = _FIRST_HALF

    @property
    def dropped(self):
        """Samples that were overtaken."""
        dropped = self.values[_DROPPED_FRAMES]
        return 0 if dropped == _UNKNOWN else dropped

    def mark(self):
        """Have it sent whole, if there is one."""
        told = self.told
        told[_SENT] = told[_LEFT] = 0
        self.news[self.place] = 1
        self.due[0] = 1 if self.taken else 0

    def renew(self, wanted):
        """Note that the values are new; `wanted`: somebody listens."""
        due = self.due
        if due[0]:
            self.values[_DROPPED_FRAMES] = self.dropped + 1
        self.taken = True
        self.news[self.place] = 1
        due[0] = 1 if wanted else 0

    def encode(self, _row, uplink):
        """Put the message into the uplink; return its length. Allocates nothing."""
        return _tell(self.values, self.told, _PLACES, uplink.seq, uplink.payload)

    def sent(self):
        """Count from this one from now on."""
        self.told[_SENT] = 1
