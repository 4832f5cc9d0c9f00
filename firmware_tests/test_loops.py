# targets: unix frozen qemu
"""The loops over bytes: viper and bytecode are equal, and neither goes outside its buffers.

Buffers are slices out of the middle of a larger one, so that what is beside them can be looked at.
"""

import sys
from array import array

from harness import no_heap, raises, skip
from rig import framed
from warden_schema import codec, frame, loops

try:
    from warden_schema import plain
except ImportError:  # it is not frozen beside `fast`: the tests' own link to it
    import plain

try:
    from warden_schema import fast
except (ImportError, ValueError, SyntaxError):
    fast = None

_MARGIN = 16
_NEVER = (1 << 30) - 1
# What the loops treat apart, three times as often as chance would have it.
_SPECIAL = b"\xc0\xc0\xc0\x7d\x7d\x00\x01\x05\x06\x0a\x0d\x1a\x1f\x20\x91\x9f\x90\xa0\x5d\xe0\xff"
# OverflowError: of a place that no 32-bit board can count to.
_OUTSIDE = (IndexError, OverflowError)


class _Chance:
    """The same numbers on every board (a linear congruence; QEMU's firmware has no `random`)."""

    def __init__(self, seed):
        self._state = seed

    def below(self, limit):
        self._state = (self._state * 75 + 74) % 65537
        return self._state % limit

    def bytes(self, count):
        data = bytearray(count)
        for at in range(count):
            special = self.below(2)
            data[at] = _SPECIAL[self.below(len(_SPECIAL))] if special else self.below(256)
        return data


class _Fenced:
    """A buffer of `count` bytes between two margins."""

    def __init__(self, count, fill=0xAA):
        self.whole = bytearray(b"\xaa" * (count + 2 * _MARGIN))
        self.buffer = memoryview(self.whole)[_MARGIN : _MARGIN + count]
        self.fill(fill)

    def fill(self, byte):
        for at in range(len(self.buffer)):
            self.buffer[at] = byte

    def untouched(self):
        margin = b"\xaa" * _MARGIN
        return self.whole[:_MARGIN] == margin and self.whole[-_MARGIN:] == margin


def _both():
    if fast is None:
        skip("this interpreter runs no machine code")
    return fast, plain


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
    assert frame._unescape is loops.unescape
    assert codec._pack is loops.pack


def test_the_crc_is_the_same():
    quick, slow = _both()
    chance = _Chance(1)
    for length in range(70):
        data = chance.bytes(length + 3)
        for crc in (0xFFFF, 0, chance.below(0x10000), -1, 0x12345678):
            for start, end in ((0, length), (3, length + 3), (length, 1), (2, 2)):
                one = slow.crc16(data, start, end, crc)
                assert quick.crc16(data, start, end, crc) == one, (data, start, end, crc)
                assert 0 <= one <= 0xFFFF


def test_the_crc_is_the_same_for_every_byte():
    quick, slow = _both()
    data = bytes(range(256))
    for crc in (0xFFFF, 0, 0x1D0F):
        for at in range(256):
            assert quick.crc16(data, at, at + 1, crc) == slow.crc16(data, at, at + 1, crc)


def test_the_crc_takes_nothing_from_beside_its_data():
    quick, _ = _both()
    for length in range(20):
        fenced = _Fenced(length, 0x31)
        first = quick.crc16(fenced.buffer, 0, length, 0xFFFF)
        for at in range(_MARGIN):
            fenced.whole[at] = fenced.whole[-1 - at] = 0x55
        assert quick.crc16(fenced.buffer, 0, length, 0xFFFF) == first


def _escaped(kind, payload, length, room):
    wire = _Fenced(room)
    end = kind.escape(payload, length, wire.buffer, room)
    assert wire.untouched(), (payload, length, room)
    return end, bytes(wire.buffer)


def test_escaping_is_the_same_and_stays_inside():
    quick, slow = _both()
    chance = _Chance(2)
    for length in range(24):
        payload = chance.bytes(length)
        for room in range(2, 2 * length + 6):
            one = _escaped(slow, payload, length, room)
            assert _escaped(quick, payload, length, room) == one, (payload, room)
            assert one[0] <= room


