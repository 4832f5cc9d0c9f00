# targets: unix frozen qemu qemu-m0 cpython
"""Framing: what comes in whole comes out, what is damaged does not, and nothing is raised."""

from frames import Chance, Fenced, decode, deframed, framed
from harness import no_heap, raises
from warden_schema.frame import Deframer, encode
from warden_schema.loops import crc16

# OverflowError: of a place that no 32-bit board can count to.
_OUTSIDE = (IndexError, OverflowError)


def test_the_crc_is_the_published_one():
    assert crc16(b"123456789", 0, 9) == 0x29B1


def test_the_crc_is_the_one_of_binascii_on_cpython():
    from binascii import crc_hqx

    data = bytes(range(256))
    for end in range(257):
        assert crc16(data, 0, end) == crc_hqx(data[:end], 0xFFFF)


def test_no_byte_that_a_repl_or_terminal_acts_on_is_inside_a_frame():
    wire = framed([7, bytes(range(128)), bytes(range(128, 256))])
    assert wire[0] == wire[-1] == 0xC0
    inside = wire[1:-1]
    for byte in b"\x00\x01\x02\x03\x04\x05\x0a\x0d\x11\x13\x1a\x1c\xc0":
        assert byte not in inside, byte


def test_every_byte_comes_through():
    message = [7, bytes(range(128)), bytes(range(128, 256))]
    payloads, text, bad = deframed(framed(message))
    assert [decode(p) for p in payloads] == [message]
    assert (text, bad) == (b"", 0)


def test_text_around_frames_stays_text():
    one, two = framed([6, 1]), framed([6, 2])
    words = "héllo ☃\r\n".encode()
    payloads, text, bad = deframed(words + one + two + words + one + words)
    assert len(payloads) == 3
    assert (text, bad) == (words * 3, 0)


def test_a_lost_delimiter_costs_one_frame_and_no_more():
    one = framed([6, 1])
    for broken in (one[1:], one[:-1], one[:-3], one[:4]):
        payloads, _, _ = deframed(broken + one + one + b"text\r\n" + one)
        assert len(payloads) >= 2, broken
        assert payloads[-1] == b"\x92\x06\x01"


def test_text_after_a_frame_that_lost_its_end_is_text_from_the_next_line_on():
    payloads, text, bad = deframed(framed([6, 1])[:-1] + b"lost\nkept\n" + framed([6, 2]))
    assert payloads == [b"\x92\x06\x02"]
    assert text == b"\nkept\n"
    assert bad == 1


def test_every_flipped_bit_is_noticed():
    message = framed([3, 7, [1, 1000, 100_000, None]])
    for at in range(1, len(message) - 1):
        for bit in range(8):
            damaged = bytearray(message)
            damaged[at] ^= 1 << bit
            payloads, _, _ = deframed(damaged)
            assert payloads == [], (at, bit)


def test_a_payload_over_the_limit_is_dropped_and_the_next_understood():
    payloads, _, bad = deframed(framed([7, b"x" * 40]) + framed([6, 1]), limit=20)
    assert payloads == [b"\x92\x06\x01"]
    assert bad == 1


def test_a_frame_without_end_takes_no_memory():
    deframer = Deframer(20)
    deframer.feed(b"\xc0\x92", 0, 2)
    data = b"A" * 500
    with no_heap():
        for _ in range(10):
            deframer.feed(data, 0, 500)
    assert len(deframer.payload) == 22
    more = b"\xc0" + framed([6, 1])
    assert deframer.feed(more, 0, len(more)) == len(more)
    assert (deframer.length, deframer.bad) == (3, 1)


def test_reading_stops_after_each_payload():
    one, two = framed([6, 1]), framed([6, 2])
    data = b"text" + one + two + b"more"
    deframer = Deframer(20)
    at = deframer.feed(data, 0, len(data))
    assert (at, deframer.length, deframer.payload[2]) == (4 + len(one), 3, 1)
    at = deframer.feed(data, at, len(data))
    assert (at, deframer.length, deframer.payload[2]) == (4 + len(one) + len(two), 3, 2)
    assert deframer.feed(data, at, len(data)) == len(data)
    assert deframer.length == 0
    assert deframer.feed(data, 0, 0) == deframer.length == 0


def test_bytes_that_arrive_in_chunks_of_any_size_are_read_the_same():
    chance = Chance(6)
    stream = bytearray(b"text")
    for length in (1, 5, 20, 28, 21):
        payload = bytearray(b"\x91") + chance.bytes(length - 1) + b"  "
        wire = bytearray(80)
        stream.extend(wire[: encode(payload, length, wire)])
        stream.extend(chance.bytes(9))
    payloads, _, bad = deframed(stream, 28)
    assert len(payloads) >= 3
    for size in (2, 3, 7, 32, len(stream)):
        assert deframed(stream, 28, size) == (payloads, b"", bad), size


def test_the_delimiter_after_damage_may_open_the_next_frame():
    one, two = framed([6, 1]), framed([6, 2])
    for size in (1, 3, 100):
        payloads, _, bad = deframed(one[:-3] + two + one, size=size)
        assert payloads == [b"\x92\x06\x02", b"\x92\x06\x01"], size
        assert bad == 1


def test_what_may_not_fit_the_wire_is_refused():
    for length in range(12):
        payload = bytearray(length + 2)
        for room in range(2 * length + 6):
            wire = Fenced(room)
            raises(IndexError, encode, payload, length, wire.buffer)
            assert wire.untouched(), (length, room)
        wire = Fenced(2 * length + 6)
        end = encode(payload, length, wire.buffer)
        assert 2 * length + 4 <= end <= 2 * length + 6, (length, end)  # each zero is escaped
        assert wire.untouched(), length


def test_lengths_that_lie_are_refused_before_any_loop():
    payload = Fenced(10, 1)
    wire = Fenced(40)
    for length in (9, 10, 11, 1000, -1, -2, -9, 1 << 31, 1 << 32):
        raises(_OUTSIDE, encode, payload.buffer, length, wire.buffer)
    for at, end in ((0, 11), (-1, 5), (5, 4), (11, 11), (0, 1 << 32), (1 << 32, 1 << 32)):
        raises(_OUTSIDE, Deframer(20).feed, payload.buffer, at, end)
    assert payload.untouched() and wire.untouched()


def test_no_frame_is_too_long_for_a_deframer():
    for room in range(2, 12):
        deframer = Deframer(room - 2)
        fenced = Fenced(room)
        deframer.payload = fenced.buffer
        for length in range(1, 16):
            wire = bytearray(40)
            end = encode(bytearray(b"\x91" * length + b"  "), length, wire)
            assert deframer.feed(wire, 0, end) == end
            assert deframer.length == (length if length <= room - 2 else 0), (room, length)
            assert fenced.untouched(), (room, length)
            deframer.feed(b"\xc0\xc0 ", 0, 3)  # text again, also after one that was too long


def test_what_may_not_be_written_is_not():
    data = b"\x93" * 20
    copy = bytes(bytearray(data))
    raises(TypeError, encode, bytearray(20), 5, data)
    raises(TypeError, encode, data, 5, bytearray(20))
    for nothing in (None, 0, 1000, []):
        raises((TypeError, IndexError), encode, nothing, 1, bytearray(20))
    assert data == copy


def test_encoding_and_reading_allocate_nothing():
    payload = bytearray(42)
    wire = bytearray(100)
    deframer = Deframer(40)
    payload[0] = 0x91
    with no_heap():
        length = encode(payload, 40, wire)
        at = deframer.feed(wire, 0, 30)
        at = deframer.feed(wire, at, length)
    assert (at, deframer.length) == (length, 40)
