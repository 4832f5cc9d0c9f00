"""The newest sample, a metric an attribute, and its messages to a host."""

from micropython import const

from warden_schema.codec import put_array

# Whether it is to be sent, as a table's row: it is new, or a host has subscribed, and waits for it.
_CHANGED = const(1)
_SUBSCRIBED = const(2)

_SAMPLE = const(3)
_DELTA = const(16)
_FULL_EVERY = const(20)  # samples
_MAX_CHANGES = const(10)  # in a DELTA
_BIAS = const(48)  # added to what a DELTA sends: small values are one byte, and no control byte
_MAX_CHANGE = const(0x3FFFFF00)
_MAX_DELTA_PERIOD_S = const(200_000)  # longer since the last sample, and the next is a SAMPLE
_MAX_TIMES_1000 = const(0xFFFFF)  # more, and a product with 1000 may exceed 30 bits
# For each of FIELDS its bit in a DELTA's mask (ids.DELTA_VALUES), or that it has none: 98 for the
# uptime, whose seconds and milliseconds each DELTA has in a figure of its own;
# 99 where a change needs a SAMPLE.
_NOT_COMPARED = const(98)
_NEEDS_SAMPLE = const(99)
_BITS = const(
    b"\x62\x62\x63\x63\x00\x05\x0b\x01\x04\x03\x07\x0c\x0d\x08"
    b"\x09\x0a\x02\x06\x0e\x0f\x10\x11\x63\x63\x63"
)
# For each bit its place in FIELDS.
_PLACES = const(b"\x04\x07\x10\x09\x08\x05\x11\x0a\x0d\x0e\x0f\x06\x0b\x0c\x12\x13\x14\x15")

# In the order in which SAMPLE sends them: ids.SAMPLE_VALUES; a test compares them.
FIELDS = (
    "uptime_s",
    "uptime_ms",
    "interval_ms",
    "total_bytes",
    "free_bytes",
    "live_bytes",
    "largest_free_block_bytes",
    "cpu_permille",
    "loop_lag_ms",
    "loop_lag_worst_ms",
    "tasks",
    "threads",
    "connected",
    "rssi_dbm",
    "sent_bytes",
    "received_bytes",
    "overhead_permille",
    "link_bytes_per_s",
    "dropped_frames",
    "skipped_frames",
    "bad_frames",
    "faults",
    "wanted_interval_ms",
    "budget_permille",
    "low_water_bytes",
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
    """One attribute for each of FIELDS, None where the board cannot tell; sensors fill their own.

    Not sent: period_ms, the time since the sample before; storage_permille, of the first mount in
    use, and storage_used, the same in the scale of the history.
    """

    def __init__(self):
        for name in FIELDS:
            setattr(self, name, None)
        self.uptime_s = self.uptime_ms = 0
        self.dropped_frames = self.skipped_frames = self.bad_frames = self.faults = 0
        self.period_ms = 0
        self.storage_permille = self.storage_used = None


class SampleTable:
    """The newest sample: a SAMPLE, or a DELTA of what changed since the last one that was sent.

    Frames are numbered, so a host knows which sample a DELTA counts from, and asks anew where that
    one was lost. docs/wire.md has the rules. It is sent like the one row of a `tables.Table`.
    """

    def __init__(self, clock, sample):
        self.clock = clock
        self.sample = sample
        self.dirty = bytearray(1)
        self.last = [None] * len(FIELDS)  # as the host has them
        self.now = [None] * len(FIELDS)  # as the frame encoded last has them
        self.mask = self.count = 0
        self.deltas_left = 0  # until the next SAMPLE
        self.last_seq = 0  # of the frame that the host has them from
        self.seq = 0  # of the one encoded last

    def subscribe(self):
        """Have the newest sample sent as a SAMPLE, with all its values."""
        self.deltas_left = 0
        self.dirty[0] = _SUBSCRIBED
        self.clock.poll_now = True

    def mark_dirty(self, row):
        """Have the new sample sent; one that still waits is dropped, and counted."""
        if self.dirty[0]:
            self.sample.dropped_frames += 1
        else:
            self.dirty[0] = _CHANGED
        self.clock.poll_now = True

    def encode(self, row, uplink):
        """Put the message into the uplink."""
        self.seq = uplink.seq
        self.compare()
        if self.count > _MAX_CHANGES or not self.deltas_left:
            self.count = _MAX_CHANGES + 1
            uplink.begin(_SAMPLE, 1)
            uplink.at = put_array(uplink.payload, uplink.at, len(FIELDS))
            for value in self.now:
                uplink.put(value)
        else:
            self.encode_delta(uplink)
        return True

    def compare(self):
        """Read the sample; `mask` is then what has changed, `count` how much."""
        self.mask = self.count = 0
        sample = self.sample
        now = self.now
        last = self.last
        fields = FIELDS
        place = len(fields)
        while place:
            place -= 1
            now[place] = value = getattr(sample, fields[place])
            if value != last[place]:
                self.note_change(place, value)

    def note_change(self, place, value):
        """Add one change to the mask; one that a DELTA cannot express makes this a SAMPLE."""
        bit = _BITS[place]
        old = self.last[place]
        # The milliseconds of the uptime fall as often as they rise.
        if bit == _NOT_COMPARED and old is not None and -1000 < value - old < _MAX_DELTA_PERIOD_S:
            return
        self.count += 1
        if bit >= _NOT_COMPARED or value is None or old is None:
            self.count = _MAX_CHANGES + 1
        elif -_MAX_CHANGE < value - old < _MAX_CHANGE:
            self.mask |= 1 << bit
        else:
            self.count = _MAX_CHANGES + 1

    def encode_delta(self, uplink):
        """Put what has changed into the uplink."""
        now = self.now
        mask = self.mask
        uplink.begin(_DELTA, 3 + self.count)
        uplink.put((self.seq - self.last_seq & 0xFFFF) + _BIAS)
        uplink.put(mask)
        # The milliseconds beyond the interval since the sample before.
        uplink.put((now[0] - self.last[0]) * 1000 + now[1] - self.last[1] - now[2] + _BIAS)
        bit = 0
        while mask:
            if mask & 1:
                place = _PLACES[bit]
                uplink.put(now[place] - self.last[place] + _BIAS)
            mask >>= 1
            bit += 1

    def on_sent(self, row):
        """Make the sample that was sent the one that the next DELTA counts from."""
        self.last, self.now = self.now, self.last
        self.last_seq = self.seq
        if self.count > _MAX_CHANGES:  # it was a SAMPLE
            self.deltas_left = _FULL_EVERY
        self.deltas_left -= 1
