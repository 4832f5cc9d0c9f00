"""The board's codec and the msgpack package say the same, both ways."""

from __future__ import annotations

from typing import Any

import campaign
import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boardwarden._protocol import messages
from warden_schema import codec, ids, values

_edges = [
    sign * (1 << bits) + off
    for bits in (5, 7, 8, 15, 16, 31, 32, 63)
    for sign in (1, -1)
    for off in (-1, 0, 1)
]
_integers = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([number for number in _edges if -(2**63) <= number < 2**64]),
)
_scalars = st.one_of(
    st.none(), st.booleans(), _integers, st.text(max_size=60), st.binary(max_size=255)
)
_values = st.recursive(_scalars, lambda items: st.lists(items, max_size=18), max_leaves=30).filter(
    lambda value: _depth(value) <= ids.MAX_DEPTH
)


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _encoded(value: Any) -> bytes:
    buf = bytearray(70_000)
    return bytes(buf[: codec.put(buf, 0, value)])


def _decoded(data: bytes) -> Any:
    reader = codec.Reader(data, 0, len(data))
    value = values.read_value(reader)
    if reader.at != len(data):
        raise codec.Malformed
    return value


@settings(max_examples=campaign.of(200, short=60))
@given(_values)
def test_the_codec_writes_the_bytes_of_msgpack(value: Any) -> None:
    assert _encoded(value) == msgpack.packb(value)


@settings(max_examples=campaign.of(200, short=60))
@given(_values)
def test_each_reads_what_the_other_wrote(value: Any) -> None:
    data = msgpack.packb(value)
    # repr tells True from 1, which == does not.
    assert repr(_decoded(data)) == repr(value)
    assert repr(msgpack.unpackb(_encoded(value))) == repr(value)


@pytest.mark.parametrize("size", [31, 32, 40, 41, 255])
def test_lengths_take_the_shortest_form(size: int) -> None:
    for value in ("x" * size, bytes(size)):
        assert _encoded(value) == msgpack.packb(value)


@given(st.text(max_size=60), st.integers(0, 50))
def test_a_name_is_cut_at_a_character_and_has_no_nul(text: str, limit: int) -> None:
    name = codec.cut(text, limit)
    assert len(name.encode()) <= limit
    assert text.replace("\0", " ").startswith(name)
    following = text[len(name) : len(name) + 1]
    assert not following or len((name + following).encode()) > limit


@settings(max_examples=campaign.of(2000, short=200))
@given(st.binary(max_size=40), st.sampled_from([b"", b"\x93\x07\x05", b"\x92\x09\x01"]))
def test_random_bytes_are_decoded_alike_or_malformed(rest: bytes, head: bytes) -> None:
    """What the codec takes and has the shape of a message, the host takes too, and alike."""
    data = head + rest
    message = messages.decode(data)
    try:
        value = _decoded(data)
    except codec.Malformed:
        return
    if message is not None:
        assert repr(message[: len(value)]) == repr(value)


@settings(max_examples=campaign.of(100, short=30))
@given(st.integers(1, 7), st.lists(_values, max_size=9))
def test_a_decoded_message_has_all_fields_of_its_kind(kind: int, fields: list[Any]) -> None:
    message = messages.decode(msgpack.packb([kind, *fields]))
    if message is not None:
        assert len(message) >= 1 + len(ids.FIELDS[kind])


@pytest.mark.parametrize(
    "message",
    [
        [],
        [0, 1],
        [200, 1],
        [True, 1],
        [3.0, 1, []],
        [ids.ALIVE],
        [ids.ALIVE, -1],
        [ids.ALIVE, 70_000],
        [ids.ALIVE, "1"],
        [ids.SAMPLE, 1, [1.5]],
        [ids.SAMPLE, 1, [True]],
        [ids.SAMPLE, 1, ["1"]],
        [ids.SAMPLE, 1, None],
        [ids.REPLY, 1, 2, 0, 1.5],
        [ids.REPLY, 1, 2, 0, [[1.5]]],
        [9, 1, {}],
        [9, 1, {1: 2}],
        [ids.SAMPLE, 1, [], {}],
        [ids.SAMPLE, 1, [], msgpack.ExtType(5, b"")],
        [ids.SAMPLE, 1, [], msgpack.Timestamp(1)],
        [ids.SAMPLE, 1, [], [[[[1]]]]],
        [ids.STORAGE, 1, 1, 1, "/", 1, 1, 1, 1],
        [ids.STORAGE, 1, 0, 10**9, "/", 1, 1, 1, 1],
        [ids.STORAGE, 1, -1, 1, "/", 1, 1, 1, 1],
        [ids.HELLO, 1, 1, 0, 5, 1, {}, [], b""],
        [ids.HELLO, 1, 1, 0, 5, 1, [], [], [0]],
        [ids.REPLY, 1, None, 0, None],
    ],
)
def test_a_malformed_message_decodes_to_none(message: list[Any]) -> None:
    assert messages.decode(msgpack.packb(message)) is None


def test_bytes_after_the_end_are_malformed() -> None:
    assert messages.decode(msgpack.packb([ids.ALIVE, 1]) + b"\x00") is None


def test_additional_and_missing_trailing_fields_are_accepted() -> None:
    assert messages.decode(msgpack.packb([ids.ALIVE, 1, "later"])) == [ids.ALIVE, 1, "later"]
    assert messages.decode(msgpack.packb([ids.REPLY, 1, 2, 0])) == [ids.REPLY, 1, 2, 0, None, None]


def test_a_hello_of_another_version_still_gives_its_version() -> None:
    message = [ids.HELLO, 1, 2, 7, 5, "laid out", "otherwise", 0, 0]
    assert messages.decode(msgpack.packb(message)) == message
