"""The msgpack subset: the shortest form, bounded reading, and one error for all that is wrong."""

from harness import no_heap, raises
from warden_schema import codec

_VALUES = (
    None,
    True,
    False,
    0,
    1,
    127,
    128,
    255,
    256,
    65_535,
    65_536,
    (1 << 32) - 1,
    1 << 32,
    (1 << 64) - 1,
    -1,
    -32,
    -33,
    -128,
    -129,
    -32_768,
    -32_769,
    -(1 << 31),
    -(1 << 31) - 1,
    -(1 << 63),
    "",
    "héllo ☃",
    "x" * 31,
    "x" * 32,
    "x" * 256,
    b"",
    bytes(range(256)),
    [],
    [1, [2, [3, []]]],
    list(range(20)),
)


def _encoded(value):
    buf = bytearray(400)
    return bytes(buf[: codec.put(buf, 0, value)])


def test_what_is_put_is_read():
    for value in _VALUES:
        data = _encoded(value)
        assert codec.decode(data, len(data)) == value, value


def test_the_shortest_form_is_used():
    for value, length in ((127, 1), (128, 2), (-32, 1), (-33, 2), (256, 3), (65_536, 5)):
        assert len(_encoded(value)) == length, value


def test_every_shorter_piece_is_refused():
    for value in _VALUES:
        data = _encoded(value)
        for end in range(len(data)):
            raises(codec.Malformed, codec.decode, data, end)


def test_what_follows_the_end_is_refused():
    raises(codec.Malformed, codec.decode, b"\x01\x02", 2)


def test_lengths_that_lie_are_refused_before_anything_is_made():
    for data in (
        b"\xdc\xff\xff",
        b"\xc5\xff\xff\x00",
        b"\xda\xff\xff\x00",
        b"\x9f",
        b"\xbf",
        b"\xdd\xff\xff\xff\xff",
    ):
        raises(codec.Malformed, codec.decode, data, len(data))


def test_deep_nesting_is_refused():
    for depth, fine in ((4, True), (5, False), (60, False)):
        data = b"\x91" * depth + b"\x01"
        if fine:
            codec.decode(data, len(data))
        else:
            raises(codec.Malformed, codec.decode, data, len(data))


def test_what_is_outside_the_subset_is_refused():
    for head in (0x80, 0xC1, 0xC6, 0xC7, 0xCA, 0xCB, 0xD4, 0xDB, 0xDD, 0xDE):
        raises(codec.Malformed, codec.decode, bytes([head]) + bytes(20), 21)
    for value in (1.5, {}, object()):
        raises(TypeError, _encoded, value)
    for value in (1 << 64, -(1 << 63) - 1):
        raises(OverflowError, _encoded, value)


def test_text_that_is_no_utf8_is_refused():
    raises(codec.Malformed, codec.decode, b"\xa2\xff\xff", 3)


def test_a_buffer_that_ends_raises():
    raises(IndexError, codec.put, bytearray(2), 0, 70_000)


def test_names_are_cut_at_a_character():
    assert codec.cut("héllo", 2) == "h"
    assert codec.cut("héllo", 3) == "hé"
    assert codec.cut("héllo", 30) == "héllo"
    assert codec.cut("", 0) == ""


def test_small_integers_allocate_nothing():
    buf = bytearray(20)
    cursor = codec.Cursor(buf)
    with no_heap():
        at = codec.put_int(buf, 0, 1_000_000_000)
        at = codec.put_int(buf, at, -1_000_000_000)
        at = codec.put_int(buf, at, None)
        cursor.begin(0, at)
        one = cursor.integer()
        two = cursor.integer()
        three = cursor.integer()
    assert (one, two, three) == (1_000_000_000, -1_000_000_000, None)