def test_escaping_is_the_same_for_every_byte():
    quick, slow = _both()
    for byte in range(256):
        payload = bytes([byte])
        assert _escaped(quick, payload, 1, 5) == _escaped(slow, payload, 1, 5), byte


def test_escaping_long_payloads_is_the_same():
    quick, slow = _both()
    chance = _Chance(3)
    for length in (100, 199, 202):
        payload = chance.bytes(length)
        for room in (length, length + 20, 406):
            assert _escaped(quick, payload, length, room) == _escaped(slow, payload, length, room)


class _Reading:
    """One of the two, with a payload and marks of its own."""

    def __init__(self, kind, room):
        self._unescape = kind.unescape
        self.payload = _Fenced(room)
        self.marks = array("i", (0, 0, room, 0))

    def take(self, data, at, end):
        at = self._unescape(data, at, end, self.payload.buffer, self.marks)
        assert self.payload.untouched()
        return at, list(self.marks), bytes(self.payload.buffer)


def test_reading_is_the_same_and_stays_inside():
    quick, slow = _both()
    chance = _Chance(4)
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
            if after[1][0] == 4:  # closed: whether it was whole is for the caller to say
                one.marks[0] = other.marks[0] = chance.below(2)
            at = after[0]


def test_reading_is_the_same_from_every_state_for_every_byte():
    quick, slow = _both()
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
    quick, _ = _both()
    reading = _Reading(quick, 30)
    for length in range(12):
        fenced = _Fenced(length, 0x95)
        for at in range(_MARGIN):
            fenced.whole[at] = fenced.whole[-1 - at] = 0xC0
        reading.marks[0] = 2
        reading.marks[1] = 0
        assert reading.take(fenced.buffer, 0, length)[:2] == (length, [2, length, 30, 0])
        assert reading.take(fenced.buffer, length, length)[:2] == (length, [2, length, 30, 0])


_UNKNOWN = -0x40000000
# All that a word may hold, where something else is done with it.
_WORDS = (
    (_UNKNOWN, 0, 1, 5, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0x100, 0x101, 0xFFFE, 0xFFFF, 0x10000)
    + (0x10001, 0xFFFFFF, 0x1000000, 0x3FFFFFFE, 0x3FFFFFFF, -1, -5, -0x1F, -0x20, -0x21, -0x7F)
    + (-0x80, -0x81, -0x7FFF, -0x8000, -0x8001, -0x10000, -0x3FFFFFFE, -0x3FFFFFFF)
)


def _word(chance):
    """Return a word, mostly a small one."""
    if chance.below(3):
        return chance.below(1000)
    return _WORDS[chance.below(len(_WORDS))]


def _packed(kind, words, at):
    fenced = _Fenced(at + 5 * len(words))
    return kind.pack(fenced.buffer, at, words, len(words)), bytes(fenced.buffer), fenced.untouched()


def test_packing_is_the_same_for_each_number_and_stays_inside():
    quick, slow = _both()
    for word in _WORDS:
        for at in (0, 3):
            one = _packed(slow, array("i", [word]), at)
            assert one[2]
            assert _packed(quick, array("i", [word]), at) == one, word
            value = None if word == _UNKNOWN else word
            assert codec.decode(bytearray(one[1][at : one[0]]), one[0] - at) == value, word
            known = bytearray(9)
            if value is None or value >= 0 or value >= -0x20:
                assert codec.put_int(known, 0, value) == one[0] - at
            assert bytes(known[: codec.put_int(known, 0, value)]) == one[1][at : one[0]], word


def test_packing_is_the_same_for_many():
    quick, slow = _both()
    chance = _Chance(5)
    for turn in range(200):
        words = array("i", [_word(chance) for _ in range(chance.below(25))])
        one = _packed(slow, words, turn % 3)
        assert _packed(quick, words, turn % 3) == one, words
        assert one[2]
        to = array("i", [7] * (len(words) + 1))
        (quick if turn & 1 else slow).copy(words, to, len(words))
        assert list(to) == list(words) + [7]


