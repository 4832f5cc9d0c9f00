"""The newest sample, and its messages to a host."""

from micropython import const

from warden_schema.codec import put, put_array
from warden_schema.loops import changes

# Whether it is to be sent, as a table's row: it is new, or a host has subscribed, and waits for it.
_CHANGED = const(1)
_SUBSCRIBED = const(2)

_SAMPLE = const(3)
_DELTA = const(16)
_FULL_EVERY = const(20)  # samples
_MAX_HEAD = const(0x9F)  # of an array with 15 items: a DELTA has ten changes at most
_BIAS = const(48)  # added to what a DELTA sends: small values are one byte, and no control byte
_MAX_CHANGE = const(0x3FFFFF00)
_MAX_DELTA_PERIOD_S = const(200_000)  # longer since the last sample, and the next is a SAMPLE
_MAX_TIMES_1000 = const(0xFFFFF)  # more, and a product with 1000 may exceed 30 bits
_UNKNOWN = const(-0x3FFFFFFF - 1)  # a figure that the board cannot tell
_VALUES = const(25)  # so many figures there are
# Their places: the uptime, which each DELTA has in a figure of its own; what a DELTA has a bit for,
# in the order of ids.DELTA_VALUES; and what is sent with a SAMPLE only.
_UPTIME_S = const(0)
_UPTIME_MS = const(1)
_FREE_FIGURE = const(2)
_CPU_FIGURE = const(3)
_OVERHEAD_FIGURE = const(4)
_WORST_LAG_FIGURE = const(5)
_LAG_FIGURE = const(6)
_LIVE_FIGURE = const(7)
_LINK_FIGURE = const(8)
_TASKS_FIGURE = const(9)
_RSSI_FIGURE = const(10)
_SENT_FIGURE = const(11)
_RECEIVED_FIGURE = const(12)
_LARGEST_FIGURE = const(13)
_THREADS_FIGURE = const(14)
_CONNECTED_FIGURE = const(15)
_DROPPED_FIGURE = const(16)
_SKIPPED_FIGURE = const(17)
_BAD_FIGURE = const(18)
_FAULTS_FIGURE = const(19)
_INTERVAL_FIGURE = const(20)
_TOTAL_FIGURE = const(21)
_WANTED_FIGURE = const(22)
_BUDGET_FIGURE = const(23)
_LOW_WATER_FIGURE = const(24)
_FIRST_BIT = const(2)  # the places of a DELTA's bits,
_NEEDS_SAMPLE = const(20)  # and of the others
# For each value of a SAMPLE, ids.SAMPLE_VALUES, its place among the figures.
_ORDER = const(
    b"\x00\x01\x14\x15\x02\x07\x0d\x03\x06\x05\x09\x0e\x0f\x0a\x0b\x0c\x04\x08"
    b"\x10\x11\x12\x13\x16\x17\x18"
)


def fragmentation_permille(free, largest):
    """Return how much of the free memory is outside its largest block, in permille.

    0: all that is free is one block, or nothing is free. None where that block is not known.
    """
    if largest is None:
        return None
    while free > _MAX_TIMES_1000:
        free >>= 1
        largest >>= 1
    return max(0, free - largest) * 1000 // free if free else 0


class Sample:
    """`figures`: an integer each, which sensors set in their places, see above.

    Made by `warden.setup.make_sample`, which lists what else it has.

    Not sent: period_ms, the time since the sample before; and, behind the other figures, what is
    used of the first mount, in the scale of the history.

    Sent like the one row of a `tables.Table`: a SAMPLE, or a DELTA of what changed since the last
    one that was sent. Frames are numbered, so a host knows which sample a DELTA counts from, and
    asks anew where that one was lost. docs/wire.md has the rules.
    """

    def get(self, place):
        """Return a figure, None where the board cannot tell."""
        place = self.figures[place]
        return None if place == _UNKNOWN else place

    def subscribe(self):
        """Have the newest sample sent as a SAMPLE, with all its values."""
        self.deltas_left = 0
        self.dirty[0] = _SUBSCRIBED

    def mark_dirty(self, row):
        """Have the new sample sent; one that still waits is dropped, and counted."""
        if self.dirty[0]:
            self.figures[_DROPPED_FIGURE] += 1
        else:
            self.dirty[0] = _CHANGED

    def encode(self, at, uplink):
        """Put the message into the uplink: a DELTA, or a SAMPLE where what changed needs one.

        at: the row, of which there is one; then, for want of another variable, where a field goes.
        """
        figures = self.figures
        self.seq = uplink.seq
        self.mask = mask = changes(_VALUES, figures, self.last)
        value = figures[_UPTIME_S] - self.last[_UPTIME_S]
        at = 0
        if self.deltas_left and not mask >> _NEEDS_SAMPLE and 0 <= value < _MAX_DELTA_PERIOD_S:
            # The milliseconds beyond the interval since the sample before.
            value = value * 1000 + figures[_UPTIME_MS] - self.last[_UPTIME_MS]
            value -= figures[_INTERVAL_FIGURE] - _BIAS
            mask >>= _FIRST_BIT
            uplink.begin(_DELTA, 3)
            at = put(uplink.payload, uplink.at, (self.seq - self.last_seq & 0xFFFF) + _BIAS)
            at = put(uplink.payload, at, mask)
            at = put(uplink.payload, at, value)
            uplink.at = at = self.put(uplink.payload, at, mask)
        if not at:
            self.deltas_left = 0
            self.put_whole(uplink, figures)
        return True

    def put_whole(self, uplink, figures):
        """Put a SAMPLE of these figures into an uplink."""
        uplink.begin(_SAMPLE, 1)
        at = put_array(uplink.payload, uplink.at, _VALUES)
        place = 0
        while place < _VALUES:
            value = figures[_ORDER[place]]
            at = put(uplink.payload, at, None if value == _UNKNOWN else value)
            place += 1
        uplink.at = at

    def put(self, payload, at, mask):
        """Put each change as a field; return where the next goes, 0 if they need a SAMPLE."""
        place = _FIRST_BIT
        while mask:
            if mask & 1:
                value = self.figures[place]
                if value == _UNKNOWN or self.last[place] == _UNKNOWN or payload[0] == _MAX_HEAD:
                    return 0
                value += _BIAS - self.last[place]
                if not -_MAX_CHANGE < value < _MAX_CHANGE:
                    return 0
                payload[0] += 1
                at = put(payload, at, value)
            mask >>= 1
            place += 1
        return at

    def on_sent(self, place):
        """Make the sample that was sent the one that the next DELTA counts from."""
        self.last_seq = self.seq
        self.deltas_left = (self.deltas_left or _FULL_EVERY) - 1
        mask = self.mask
        place = 0
        while mask:
            if mask & 1:
                self.last[place] = self.figures[place]
            mask >>= 1
            place += 1
