"""Framing: what comes in whole comes out, what is damaged does not, and nothing is raised."""

from harness import no_heap
from rig import framed
from warden_schema import codec, frame


def _read(data, limit=300):
    """Return (payloads, text) that a reader makes of the bytes."""
    reader = frame.Reader(limit)
    payloads = []
    text = bytearray()
    for byte in data:
        length = reader.feed(byte)
        if length == frame.TEXT:
            text.append(byte)
        elif length > 0:
            payloads.append(bytes(reader.payload[:length]))
    return payloads, bytes(text), reader.bad


def test_the_crc_is_the_published_one():
    assert frame.crc16(b"123456789", 0, 9) == 0x29B1


def test_the_crc_is_the_one_of_binascii_on_cpython():
    from binascii import crc_hqx

    data = bytes(range(256))
    for end in range(257):
        assert frame.crc16(data, 0, end) == crc_hqx(data[:end], 0xFFFF)


def test_no_byte_that_a_repl_or_terminal_acts_on_is_inside_a_frame():
    wire = framed([7, bytes(range(256))])
    assert wire[0] == wire[-1] == 0xC0
    inside = wire[1:-1]
    for byte in b"\x00\x01\x02\x03\x04\x05\x0a\x0d\x11\x13\x1a\x1c\xc0":
        assert byte not in inside, byte


def test_every_byte_comes_through():
    message = [7, bytes(range(256))]
    payloads, text, bad = _read(framed(message))
    assert [codec.decode(p, len(p)) for p in payloads] == [message]
    assert (text, bad) == (b"", 0)


def test_text_around_frames_stays_text():
    one, two = framed([6, 1]), framed([6, 2])
    words = "héllo ☃\r\n".encode()
    payloads, text, bad = _read(words + one + two + words + one + words)
    assert len(payloads) == 3
    assert (text, bad) == (words * 3, 0)


def test_a_lost_delimiter_costs_one_frame_and_no_more():
    one = framed([6, 1])
    for broken in (one[1:], one[:-1], one[:-3], one[:4]):
        payloads, _, _ = _read(broken + one + one + b"text\r\n" + one)
        assert len(payloads) >= 2, broken
        assert payloads[-1] == b"\x92\x06\x01"


def test_text_after_a_frame_that_lost_its_end_is_text_from_the_next_line_on():
    payloads, text, bad = _read(framed([6, 1])[:-1] + b"lost\nkept\n" + framed([6, 2]))
    assert payloads == [b"\x92\x06\x02"]
    assert text == b"\nkept\n"
    assert bad == 1


def test_every_flipped_bit_is_noticed():
    message = framed([3, 7, [1, 1000, 100_000, None]])
    for at in range(1, len(message) - 1):
        for bit in range(8):
            damaged = bytearray(message)
            damaged[at] ^= 1 << bit
            payloads, _, _ = _read(damaged)
            assert payloads == [], (at, bit)


def test_a_payload_over_the_limit_is_dropped_and_the_next_understood():
    payloads, _, bad = _read(framed([7, b"x" * 40]) + framed([6, 1]), limit=20)
    assert payloads == [b"\x92\x06\x01"]
    assert bad == 1


def test_a_frame_without_end_takes_no_memory():
    reader = frame.Reader(20)
    reader.feed(0xC0)
    reader.feed(0x92)
    with no_heap():
        for _ in range(5000):
            reader.feed(0x41)
    assert len(reader.payload) == 22


def test_what_does_not_fit_the_wire_is_refused():
    payload = bytearray(40)
    length = frame.encode(payload, 20, bytearray(100))
    assert length > 40  # 20 zeros, each escaped
    assert frame.encode(payload, 20, bytearray(length + 1)) == length
    for room in range(8, length):
        assert frame.encode(payload, 20, bytearray(room)) == 0, room


def test_encoding_and_reading_allocate_nothing():
    payload = bytearray(42)
    wire = bytearray(100)
    reader = frame.Reader(40)
    payload[0] = 0x91
    with no_heap():
        length = frame.encode(payload, 40, wire)
        got = 0
        for i in range(length):
            got = reader.feed(wire[i])
    assert got == 40
