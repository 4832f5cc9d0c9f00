# targets: unix frozen qemu
"""The loops over bytes: viper and bytecode are equal, and neither goes outside its buffers.

Buffers are slices out of the middle of a larger one, so that what is beside them can be looked at.
"""

import sys
from array import array

from harness import no_heap, raises
from loops_rig import MARGIN, UNKNOWN, Chance, Fenced, both, fast, plain, word
from rig import framed
from warden_schema import codec, frame, loops

_NEVER = (1 << 30) - 1
# OverflowError: of a place that no 32-bit board can count to.
_OUTSIDE = (IndexError, OverflowError)


def _outcome(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return type(error)


def test_viper_is_chosen_where_it_runs():
    if loops.__file__.endswith(".py"):  # a folder of .mpy may be for any machine
        assert (fast is not None) is (sys.implementation._mpy >> 10 != 0)
    assert loops.VIPER is (fast is not None)
    assert loops.crc16 is (fast or plain).crc16
    assert frame._take is loops.take
    assert frame._seal is loops.seal


def test_the_crc_is_the_same():
    quick, slow = both()
    chance = Chance(1)
    for length in range(70):
        data = chance.bytes(length + 3)
        for crc in (0xFFFF, 0, chance.below(0x10000), -1, 0x12345678):
            for start, end in ((0, length), (3, length + 3), (length, 1), (2, 2)):
                one = slow.crc16(data, start, end, crc)
                assert quick.crc16(data, start, end, crc) == one, (data, start, end, crc)
                assert 0 <= one <= 0xFFFF


def test_the_crc_is_the_same_for_every_byte():
    quick, slow = both()
    data = bytes(range(256))
    for crc in (0xFFFF, 0, 0x1D0F):
        for at in range(256):
            assert quick.crc16(data, at, at + 1, crc) == slow.crc16(data, at, at + 1, crc)


def test_the_crc_takes_nothing_from_beside_its_data():
    quick, _ = both()
    for length in range(20):
        fenced = Fenced(length, 0x31)
        first = quick.crc16(fenced.buffer, 0, length, 0xFFFF)
        for at in range(MARGIN):
            fenced.whole[at] = fenced.whole[-1 - at] = 0x55
        assert quick.crc16(fenced.buffer, 0, length, 0xFFFF) == first


def _sealed(kind, payload, length, room):
    wire = Fenced(room)
    end = kind.seal(payload, length, wire.buffer, room)
    assert wire.untouched(), (payload, length, room)
    return end, bytes(wire.buffer)


def test_sealing_is_the_same_and_stays_inside():
    quick, slow = both()
    chance = Chance(2)
    for length in range(24):
        payload = chance.bytes(length)
        for room in range(2, 2 * length + 10):
            one = _sealed(slow, payload, length, room)
            assert _sealed(quick, payload, length, room) == one, (payload, room)
            assert one[0] <= room


def test_sealing_is_the_same_for_every_byte():
    quick, slow = both()
    for byte in range(256):
        payload = bytes([byte])
        assert _sealed(quick, payload, 1, 9) == _sealed(slow, payload, 1, 9), byte


def test_sealing_long_payloads_is_the_same():
    quick, slow = both()
    chance = Chance(3)
    for length in (100, 199, 202):
        payload = chance.bytes(length)
        for room in (length, length + 20, 406):
            assert _sealed(quick, payload, length, room) == _sealed(slow, payload, length, room)


class _Reading:
    """One of the two, with a payload and marks of its own."""

    def __init__(self, kind, room):
        self._take = kind.take
        self.payload = Fenced(room)
        self.marks = array("i", [0, 0, room] + [0] * 17 + [-7])

    def take(self, data, at, end):
        at = self._take(data, at, end, self.payload.buffer, self.marks)
        assert self.payload.untouched()
        assert self.marks[20] == -7
        return at, list(self.marks), bytes(self.payload.buffer)


def test_reading_is_the_same_and_stays_inside():
    quick, slow = both()
    chance = Chance(4)
    for turn in range(120):
        room = chance.below(12)
        one, other = _Reading(slow, room), _Reading(quick, room)
        data = chance.bytes(chance.below(60))
        at = 0
        while at < len(data):
            end = at + 1 + chance.below(len(data) - at)
            after = one.take(data, at, end)
            assert other.take(data, at, end) == after, (turn, data, at, end)
            assert at < after[0] <= end
            at = after[0]


def test_reading_is_the_same_from_every_state_for_every_byte():
    quick, slow = both()
    for room in (0, 1, 3):
        one, other = _Reading(slow, room), _Reading(quick, room)
        for state in range(4):
            for to in range(room + 2):
                for byte in range(256):
                    for reading in (one, other):
                        reading.payload.fill(0)
                        reading.marks[0] = state
                        reading.marks[1] = to
                        reading.marks[3] = 7
                    data = bytes([byte])
                    after = one.take(data, 0, 1)
                    assert other.take(data, 0, 1) == after, (room, state, to, byte)


def test_reading_looks_at_nothing_beside_the_data():
    quick, _ = both()
    reading = _Reading(quick, 30)
    for length in range(12):
        fenced = Fenced(length, 0x95)
        for at in range(MARGIN):
            fenced.whole[at] = fenced.whole[-1 - at] = 0xC0
        reading.marks[0] = 2
        reading.marks[1] = 0
        for at in (0, length):
            end, marks, _ = reading.take(fenced.buffer, at, length)
            assert (end, marks[:6]) == (length, [2, length, 30, 0, 0, 0])


def _flat(kind, payload, room=40):
    """Return what a payload's frame leaves in the marks; it must be read whole."""
    reading = _Reading(kind, room)
    wire = bytearray(2 * len(payload) + 10)
    end = frame.encode(bytearray(payload) + b"  ", len(payload), wire)
    at, marks, taken = reading.take(wire, 0, end)
    assert (at, marks[3:5], taken[: len(payload)]) == (end, [0, len(payload)], bytes(payload))
    return marks[5:]


def test_whole_frames_and_damaged_ones_are_told_apart_the_same():
    quick, slow = both()
    chance = Chance(31)
    wholes = 0
    for _ in range(300):
        payload = bytearray([0x91 + chance.below(15)]) + chance.bytes(chance.below(9))
        wire = bytearray(40)
        end = frame.encode(payload + b"  ", len(payload), wire)
        if chance.below(2):
            wire[1 + chance.below(end - 1)] ^= 1 << chance.below(8)
        one, other = _Reading(slow, 12), _Reading(quick, 12)
        after = one.take(wire, 0, end)
        assert other.take(wire, 0, end) == after, wire
        wholes += after[1][4] > 0
    assert 100 < wholes < 200, wholes


def test_flat_messages_are_read_the_same():
    quick, slow = both()
    chance = Chance(29)
    heads = b"\x00\x05\x42\x7f\x80\x90\x93\xa1\xc0\xc2\xcb\xcc\xcd\xce\xcf\xd0\xff\x92\x91"
    seen = set()
    for _ in range(1500):
        data = bytearray([0x91 + chance.below(6)]) + chance.bytes(chance.below(15))
        for at in range(1, len(data)):
            if chance.below(2):
                data[at] = heads[chance.below(len(heads))]
        marks = _flat(slow, data)
        assert _flat(quick, data) == marks, data
        found, items = marks[:2]
        seen.add((found, items))
        if found:
            _is_flat(data, found, items, marks[2:])
    assert len(seen) > 12, seen


def _is_flat(data, found, items, words):
    cursor = codec.Cursor(data)
    cursor.begin(0, len(data))
    fields = [cursor.value(2) for _ in range(cursor.array())]
    assert found == len(fields)
    if items >= 0:
        assert items == len(fields[-1])
        fields = fields[:-1] + fields[-1]
    assert fields == [None if w == UNKNOWN else w for w in words[: len(fields)]], data


def test_flat_messages_have_integers_of_30_bits_and_as_many_as_there_are_marks():
    for kind in _each():
        for number in (0, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0x3FFFFFFF):
            data = bytearray(8)
            marks = _flat(kind, data[: codec.put(data, 0, [number])])
            assert marks[:3] == [1, -1, number]
        for message in ([0x40000000], [0xFFFFFFFF], [-1], [True], ["a"], [[1], 2], [[[1]]]):
            data = bytearray(12)
            assert _flat(kind, data[: codec.put(data, 0, message)])[0] == 0, message
        for count in range(16):
            data = bytearray(40)
            marks = _flat(kind, data[: codec.put(data, 0, [67, 5, list(range(count))])])
            assert marks[0] == (3 if count <= 11 else 0), count
            if count <= 11:
                assert marks[1 : 4 + count] == [count, 67, 5] + list(range(count))


def _row_packed(kind, row):
    fenced = Fenced(5 * len(row))
    end = kind.pack_row(fenced.buffer, 0, row, len(row), 0)
    assert fenced.untouched()
    return bytes(fenced.buffer[:end])


def test_rows_are_packed_the_same_and_as_the_codec_has_them():
    quick, slow = both()
    chance = Chance(37)
    odd = (None, True, False, 0x3FFFFFFF, -0x3FFFFFFF, -0x40000000, 0x40000000)
    for _ in range(300):
        row = [word(chance) for _ in range(chance.below(10))]
        if row and chance.below(2):
            row[chance.below(len(row))] = odd[chance.below(len(odd))]
        packed = _row_packed(slow, row)
        assert _row_packed(quick, tuple(row)) == packed, row
        known = bytearray(60)
        at = 0
        for item in row:
            a_figure = item is None or -0x40000000 < item < 0x40000000
            at = codec.put_int(known, at, item if a_figure else None)
        assert bytes(known[:at]) == packed, row
    raises(TypeError, quick.pack_row, bytearray(9), 0, ["x"], 1, 0)
    raises(TypeError, slow.pack_row, bytearray(9), 0, ["x"], 1, 0)


def test_lengths_that_lie_are_refused_before_any_loop():
    payload = Fenced(10, 1)
    wire = Fenced(40)
    for length in (11, 12, 1000, -1, -2, -9, 1 << 31, 1 << 32):
        raises(_OUTSIDE, frame.encode, payload.buffer, length, wire.buffer)
    for start, end in ((0, 11), (-1, 5), (5, 4), (11, 11), (0, 1 << 32), (1 << 32, 1 << 32)):
        raises(IndexError, frame.crc16, payload.buffer, start, end)
        raises(IndexError, frame.Reader(20).take, payload.buffer, start, end)
    assert payload.untouched() and wire.untouched()


def test_no_wire_is_too_short():
    payload = bytearray(b"\x91\x00" * 10 + b"  ")
    for room in range(50):
        wire = Fenced(room)
        end = _outcome(frame.encode, payload, 20, wire.buffer)
        assert end == (IndexError if room == 0 else 0) or 2 < end <= room, (room, end)
        assert wire.untouched(), room


def test_no_wire_is_too_short_for_an_escaped_end():
    payload = bytearray(b"\x91\x00  ")
    ends = set()
    for byte in range(256):
        payload[1] = byte
        whole = bytearray(20)
        fits = frame.encode(payload, 2, whole)
        ends.add(whole[fits - 3] == 0x7D)
        for room in range(4, 12):
            wire = Fenced(room)
            end = frame.encode(payload, 2, wire.buffer)
            assert end in (0, fits) and end <= room, (byte, room, end)
            assert wire.untouched(), (byte, room)
            # Room for an escape is asked for also where the last byte needs none.
            assert bool(end) == (room > fits or (room == fits and whole[fits - 3] == 0x7D))
    assert ends == {False, True}


def test_no_frame_is_too_long_for_a_reader():
    for room in range(2, 12):
        reader = frame.Reader(room - 2)
        fenced = Fenced(room)
        reader.payload = fenced.buffer
        for length in range(1, 16):
            payload = bytearray(b"\x91" * length + b"  ")
            wire = bytearray(40)
            end = frame.encode(payload, length, wire)
            assert reader.take(wire, 0, end) == end
            assert reader.length == (length if length <= room - 2 else 0), (room, length)
            assert fenced.untouched(), (room, length)
            reader.take(b"\xc0\xc0 ", 0, 3)  # text again, also after one that was too long


def test_the_delimiter_after_damage_may_open_the_next_frame():
    one, two = framed([6, 1]), framed([6, 2])
    for size in (1, 3, 100):
        payloads, bad = _taken(one[:-3] + two + one, size)
        assert payloads == [b"\x92\x06\x02", b"\x92\x06\x01"], size
        assert bad == 1


def test_what_may_not_be_written_is_not():
    data = b"\x93" * 20
    copy = bytes(bytearray(data))
    raises(TypeError, frame.encode, bytearray(20), 5, data)
    for nothing in (None, 0, 1000, []):
        raises(TypeError, frame.crc16, 1000, 0, 0)
        raises((TypeError, IndexError), frame.encode, nothing, 1, bytearray(20))
    assert data == copy


def test_a_reader_takes_chunks_of_any_size_as_it_takes_bytes():
    chance = Chance(6)
    stream = bytearray(b"text")
    payload = bytearray(30)
    wire = bytearray(80)
    for length in (1, 5, 20, 28, 21):
        payload[0] = 0x91
        payload[1:length] = chance.bytes(length - 1)
        stream.extend(wire[: frame.encode(payload, length, wire)])
        stream.extend(chance.bytes(9))
    whole = _taken(stream, len(stream))
    assert len(whole[0]) >= 3
    for size in (1, 2, 7, 32):
        assert _taken(stream, size) == whole, size
    fed = frame.Reader(28)
    payloads = [bytes(fed.payload[:n]) for n in map(fed.feed, stream) if n > 0]
    assert (payloads, fed.bad) == whole


class _Clock:
    """As the agent's, at a moment; it notes what it is to look at sooner."""

    def __init__(self, s, ms, next_s=_NEVER):
        self.s = s
        self.ms = ms
        self.next_s = next_s
        self.news = bytearray(1)
        self.soonest = None

    def sooner(self, s, ms):
        self.soonest = (s, ms)

    def forget(self, s, ms):
        pass


class _Events:
    def __init__(self, clock):
        self.clock = clock
        self.seq = 0
        self.ring = [None] * 96
        self.told = 0
        self.locked = []

    def acquire(self, wait):
        self.locked.append(wait)

    def release(self):
        self.locked.append(0)

    def changed(self, row):
        self.told += 1


class _Timed:
    def __init__(self, due, clock):
        self.due = array("i", due)
        self.rows = len(due) // 2
        self.clock = clock


def test_an_event_is_noted_in_its_place_of_sixteen():
    for kind in _each():
        events = _Events(_Clock(7, 8))
        for number in range(20):
            kind.note(events, "lease", number, "released", -number)
        assert (events.seq, events.told, events.clock.news[0]) == (20, 20, 1)
        assert events.ring[18:24] == ["lease", 7, 8, 19, "released", -19]
        assert events.ring[24:30] == ["lease", 7, 8, 4, "released", -4]


def test_an_event_is_read_and_the_oldest_for_one_that_is_forgotten():
    for kind in _each():
        events = _Events(_Clock(7, 8))
        for number in range(20):
            kind.note(events, "lease", number, "released", -number)
        fields = [None] * 7
        assert kind.read_event(events, 19, fields) == 19
        assert fields == [19, "lease", 7, 8, 19, "released", -19]
        assert kind.read_event(events, 0, fields) == 4
        assert fields == [4, "lease", 7, 8, 4, "released", -4]
        assert events.locked == [1, 0, 1, 0]


def test_what_is_left_is_told_to_the_millisecond():
    for kind in _each():
        for s, ms, expected in (
            (_NEVER, 0, -1),
            (7, 999, 99),
            (7, 900, 0),
            (7, 899, 0),
            (6, 999, 0),
            (8, 0, 100),
            (536_007, 0, 535_999_100),
            (536_008, 0, 1 << 29),
            (_NEVER - 1, 0, 1 << 29),
        ):
            timed = _Timed([0, s, 0, ms], _Clock(7, 900))
            assert kind.left_ms(timed, 1) == expected, (s, ms)


def test_what_is_over_is_told_and_the_soonest_of_the_rest():
    for kind in _each():
        timed = _Timed([5, 4, _NEVER, 6, 5, 100, 0, 7, 3, 102], _Clock(5, 100))
        assert kind.over(timed) == 0b00011
        assert timed.clock.soonest == (5, 102)
        timed.clock = _Clock(5, 102)
        assert kind.over(timed) == 0b10011
        assert timed.clock.soonest == (6, 3)
        timed.clock = _Clock(7, 0)
        assert kind.over(timed) == 0b11011
        assert timed.clock.soonest == (_NEVER, 0)
        timed.clock = _Clock(0, 0, next_s=3)
        assert kind.over(timed) == 0
        assert timed.clock.soonest is None  # something else is looked at before


def test_moments_by_chance_are_over_in_both_alike():
    chance = Chance(9)
    for _ in range(200):
        rows = 1 + chance.below(16)
        due = [chance.below(4) or _NEVER for _ in range(rows)]
        due += [chance.below(1000) for _ in range(rows)]
        s, ms = chance.below(4), chance.below(1000)
        moments = [(due[row], due[rows + row]) for row in range(rows)]
        rest = [moment for moment in moments if (s, ms) < moment < (_NEVER, 0)]
        expected = sum([1 << row for row in range(rows) if moments[row] <= (s, ms)])
        for kind in _each():
            timed = _Timed(due, _Clock(s, ms))
            assert kind.over(timed) == expected
            assert timed.clock.soonest == min(rest or [(_NEVER, 0)])
            assert list(timed.due) == due


def test_a_moment_is_put_off_to_the_millisecond():
    for kind in _each():
        for s, ms, in_ms, expected in (
            (7, 999, 1, (8, 0)),
            (7, 0, 999, (7, 999)),
            (0, 500, 300_000, (300, 500)),
            (1000, 999, _NEVER, (1_074_742, 822)),
        ):
            timed = _Timed([0] * 6, _Clock(s, ms, next_s=300))
            kind.put_off(timed, 2, in_ms)
            assert list(timed.due) == [0, 0, expected[0], 0, 0, expected[1]]
            assert timed.clock.soonest == (expected if expected[0] <= 300 else None)


def _each():
    """Return the twins that this interpreter runs."""
    return (fast, plain) if fast else (plain,)


def _taken(stream, size):
    reader = frame.Reader(28)
    payloads = []
    for begin in range(0, len(stream), size):
        at = begin
        end = min(begin + size, len(stream))
        while at < end:
            at = reader.take(stream, at, end)
            if reader.length:
                payloads.append(bytes(reader.payload[: reader.length]))
    return payloads, reader.bad


class _Table:
    def __init__(self, entries, free):
        self.table = entries
        self.free = free


def test_rows_that_are_taken_are_found_the_same():
    quick, slow = both()
    chance = Chance(41)
    for _ in range(100):
        entries = [None if chance.below(2) else object() for _ in range(chance.below(17))]
        count = len(entries)
        mask = sum(1 << row for row in range(count) if entries[row] is not None)
        for kind in (quick, slow):
            due = bytearray(b"\x07" * (count + 1))
            assert kind.taken(entries, due, count) == mask
            assert list(due) == [mask >> row & 1 for row in range(count)] + [7]
            table = _Table(entries, bytearray([1 - flag for flag in due[:count]]))
            some = _Table([None, 1], b"\1\0")
            masks, others = [0] * 3, [0] * 3
            kind.find_taken([some, table, table], [table, some, table], masks, others)
            assert (masks, others) == ([2, mask, mask], [mask, 2, mask])


class _Payload:
    """What `pack_message` reads of an uplink."""

    def __init__(self, seq, buffer):
        self.seq = seq
        self.payload = buffer


_TEXTS = (
    None,
    "",
    "flash",
    "x" * 31,
    "y" * 32,
    "ähnlich",
    "\u20ac\u20ac",
    "nul\0nul",
    "\U0001f600",
)


def test_messages_are_packed_the_same_and_as_the_codec_has_them():
    quick, slow = both()
    chance = Chance(41)
    for seq in (0, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF):
        for _ in range(60):
            fields = [word(chance) for _ in range(chance.below(13))]
            fields = [None if field == UNKNOWN else field for field in fields]
            texts = 0
            for _ in range(2):
                if fields:
                    place = chance.below(len(fields))
                    fields[place] = _TEXTS[chance.below(len(_TEXTS))]
                    texts |= 1 << place
            known = bytearray(202)
            known = bytes(known[: codec.put(known, 0, [9, seq] + fields)])
            for kind in (quick, slow):
                fenced = Fenced(202)
                end = kind.pack_message(_Payload(seq, fenced.buffer), 9, fields, texts)
                assert fenced.untouched()
                assert bytes(fenced.buffer[:end]) == known, (kind, seq, fields)


def test_a_text_that_is_too_long_for_a_payload_is_refused():
    for kind in _each():
        for length in range(150, 256):
            for text in ("z" * length, "\u20ac" * (length // 3)):
                fenced = Fenced(202)
                uplink = _Payload(0x1234, fenced.buffer)
                if len(text.encode()) > 183:  # 5 before it, and two figures behind
                    raises(IndexError, kind.pack_message, uplink, 9, [text, _NEVER, _NEVER], 1)
                else:
                    kind.pack_message(uplink, 9, [text, _NEVER, _NEVER], 1)
                assert fenced.untouched()


class _Told:
    """A table of rows, with what the decisions put there and call, in order."""

    def __init__(self, ms):
        self.clock = self
        self.s, self.ms, self.next_s = 7, ms, 60
        self.rows = 3
        self.table = [None, "taken", None]
        self.due = array("i", [_NEVER] * 6)
        self.began_s = array("i", bytes(12))
        self.free = bytearray(b"\0\0\1")
        self.next_id = _NEVER
        self.told = [None] * 3
        self.untold = (0, "")
        self.max_operations = 2
        self.word_ms = 5000
        self.places = self.waiting = self.agreed = 0
        self.more = bytearray(3)
        self.sums = [0, 0, 10, 0]
        self.ended = 0xFFFF
        self.awaited = False
        self.last_name = "flash"
        self.operation = _Entry
        self.calls = []

    def _note(name):
        def call(self, *arguments):
            self.calls.append((name,) + arguments)

        return call

    advance = _note("advance")
    acquire = _note("acquire")
    release = _note("release")
    changed = _note("changed")
    freed = _note("freed")
    sooner = _note("sooner")
    now = _note("now")
    count_waiting = _note("count_waiting")
    pass_on = _note("pass_on")
    put = _note("put")

    def learn_began(self, op):
        self.calls.append(("began", op.id))

    def learn_ended(self, op):
        self.calls.append(("ended", op.id))

    def found(self):
        entries = [entry and getattr(entry, "id", entry) for entry in self.table]
        words = list(self.due) + list(self.began_s) + list(self.free) + list(self.more)
        counts = (self.next_id, self.places, self.agreed, self.ended, self.sums, self.told)
        return entries, words, counts, self.calls


class _Entry:
    """An operation or a lease."""

    def __init__(self, desk, row, number, name, state):
        self.desk = self.ledger = desk
        self.row, self.id, self.name, self.state = row, number, name, state
        self.kind, self.amount = 2, 4
        self.committed, self.active = False, True
        self.task = self.lease = self.buffer = self.on_preempt = None


def test_operations_begin_and_end_the_same():
    for ms, waiting, places, name, word_ms in (
        (0, 0, 0, "flash", 5000),
        (999, 0, 1, "flash", 1),
        (0, 1, 0, "flash", 5000),
        (0, 0, 2, "flash", 5000),
        (0, 0, 0, "other", 5000),
        (0, 0, 0, "flash", 0),
    ):
        found = []
        begins = not waiting and places < 2 and name == "flash" and word_ms > 0
        for kind in _each():
            desk = _Told(ms)
            desk.waiting, desk.places, desk.word_ms = waiting, places, word_ms
            desk.last_name = name
            op = kind.start(desk, "flash")
            found.append((desk.found(), op and op.id))
            assert (op is not None) is begins
        assert found[0] == found[-1]


def test_operations_end_the_same_in_each_state():
    for state in range(6):
        for more in (0, 1):
            found = []
            for kind in _each():
                desk = _Told(5)
                op = desk.operation(desk, 2, 5, "flash", state)
                kind.enter(desk, op)
                assert (desk.next_id, desk.table[2], desk.free[2]) == (6, op, 0)
                kind.begin_row(desk, 2, 1500)
                desk.places, desk.waiting, desk.more[2] = 1, state & 1, more
                op.task, op.lease = "task", _Entry(desk, 0, 9, "", 0)
                op.lease.release = desk.now
                kind.complete(op)
                kind.complete(op)
                found.append((desk.found(), op.state, op.task))
                assert op.state == 5 and (state == 5 or desk.table[2] is None)
            assert found[0] == found[-1]


def test_leases_end_the_same():
    for kind_of, committed, agreed, buffer, awaited in (
        (2, False, False, None, False),
        (0, True, True, "memory", True),
        (1, False, True, None, True),
        (3, True, False, None, False),
    ):
        found = []
        for kind in _each():
            ledger = _Told(5)
            lease = _Entry(ledger, 2, _NEVER, "", 0)
            kind.enter(ledger, lease)
            assert ledger.next_id == 1
            lease.kind, lease.committed, lease.buffer = kind_of, committed, buffer
            ledger.awaited = awaited
            if agreed:
                ledger.agreed, lease.on_preempt = 1, len
            kind.release(lease)
            kind.release(lease)
            assert not kind.take_back(ledger, lease, "expired")
            assert (lease.active, lease.committed, lease.buffer) == (False, True, None)
            assert ledger.free[2] == 1 and ledger.ended == 0
            found.append(ledger.found())
        assert found[0] == found[-1]


class _Resting:
    """What `turn` reads of an agent where nothing is due; it has none of what `wake` needs."""

    def __init__(self, words, news, read, ticks_us):
        self.resting = words
        self.news = self.chunk = news
        self.read = read
        self.ticks_us = ticks_us
        self.told = 0

    def failed(self):
        return -99_999

    def deliver(self):
        self.told = 2


def _looked(kind, resting, news, count, now, took=0):
    words = array("i", resting)
    calls = []

    def read(chunk):
        calls.append(chunk)
        return count

    ticks = [now]

    def ticks_us():
        ticks.append(ticks[-1] + took)
        return ticks[-2]

    agent = _Resting(words, news, read, ticks_us)
    wait = kind.turn(agent, True)
    return (0 if wait == 99_999 else wait), list(words), len(calls), agent.told


def test_a_turn_finds_the_same():
    quick, slow = both()
    chance = Chance(43)
    seen = set()
    mask = (1 << 25) - 1
    for turn in range(400):
        began = chance.below(1 << 15) << 10
        passed = chance.below(1 << 11) * 1000
        now = (began + passed) & mask if turn % 2 else began + passed
        stepping = chance.below(8) == 0
        resting = [int(stepping), 5, 6, began, 1_000_000, mask]
        resting += [chance.below(3), int(chance.below(8) == 0), 0, chance.below(300)]
        news = bytearray([int(chance.below(8) == 0)])
        count = chance.below(32) if chance.below(4) == 0 else 0
        took = chance.below(900)
        one = _looked(slow, resting, news, count, now, took)
        assert _looked(quick, resting, news, count, now, took) == one, (resting, news, count, now)
        wait, words, reads, told = one
        seen.add(told)
        if stepping:
            assert (wait, reads, words) == (10, 0, resting)
            continue
        idle = not (news[0] or count or resting[7]) and passed < 1_000_000
        assert reads == 1
        assert words[0] == (0 if wait > 0 else 1)
        assert wait == ((1_000_000 - passed) // 1000 + 1 if idle else 0), resting
        assert told == (0 if idle else 2)  # 2: it would have woken
        if idle and not resting[6]:
            mean = resting[9] or took
            assert words[9] == mean + (min(took, 2 * mean + 4) - mean + 3 >> 2)
        assert words[6] == resting[6] + (1 if idle else 0)
    assert seen == {0, 2}
    # The ticks of a 64-bit machine have many more bits than a word.
    if sys.maxsize > 1 << 32:
        for now in (1 << 40, (1 << 61) + 77_000):
            low = now & 0x3FFFFFFF
            resting = [0, 0, 0, low - 500, 2000, 0x3FFFFFFF, 1, 0, 0, 0]
            for kind in (quick, slow):
                assert _looked(kind, resting, bytearray(1), 0, now)[0] == 2


def test_neither_allocates():
    data = bytes(range(60))
    wire = bytearray(200)
    buf = bytearray(80)
    marks = array("i", [1, 0, 80] + [0] * 17)
    items = (5, None, True, 70_000, -300)
    clock = _Clock(100, 999)
    clock.sooner = clock.forget
    events = _Events(clock)
    timed = _Timed([_NEVER] * 6, clock)
    entries = [None] * 80
    resting = array("i", [0, 0, 0, 0, 2000, 0x3FFFFFFF, 1, 0])
    agent = _Resting(resting, buf, lambda _: 0, lambda: 0)
    for kind in _each():
        crc16, seal, take = kind.crc16, kind.seal, kind.take
        note, over, put_off, pack_row = kind.note, kind.over, kind.put_off, kind.pack_row
        with no_heap():
            crc16(data, 0, 60, 0xFFFF)
            end = seal(data, 60, wire, 200)
            take(wire, 0, end, buf, marks)
            pack_row(buf, 0, items, 5, 0)
            note(events, "lease", 3, "released", 4)
            put_off(timed, 1, 1)
            over(timed)
            kind.taken(entries, buf, 80)
            kind.turn(agent, True)


def test_sealing_and_taking_allocate_nothing():
    reader = frame.Reader(60)
    payload = bytearray(b"\x98\x07\x00\x7d\x01\xc0\x05\x06\x08")
    wire = bytearray(130)
    with no_heap():
        frame.encode(payload, 9, wire)
        reader.take(wire, 0, 130)
    assert reader.length == 9
    assert reader.payload[:9] == payload
