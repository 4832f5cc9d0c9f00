# targets: unix frozen qemu qemu-m0
"""The loops over bytes: viper and bytecode are equal, and neither goes outside its buffers.

Compared are three: bytecode, viper as this board compiles it (or loads it into its heap), and what
`warden_schema.loops` chose, which may be frozen. Buffers are slices out of the middle of a larger
one, so that what is beside them can be looked at.
"""

import sys
from array import array

import loops_plain
from frames import MARGIN, Chance, Fenced
from harness import skip
from warden_schema.loops import changes, crc16, stuff, unstuff

try:
    import loops_viper
except (ImportError, ValueError, SyntaxError, TypeError):
    loops_viper = None

_ARMV6M = 4  # as in `sys.implementation._mpy`


class _Chosen:
    crc16 = staticmethod(crc16)
    stuff = staticmethod(stuff)
    unstuff = staticmethod(unstuff)
    changes = staticmethod(changes)


def _others():
    """Return what is compared with bytecode."""
    if loops_viper is None:
        skip("this interpreter runs no machine code")
    return [loops_viper, _Chosen]


def test_viper_is_chosen_where_it_runs():
    machine = sys.implementation._mpy >> 10
    assert (loops_viper is not None) is (machine != 0)
    # Frozen for ARMv6-M machine code is wrong: tools/check_armv6m.py.
    chosen = type(crc16) is not type(loops_plain.crc16)
    assert chosen is (machine not in (0, _ARMV6M))


def test_the_crc_is_the_published_one():
    for kind in [loops_plain] + _others():
        assert kind.crc16(b"123456789", 0, 9) == 0x29B1


def test_the_crc_is_the_same():
    chance = Chance(1)
    for length in range(70):
        data = chance.bytes(length + 3)
        for start, end in ((0, length), (3, length + 3), (length, 1), (2, 2)):
            crc = loops_plain.crc16(data, start, end)
            assert 0 <= crc <= 0xFFFF
            for kind in _others():
                assert kind.crc16(data, start, end) == crc, (data, start, end)


def test_the_crc_is_the_same_for_every_byte_in_every_state():
    data = bytearray(3)
    for byte in range(256):
        data[2] = byte
        for first in range(0, 256, 15):
            data[0] = first
            data[1] = 255 - byte
            crc = loops_plain.crc16(data, 0, 3)
            for kind in _others():
                assert kind.crc16(data, 0, 3) == crc, data


def test_the_crc_takes_nothing_from_beside_its_data():
    for kind in _others():
        for length in range(20):
            fenced = Fenced(length, 0x31)
            first = kind.crc16(fenced.buffer, 0, length)
            for at in range(MARGIN):
                fenced.whole[at] = fenced.whole[-1 - at] = 0x55
            assert kind.crc16(fenced.buffer, 0, length) == first


def _stuffed(kind, payload, length):
    wire = Fenced(2 * length + 2)
    end = kind.stuff(payload, length, wire.buffer)
    assert wire.untouched(), (payload, length)
    return end, bytes(wire.buffer)


def test_stuffing_is_the_same_and_stays_inside():
    chance = Chance(2)
    for length in list(range(24)) + [100, 199, 202]:
        for _ in range(5):
            payload = chance.bytes(length)
            one = _stuffed(loops_plain, payload, length)
            for kind in _others():
                assert _stuffed(kind, payload, length) == one, payload


def test_stuffing_is_the_same_for_every_byte():
    for byte in range(256):
        payload = bytes([byte])
        one = _stuffed(loops_plain, payload, 1)
        for kind in _others():
            assert _stuffed(kind, payload, 1) == one, byte


class _Reading:
    """One of them, with a payload and progress of its own."""

    def __init__(self, kind, room):
        self._unstuff = kind.unstuff
        self.payload = Fenced(room)
        self.progress = array("i", (0, room, 0, -7))

    def read(self, data, at, end):
        at = self._unstuff(data, at, end, self.payload.buffer, self.progress)
        assert self.payload.untouched()
        assert self.progress[3] == -7
        return at, list(self.progress), bytes(self.payload.buffer)


def test_reading_is_the_same_and_stays_inside():
    chance = Chance(4)
    for turn in range(120):
        room = chance.below(12)
        one = _Reading(loops_plain, room)
        others = [_Reading(kind, room) for kind in _others()]
        data = chance.bytes(chance.below(60))
        at = 0
        while at < len(data):
            end = at + 1 + chance.below(len(data) - at)
            after = one.read(data, at, end)
            for other in others:
                assert other.read(data, at, end) == after, (turn, data, at, end)
            assert at <= after[0] <= end
            at = max(at + 1, after[0])


def test_reading_is_the_same_from_every_state_for_every_byte():
    data = bytearray(1)
    for room in (0, 1, 3):
        readings = [_Reading(kind, room) for kind in [loops_plain] + _others()]
        for flip in (0, 0x20):
            for to in range(room + 2):
                for byte in range(256):
                    data[0] = byte
                    for reading in readings:
                        reading.payload.fill(0)
                        reading.progress[0] = to
                        reading.progress[2] = flip
                    after = readings[0].read(data, 0, 1)
                    for reading in readings[1:]:
                        assert reading.read(data, 0, 1) == after, (room, flip, to, byte)


def test_reading_looks_at_nothing_beside_the_data():
    for kind in _others():
        reading = _Reading(kind, 30)
        for length in range(12):
            fenced = Fenced(length, 0x95)
            for at in range(MARGIN):
                fenced.whole[at] = fenced.whole[-1 - at] = 0xC0
            reading.progress[0] = 0
            for at in (0, length):
                end, progress, _ = reading.read(fenced.buffer, at, length)
                assert (end, progress[:3]) == (length, [length, 30, 0])


def test_whole_frames_and_damaged_ones_are_read_the_same():
    chance = Chance(31)
    wholes = 0
    wire = bytearray(40)
    for _ in range(300):
        payload = bytearray([0x91 + chance.below(15)]) + chance.bytes(chance.below(9))
        end = loops_plain.stuff(payload, len(payload), wire)
        if chance.below(2):
            wire[1 + chance.below(end - 1)] ^= 1 << chance.below(8)
        after = _Reading(loops_plain, 12).read(wire, 1, end)
        for kind in _others():
            assert _Reading(kind, 12).read(wire, 1, end) == after, wire
        wholes += after[0] == end - 1 and after[1][0] == len(payload)
    assert wholes > 100, wholes


def test_changed_words_are_found_the_same_and_stay_as_they_are():
    chance = Chance(5)
    for count in list(range(31)) + [25] * 40:
        words = array("i", [chance.below(65537) * 16_384 - (1 << 29) for _ in range(count + 1)])
        last = array("i", words)
        expected = 0
        for place in range(count + 1):
            if chance.below(3) == 0:
                last[place] = chance.below(7) - 3
                expected |= (last[place] != words[place]) << place
        expected &= (1 << count) - 1
        before = list(words), list(last)
        for kind in [loops_plain] + _others():
            assert kind.changes(count, words, last) == expected
            assert kind.changes(count, words, words) == 0
            assert (list(words), list(last)) == before