def _compared(kind, values, base, places, lasting):
    fields = array("i", [77] * 14)
    count = kind.compare(values, base, places, lasting, len(places), fields)
    assert fields[13] == 77
    return count, list(fields[:count])


def test_comparing_is_the_same():
    quick, slow = _both()
    chance = _Chance(7)
    seen = set()
    for turn in range(400):
        lasting = chance.below(4)
        places = bytes(2 + chance.below(22) for _ in range(lasting + chance.below(19)))
        lasting = min(lasting, len(places))
        base = array("i", [chance.below(1000), chance.below(1000)] + [0] * 22)
        for place in range(2, 24):
            base[place] = _word(chance)
        base[2] = chance.below(60_000)
        values = array("i", base)
        if turn % 7:
            values[0] += chance.below(3) + (210_000 if turn % 29 == 0 else 0)
            values[1] = chance.below(1000)
        for _ in range(chance.below(14 if turn % 5 == 0 else 6)):
            values[2 + chance.below(22)] = _word(chance)
        values[2] = max(values[2], 0)
        one = _compared(slow, values, base, places, lasting)
        assert _compared(quick, values, base, places, lasting) == one, (values, base, places)
        seen.add(one[0])
    assert seen.issuperset((0, 3, 4, 5, 6)), seen


def test_what_is_shrunk_is_the_same():
    quick, slow = _both()
    chance = _Chance(8)
    for _ in range(200):
        values = array("i", [max(_word(chance), -1) for _ in range(24)])
        for place in range(24):
            if values[place] < 0:
                values[place] = _UNKNOWN
        places = bytes(chance.below(24) for _ in range(3))
        shifts = bytes(chance.below(16) for _ in range(3))
        rows = [array("H", [9] * 4) for _ in range(2)]
        quick.shrink(values, places, shifts, rows[0], 3)
        slow.shrink(values, places, shifts, rows[1], 3)
        assert rows[0] == rows[1], (values, places, shifts)
        assert rows[0][3] == 9
        for place, shift, figure in zip(places, shifts, rows[0]):
            known = values[place] >= 0
            assert figure == (min(values[place] >> shift, 0xFFFE) if known else 0xFFFF)


def test_what_is_known_is_the_same():
    quick, slow = _both()
    chance = _Chance(13)
    for _ in range(200):
        values = array("i", [_word(chance) for _ in range(24)])
        count = chance.below(25)
        mask = slow.known(values, count)
        assert quick.known(values, count) == mask, values
        assert mask == sum(1 << place for place in range(count) if values[place] != _UNKNOWN)


def test_flat_messages_are_read_the_same():
    quick, slow = _both()
    chance = _Chance(29)
    heads = b"\x00\x05\x42\x7f\x80\x90\x93\xa1\xc0\xc2\xcb\xcc\xcd\xce\xcf\xd0\xff"
    seen = set()
    for turn in range(2000):
        data = chance.bytes(chance.below(16))
        if len(data):
            data[0] = 0x90 + chance.below(7)
        for at in range(1, len(data)):
            if chance.below(2):
                data[at] = heads[chance.below(len(heads))]
        words = [array("i", [-7] * 5) for _ in range(2)]
        length = len(data) - (1 if turn % 5 == 0 and data else 0)
        count = slow.flat(data, length, words[1], 4)
        assert quick.flat(data, length, words[0], 4) == count, data
        assert words[0] == words[1], data
        assert words[0][4] == -7
        seen.add(count)
        if count:
            cursor = codec.Cursor(data)
            cursor.begin(0, length)
            found = [cursor.integer() for _ in range(cursor.array())]
            assert found == [None if w == _UNKNOWN else w for w in words[0][:count]], data
    assert seen == {0, 1, 2, 3, 4}, seen
    for number in (0, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0x3FFFFFFF, 0x40000000, 0xFFFFFFFF):
        data = bytearray(8)
        length = codec.put(data, 0, [number])
        for kind in (quick, slow):
            words = array("i", [-7])
            assert kind.flat(data, length, words, 1) == (1 if number < 1 << 30 else 0)
            assert words[0] == (number if number < 1 << 30 else -7), number
            assert not kind.flat(data, length - 1, words, 1) or (length == 2 and not number)


