# targets: unix frozen qemu qemu-m0 cpython
"""The msgpack subset: the shortest form, bounded reading, and one error for all that is wrong."""

from frames import decode
from harness import no_heap, raises
from warden_schema.codec import Malformed, Reader, cut, put
from warden_schema.values import read_array, read_value

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
    "x" * 40,
    "x" * 41,
    "x" * 255,
    "ä" * 15,
    "ä" * 16,
    "ä" * 20,
    "ä" * 21,
    "☃" * 13,
    "\x00",
    "a\x00b",
    "ä\x00ä\x00",
    b"",
    bytes(range(255)),
    [],
    [1, [2, [3, []]]],
    list(range(20)),
)


def _encoded(value):
    buf = bytearray(400)
    return bytes(buf[: put(buf, 0, value)])


def test_encoded_values_are_decoded_unchanged():
    for value in _VALUES:
        data = _encoded(value)
        assert decode(data) == value, value


def test_the_shortest_form_is_used():
    for value, length in ((127, 1), (128, 2), (-32, 1), (-33, 2), (256, 3), (65_536, 5)):
        assert len(_encoded(value)) == length, value


def test_every_truncated_message_is_malformed():
    for value in _VALUES:
        data = _encoded(value)
        for end in range(len(data)):
            raises(Malformed, decode, data[:end])
            reader = Reader(data, 0, end)
            raises(Malformed, read_value, reader)
            assert reader.at <= end


def test_bytes_after_the_end_are_malformed():
    raises(Malformed, decode, b"\x01\x02")


def test_false_lengths_are_refused_before_anything_is_allocated():
    for data in (
        b"\xdc\xff\xff",
        b"\xc5\xff\xff\x00",
        b"\xda\xff\xff\x00",
        b"\x9f",
        b"\xbf",
        b"\xdd\xff\xff\xff\xff",
    ):
        raises(Malformed, decode, data)


def test_deep_nesting_is_refused():
    for depth, fine in ((4, True), (5, False), (60, False)):
        data = b"\x91" * depth + b"\x01"
        if fine:
            decode(data)
        else:
            raises(Malformed, decode, data)


def test_types_outside_the_subset_are_refused():
    for head in (0x80, 0xC1, 0xC6, 0xC7, 0xCA, 0xCB, 0xD4, 0xDB, 0xDD, 0xDE):
        raises(Malformed, decode, bytes([head]) + bytes(20))
    for value in (1.5, 1e9, 300.0, {}, object()):
        raises(TypeError, _encoded, value)
    for value in (1 << 64, -(1 << 63) - 1):
        raises(OverflowError, _encoded, value)


def test_invalid_utf8_is_refused():
    raises(Malformed, decode, b"\xa2\xff\xff")


def test_a_buffer_that_ends_raises():
    # CPython's struct has an error of its own.
    for value in (70_000, 300, "abc", b"ab", [1, 2, 3], 1 << 40):
        for room in range(3):
            raises(Exception, put, bytearray(room), 0, value)


def test_bytes_and_texts_have_at_most_255_bytes():
    for value in ("x" * 256, bytes(256), "ä" * 128):
        raises(IndexError, _encoded, value)


def test_a_text_is_encoded_the_same_whatever_room_is_left():
    for text in ("", "upload", "ä" * 12, "x" * 31, "x" * 32, "ä" * 20, "x" * 41, "a\x00"):
        data = text.encode()
        for spare in (0, 1, 2, 10, 40, 41, 42, 43, 44, 45, 60):
            buf = bytearray(b"\xaa" * (3 + 2 + len(data) + spare))
            end = put(buf, 3, text)
            assert buf[:3] == b"\xaa" * 3
            assert bytes(buf[end - len(data) : end]) == data, (text, spare)
            assert len(buf) == 5 + len(data) + spare
            reader = Reader(buf, 3, end)
            assert read_value(reader) == text


def test_names_are_cut_at_a_character():
    assert cut("héllo", 2) == "h"
    assert cut("héllo", 3) == "hé"
    assert cut("héllo", 30) == "héllo"
    assert cut("", 0) == ""
    assert cut("☃" * 9, 24) == "☃" * 8
    assert cut("x" * 25, 24) == "x" * 24
    assert cut("ä" * 13, 24) == "ä" * 12
    raises(TypeError, cut, b"x", 24)


def test_a_nul_in_a_name_becomes_a_space():
    assert cut("a\x00b\x00", 24) == "a b "
    assert cut("\x00" * 30, 24) == " " * 24


def test_a_name_of_the_longest_length_is_returned_without_allocating():
    names = ["upload", "sensor_reading", "x" * 24]
    same = [None] * 3
    with no_heap():
        for place in range(3):
            same[place] = cut(names[place], 24)
    assert same == names


def test_putting_integers_and_texts_allocates_nothing():
    values = [None, True, False, 0, 127, 128, 255, 256, 65_535, 65_536, (1 << 30) - 1]
    values += [-1, -32, -33, -128, -129, -32_768, -32_769, -(1 << 30) + 1]
    values += ["", "upload", "x" * 24, "ä" * 12, "x" * 31, "x" * 32, "x" * 40, "ä" * 20, "☃" * 13]
    values.append([1, "two", None])
    buf = bytearray(248)
    ends = [0] * len(values)
    failed = None
    with no_heap():
        for place in range(len(values)):
            try:
                ends[place] = put(buf, 3, values[place])
            except MemoryError:
                failed = values[place]
                break
        put(buf, 3, -70_000)
    assert 0 not in ends, failed
    for value, end in zip(values, ends):
        assert put(buf, 3, value) == end
        reader = Reader(buf, 3, end)
        assert read_value(reader) == value


def test_a_keepalive_is_read_without_allocation():
    buf = bytearray(20)
    end = put(buf, 0, [66, (1 << 30) - 1, 65_535])
    reader = Reader(buf, 0, end)
    with no_heap():
        count = read_array(reader)
        kind = reader.integer()
        host = reader.integer()
        seq = reader.integer()
    assert (count, kind, host, seq) == (3, 66, (1 << 30) - 1, 65_535)
    assert reader.at == end


def test_the_integer_and_array_readers_refuse_other_types():
    for value in (True, False, "x", b"x", [1]):
        data = _encoded(value)
        reader = Reader(data, 0, len(data))
        raises(Malformed, reader.integer)
    for value in (None, 5, "x", b"x", True):
        data = _encoded(value)
        reader = Reader(data, 0, len(data))
        raises(Malformed, read_array, reader)
    for value in (None, 5, -5, 1 << 40, -(1 << 40)):
        data = _encoded(value)
        reader = Reader(data, 0, len(data))
        assert reader.integer() == value


def test_depth_limits_how_many_arrays_may_be_nested():
    data = _encoded([1, [2, [3]]])
    for depth in range(6):
        reader = Reader(data, 0, len(data))
        if depth < 3:
            raises(Malformed, read_value, reader, depth)
        else:
            assert read_value(reader, depth) == [1, [2, [3]]]
