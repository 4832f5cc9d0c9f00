"""The newest sample, a metric an attribute, and its messages to a host."""

from micropython import const

from warden_schema.codec import put, put_array

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
_VALUES = const(25)  # so many are FIELDS
_WHOLE = const(0x1FFFFFF)  # the mask of a SAMPLE: a bit for each of them
# The uptime, which each DELTA has in a figure of its own; what a DELTA has a bit for, in the order
# of ids.DELTA_VALUES; and what is sent with a SAMPLE only. A test compares them with ids.
FIELDS = (
    "uptime_s",
    "uptime_ms",
    "free_bytes",
    "cpu_permille",
    "overhead_permille",
    "loop_lag_worst_ms",
    "loop_lag_ms",
    "live_bytes",
    "link_bytes_per_s",
    "tasks",
    "rssi_dbm",
    "sent_bytes",
    "received_bytes",
    "largest_free_block_bytes",
    "threads",
    "connected",
    "dropped_frames",
    "skipped_frames",
    "bad_frames",
    "faults",
    "interval_ms",
    "total_bytes",
    "wanted_interval_ms",
    "budget_permille",
    "low_water_bytes",
)
_UPTIME_S = const(0)
_UPTIME_MS = const(1)
_FIRST_BIT = const(2)  # the places of a DELTA's bits,
_NEEDS_SAMPLE = const(20)  # and of the others
# For each value of a SAMPLE, ids.SAMPLE_VALUES, its place in FIELDS.
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
    """One attribute for each of FIELDS, None where the board cannot tell; sensors fill their own.

    Made by `warden.setup.make_sample`, which lists what else it has.

    Not sent: period_ms, the time since the sample before; storage_permille, of the first mount in
    use, and storage_used, the same in the scale of the history.

    Sent like the one row of a `tables.Table`: a SAMPLE, or a DELTA of what changed since the last
    one that was sent. Frames are numbered, so a host knows which sample a DELTA counts from, and
    asks anew where that one was lost. docs/wire.md has the rules.
    """

    def subscribe(self):
        """Have the newest sample sent as a SAMPLE, with all its values."""
        self.deltas_left = 0
        self.dirty[0] = _SUBSCRIBED

    def mark_dirty(self, row):
        """Have the new sample sent; one that still waits is dropped, and counted."""
        if self.dirty[0]:
            self.dropped_frames += 1
        else:
            self.dirty[0] = _CHANGED

    def encode(self, row, uplink):
        """Put the message into the uplink."""
        self.seq = uplink.seq
        if not self.deltas_left or not self.encode_delta(uplink):
            self.mask = _WHOLE
            self.on_sent(0)  # it is: should it not go,
            self.deltas_left = 0  # another SAMPLE does
            self.put_last(uplink)
        return True

    def put_last(self, uplink):
        """Put a SAMPLE of the values in `last`."""
        at = uplink.begin(_SAMPLE, 1)
        payload = uplink.payload
        at = put_array(payload, at, _VALUES)
        place = 0
        while place < _VALUES:
            at = put(payload, at, self.last[_ORDER[place]])
            place += 1
        uplink.at = at

    def encode_delta(self, uplink):
        """Put a DELTA into the uplink; return False where what changed needs a SAMPLE."""
        self.mask = mask = self.compare()
        value = self.uptime_s - self.last[_UPTIME_S]
        if mask >> _NEEDS_SAMPLE or not 0 <= value < _MAX_DELTA_PERIOD_S:
            return False
        # The milliseconds beyond the interval since the sample before.
        value = value * 1000 + self.uptime_ms - self.last[_UPTIME_MS] - self.interval_ms
        at = uplink.begin(_DELTA, 3)
        payload = uplink.payload
        at = put(payload, at, (self.seq - self.last_seq & 0xFFFF) + _BIAS)
        at = put(payload, at, mask >> _FIRST_BIT)
        at = put(payload, at, value + _BIAS)
        uplink.at = at = self.put(payload, at)
        return at > 0

    def compare(self):
        """Return a mask of what has changed, a bit for each of FIELDS."""
        get = getattr  # what a loop of 25 turns reads is bound before it
        names = FIELDS
        last = self.last
        mask = 0
        place = _VALUES
        while place:
            place -= 1
            if get(self, names[place]) != last[place]:
                mask |= 1 << place
        return mask

    def put(self, payload, at):
        """Put each change as a field; return where the next goes, 0 if they need a SAMPLE."""
        mask = self.mask >> _FIRST_BIT
        place = _FIRST_BIT
        while mask:
            if mask & 1:
                value = getattr(self, FIELDS[place])
                old = self.last[place]
                if value is None or old is None or payload[0] == _MAX_HEAD:
                    return 0
                value += _BIAS - old
                if not -_MAX_CHANGE < value < _MAX_CHANGE:
                    return 0
                payload[0] += 1
                at = put(payload, at, value)
            mask >>= 1
            place += 1
        return at

    def on_sent(self, row):
        """Make the sample that was sent the one that the next DELTA counts from."""
        mask = self.mask
        self.last_seq = self.seq
        self.deltas_left -= 1
        if mask == _WHOLE:
            self.deltas_left = _FULL_EVERY - 1
        place = 0
        while mask:
            if mask & 1:
                self.last[place] = getattr(self, FIELDS[place])
            mask >>= 1
            place += 1