def test_what_is_put_is_the_same():
    quick, slow = _both()
    odd = (None, 0, 1, -90, 0x3FFFFFFF, -0x3FFFFFFF, -0x40000000, True, False)
    chance = _Chance(19)
    for _ in range(200):
        four = [odd[chance.below(len(odd))] for _ in range(4)]
        words = [array("i", [7] * 6) for _ in range(2)]
        quick.put(words[0], 1, *four)
        slow.put(words[1], 1, *four)
        assert words[0] == words[1], four
        found = [None if word == _UNKNOWN else word for word in words[0]]
        assert found == [7] + [None if each == -0x40000000 else each for each in four] + [7]


def test_governing_is_the_same():
    quick, slow = _both()
    chance = _Chance(23)
    seen = set()
    for _ in range(60):
        wanted = (20, 100, 1000, 600_000, 0)[chance.below(5)]
        states = [array("i", [1 + chance.below(1000), wanted, wanted, 0, 0, 77])]
        states.append(array("i", states[0]))
        for _ in range(30):
            scale = chance.below(23) if wanted != 20 else 23
            cost = chance.below(0x10000) << scale >> 16
            cost = min(cost, 8_000_000)
            busy = min(cost + (chance.below(0x10000) << scale >> 16), 16_000_000)
            period = chance.below(60_000) >> chance.below(16)
            quick.govern(states[0], cost, busy, period)
            slow.govern(states[1], cost, busy, period)
            assert states[0] == states[1], (cost, busy, period)
            seen.add(states[0][2])
        assert states[0][5] == 77
    assert len(seen) > 20 and 60_000 in seen, seen


def test_means_and_rises_are_the_same():
    quick, slow = _both()
    chance = _Chance(17)
    counts = set()
    for turn in range(200):
        ring = array("H", [chance.below(900) + turn for _ in range(60 * 12)])
        if turn & 1:  # holes, and nothing before some time
            for slot in range(chance.below(60), 60):
                ring[slot * 12 + 4] = 0xFFFF
            for _ in range(chance.below(20)):
                ring[chance.below(60) * 12 + 4] = 0xFFFF
        points = [array("i", [-7] * 13) for _ in range(2)]
        newest = chance.below(60)
        count = slow.means(ring, newest, 60, 12, 4, points[1], 12)
        assert quick.means(ring, newest, 60, 12, 4, points[0], 12) == count, (turn, newest)
        assert points[0] == points[1], (turn, newest)
        assert list(points[0][count:]) == [-7] * (13 - count)
        assert quick.rises(points[0], count) == slow.rises(points[1], count), points
        counts.add(count)
    assert counts.issuperset((0, 12)) and len(counts) > 4, counts


def test_what_is_crossed_is_the_same():
    quick, slow = _both()
    chance = _Chance(9)
    seen = set()
    for _ in range(400):
        values = array("i", [_word(chance) for _ in range(29)])
        rows = array("i", [0] * 32)
        for row in range(8):
            place = chance.below(40)
            edge = values[place] + chance.below(3) - 1 if place < 29 else 0
            edge = max(-0x3FFFFFFF, min(edge, 0x3FFFFFFF))
            words = (place if place < 29 else -1, edge, chance.below(2), chance.below(8) // 7)
            for index, word in enumerate(words):
                rows[4 * row + index] = word
        for row in range(9):
            one = slow.crossed(values, rows, row, 8)
            assert quick.crossed(values, rows, row, 8) == one, (values, rows, row)
            seen.add(one)
    assert seen == set(range(-1, 8)), seen


def test_gathering_and_filing_is_the_same():
    quick, slow = _both()
    chance = _Chance(11)
    cells = [array("i", [0] * 20) for _ in range(4)]  # one metric more than is used
    longer = [array("i", [0] * 20) for _ in range(2)]
    rings = [array("H", [7] * 24) for _ in range(2)]
    for turn in range(300):
        row = array("H", [chance.below(0x10000) if chance.below(3) else 0xFFFF for _ in range(5)])
        for mine, kind in enumerate((quick, slow)):
            kind.gather(cells[mine], row, 4)
            if turn % 5 == 0:
                last = turn % 2
                kind.file(cells[mine], rings[mine], turn % 3 * 4, longer[mine], 4, last)
        assert cells[0] == cells[1], turn
        assert longer[0] == longer[1], turn
        assert rings[0] == rings[1], turn
        assert list(cells[0][16:]) == [0] * 4
    assert list(rings[0][20:]) == [7] * 4
    assert any(longer[0])


def test_lengths_that_lie_are_refused_before_any_loop():
    payload = _Fenced(10, 1)
    wire = _Fenced(40)
    for length in (9, 10, 11, 1000, -1, -2, -9, 1 << 31, 1 << 32):
        raises(_OUTSIDE, frame.encode, payload.buffer, length, wire.buffer)
    for start, end in ((0, 11), (-1, 5), (5, 4), (11, 11), (0, 1 << 32), (1 << 32, 1 << 32)):
        raises(IndexError, frame.crc16, payload.buffer, start, end)
        raises(IndexError, frame.Reader(20).take, payload.buffer, start, end)
    assert payload.untouched() and wire.untouched()


def test_no_wire_is_too_short():
    payload = bytearray(b"\x91\x00" * 10 + b"  ")
    for room in range(50):
        wire = _Fenced(room)
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
            wire = _Fenced(room)
            end = frame.encode(payload, 2, wire.buffer)
            assert end in (0, fits) and end <= room, (byte, room, end)
            assert wire.untouched(), (byte, room)
            # Room for an escape is asked for also where the last byte needs none.
            assert bool(end) == (room > fits or (room == fits and whole[fits - 3] == 0x7D))
    assert ends == {False, True}


def test_no_frame_is_too_long_for_a_reader():
    for room in range(2, 12):
        reader = frame.Reader(room - 2)
        fenced = _Fenced(room)
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


def test_no_list_of_figures_is_too_long():
    for count in range(12):
        words = array("i", [70_000] * count)
        for room in range(5 * count + 3):
            fenced = _Fenced(room)
            end = _outcome(codec.put_words, fenced.buffer, 0, words, count)
            assert end == (5 * count if 5 * count <= room else IndexError), (count, room)
            assert fenced.untouched()
    one = array("i", [1])
    for at in (4, 5, 1000, -1, -5, 1 << 31, 1 << 32):
        raises(_OUTSIDE, codec.put_words, bytearray(8), at, one, 1)
    for count in (2, -1, 1 << 31):
        raises(_OUTSIDE, codec.put_words, bytearray(80), 0, one, count)


def test_what_may_not_be_written_is_not():
    data = b"\x93" * 20
    copy = bytes(bytearray(data))
    raises(TypeError, frame.encode, data, 5, bytearray(40))
    raises(TypeError, frame.encode, bytearray(20), 5, data)
    raises(TypeError, codec.put_words, data, 0, array("i", [1, 2]), 2)
    for nothing in (None, 0, 1000, []):
        raises(TypeError, frame.crc16, 1000, 0, 0)
        raises((TypeError, IndexError), frame.encode, nothing, 1, bytearray(20))
        raises((TypeError, IndexError), codec.put_words, nothing, 0, array("i", [1]), 1)
    assert data == copy


def test_a_reader_takes_chunks_of_any_size_as_it_takes_bytes():
    chance = _Chance(6)
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

    def changed(self):
        self.told += 1


class _Timed:
    def __init__(self, due, clock):
        self.due = array("i", due)
        self.rows = len(due) // 2
        self.clock = clock


def test_an_event_is_noted_in_its_place_of_sixteen():
    for kind in _there():
        events = _Events(_Clock(7, 8))
        for number in range(20):
            kind.note(events, "lease", number, "released", -number)
        assert (events.seq, events.told, events.clock.news[0]) == (20, 20, 1)
        assert events.ring[18:24] == ["lease", 7, 8, 19, "released", -19]
        assert events.ring[24:30] == ["lease", 7, 8, 4, "released", -4]


def test_what_is_over_is_told_and_the_soonest_of_the_rest():
    for kind in _there():
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
    chance = _Chance(9)
    for _ in range(200):
        rows = 1 + chance.below(16)
        due = [chance.below(4) or _NEVER for _ in range(rows)]
        due += [chance.below(1000) for _ in range(rows)]
        s, ms = chance.below(4), chance.below(1000)
        moments = [(due[row], due[rows + row]) for row in range(rows)]
        rest = [moment for moment in moments if (s, ms) < moment < (_NEVER, 0)]
        expected = sum([1 << row for row in range(rows) if moments[row] <= (s, ms)])
        for kind in _there():
            timed = _Timed(due, _Clock(s, ms))
            assert kind.over(timed) == expected
            assert timed.clock.soonest == min(rest or [(_NEVER, 0)])
            assert list(timed.due) == due


def test_a_moment_is_put_off_to_the_millisecond():
    for kind in _there():
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


def _there():
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


def test_neither_allocates():
    data = bytes(range(60))
    wire = bytearray(200)
    buf = bytearray(80)
    marks = array("i", (1, 0, 80, 0))
    values = array("i", [100, 5, 1000, _UNKNOWN, 200, 60_000, 1_000_000, -1, -200])
    base = array("i", [99, 9, 1000, _UNKNOWN, 199, 70_000, 1_000_001, 5, 60])
    fields = array("i", [0] * 13)
    places = bytes(range(3, 9))
    rows = array("i", [4, 201, 0, 0] * 8)
    row = array("H", [0] * 3)
    ring = array("H", range(60))
    points = array("i", [0] * 12)
    state = array("i", [10, 100, 100, 0, 0])
    clock = _Clock(100, 999)
    clock.sooner = clock.forget
    events = _Events(clock)
    timed = _Timed([_NEVER] * 6, clock)
    for kind in (fast, plain) if fast else (plain,):
        crc16, escape, unescape, pack = kind.crc16, kind.escape, kind.unescape, kind.pack
        compare, copy, shrink, crossed = kind.compare, kind.copy, kind.shrink, kind.crossed
        known, means, rises = kind.known, kind.means, kind.rises
        govern, put, flat = kind.govern, kind.put, kind.flat
        note, over, put_off = kind.note, kind.over, kind.put_off
        with no_heap():
            crc16(data, 0, 60, 0xFFFF)
            end = escape(data, 60, wire, 200)
            unescape(wire, 0, end, buf, marks)
            pack(buf, 0, values, 9)
            compare(values, base, places, 1, 6, fields)
            shrink(values, places, places, row, 3)
            crossed(values, rows, 0, 8)
            known(values, 9)
            means(ring, 59, 60, 1, 0, points, 12)
            rises(points, 12)
            govern(state, 5000, 9000, 1000)
            put(base, 2, None, 5, -90, 1)
            flat(b"\x93\x42\xce\x3f\xff\xff\xff\xc0", 8, points, 4)
            copy(values, base, 9)
            note(events, "lease", 3, "released", 4)
            put_off(timed, 1, 1)
            over(timed)
        assert base == values


def test_taking_and_putting_allocate_nothing():
    reader = frame.Reader(60)
    payload = bytearray(62)
    wire = bytearray(130)
    values = array("i", [_UNKNOWN, 1, 0, 200, 60_000, 1_000_000, -1, -200])
    with no_heap():
        payload[0] = 0x98
        frame.encode(payload, codec.put_words(payload, 1, values, 8), wire)
        reader.take(wire, 0, 130)
    assert reader.length == 18
    assert codec.decode(reader.payload, reader.length) == [None] + list(values)[1:]
