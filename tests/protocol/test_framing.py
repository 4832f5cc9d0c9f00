"""The host's deframer: the decisions of the board's own, at the speed of C."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterable

import campaign
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boardwarden._protocol.link import Deframer, frame
from warden_schema import frame as schema
from warden_schema import ids

PAYLOAD = bytes([0x92, ids.ALIVE, 7])
LIMIT = 20  # short, so that generated frames are often too long


def split(pieces: Iterable[bytes], limit: int = ids.MAX_PAYLOAD) -> tuple[list[bytes | str], int]:
    """Return what a deframer makes of the pieces, adjacent texts joined, and its count of bad."""
    deframer = Deframer(limit)
    items: list[bytes | str] = []
    for piece in pieces:
        for item in deframer.feed(piece):
            if isinstance(item, str) and items and isinstance(items[-1], str):
                items[-1] += item
            else:
                items.append(item)
    return items, deframer.bad


def read(data: bytes, limit: int) -> tuple[list[bytes], bytes, int]:
    """Return payloads, text and the count of bad as the board's own deframer has them."""
    deframer = schema.Deframer(limit)
    payloads, text = [], bytearray()
    for at in range(len(data)):
        deframer.feed(data, at, at + 1)
        if deframer.length:
            payloads.append(bytes(deframer.payload[: deframer.length]))
        elif not deframer.opened and not deframer.in_frame:
            text.append(data[at])
    return payloads, bytes(text), deframer.bad


def board_frame(payload: bytes) -> bytes:
    """Frame as the board does."""
    wire = bytearray(2 * len(payload) + 8)
    length = schema.encode(bytearray(payload + bytes(2)), len(payload), wire)
    return bytes(wire[:length])


# --- what it is for -----------------------------------------------------------------------------


def test_text_and_frames_come_in_order() -> None:
    data = b"one" + frame(PAYLOAD) + b"two" + frame(PAYLOAD) + frame(PAYLOAD) + b"three"
    assert split([data])[0] == ["one", PAYLOAD, "two", PAYLOAD, PAYLOAD, "three"]


def test_text_is_passed_on_without_waiting_for_a_frame() -> None:
    assert Deframer().feed(b">>> ") == [">>> "]


def test_a_character_split_by_reads_or_frames_is_whole() -> None:
    first, second = "Ж".encode()[:1], "Ж".encode()[1:]
    assert split([b"a" + first, second + b"b"])[0] == ["aЖb"]
    assert split([first + frame(PAYLOAD) + second])[0] == [PAYLOAD, "Ж"]


def test_invalid_utf8_is_replaced() -> None:
    assert split([b"a\xffb"])[0] == ["a\ufffdb"]


@given(st.binary(min_size=1, max_size=ids.MAX_PAYLOAD))
def test_an_encoded_frame_equals_the_boards(payload: bytes) -> None:
    assert frame(payload) == board_frame(payload)


@given(st.binary(max_size=ids.MAX_PAYLOAD - 1), st.integers(0x91, 0x9F), st.integers(1, 50))
def test_payloads_are_the_same_however_the_bytes_are_cut(
    rest: bytes, first: int, size: int
) -> None:
    payload = bytes([first]) + rest
    wire = b"text" + frame(payload) + b"more"
    pieces = [wire[at : at + size] for at in range(0, len(wire), size)]
    assert split(pieces) == (["text", payload, "more"], 0)


# --- damage -------------------------------------------------------------------------------------

_good = st.binary(max_size=LIMIT + 3).map(lambda rest: frame(b"\x93" + rest))
_shifted = _good.map(lambda wire: wire[1:])
_noise = st.lists(
    st.sampled_from([*ids.ESCAPED_CONTROLS, 0xC0, 0x7D, 0x5D, 0x91, 0x9F, 0xA0, 0x41, 0xE0]),
    max_size=60,
).map(bytes)


@st.composite
def damaged_streams(draw: st.DrawFn) -> bytes:
    """Frames, text and noise, then some bytes lost, changed or repeated."""
    parts = st.one_of(_good, _good, _shifted, _noise, st.binary(max_size=8), st.just(b"print\r\n"))
    data = bytearray(b"".join(draw(st.lists(parts, max_size=12))))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=2))
    return bytes(data)


@settings(max_examples=campaign.of(3000, short=150))
@given(damaged_streams(), st.integers(1, 40))
@example(b"\xc0\x93" + b"}" * 2 * LIMIT + b"\xc0", 3)
@example(b"\xc0\x93" + b"x" * 200 + b"\x00text" + b"\xc0", 7)
@example(b"\xc0\x93" + b"x" * 100 + b"\x00text" + frame(b"\x93good"), 7)
@example(frame(b"\x93}]}") + b"\xc0\x93}}^\xc0\x93}A\xc0", 1)
def test_random_bytes_are_read_as_by_the_boards_deframer(data: bytes, size: int) -> None:
    payloads, text, bad = read(data, LIMIT)
    items, counted = split([data[at : at + size] for at in range(0, len(data), size)], LIMIT)
    assert [item for item in items if isinstance(item, bytes)] == payloads
    # The decoder keeps an unfinished character to itself, so compare what is finished.
    said = "".join(item for item in items if isinstance(item, str))
    assert text.decode(errors="replace").startswith(said)
    assert len(text.decode(errors="replace")) - len(said) <= 1
    assert counted == bad


@pytest.mark.parametrize("byte", range(1, 256))
def test_an_unusual_escape_is_read_as_the_board_reads_it(byte: int) -> None:
    """Each byte escaped, alone and before what looks like a pair then."""
    for rest in (b"", b"\x5e", b"\x21", b"]", b"\xe0", b"}"):
        payload = b"\x93" + bytes([byte]) + rest
        plain = frame(payload)
        first = 3 if plain[2] == ids.ESCAPE else 2
        odd = plain[:2] + b"}" + bytes([byte ^ 0x20]) + plain[first + 1 :]
        if byte ^ 0x20 in ids.ESCAPED_CONTROLS + b"\xc0":
            continue
        assert read(odd, LIMIT)[0] == [payload]
        assert split([odd], LIMIT) == ([payload], 0)


def test_a_frame_that_ends_in_an_escape_is_bad_even_with_a_valid_crc() -> None:
    ends = (b"\x93" + bytes([a, b]) for a in range(65, 91) for b in range(256))
    payload = next(payload for payload in ends if frame(payload).endswith(b"}]\xc0"))
    odd = frame(payload)[:-2] + b"\xc0"  # the CRC's last byte is the escape, and not escaped
    assert read(odd, LIMIT)[2] == 1
    assert split([odd], LIMIT) == ([], 1)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_size_limit_counts_payload_bytes(extra: int) -> None:
    deframer = Deframer(LIMIT)
    payload = b"\x93" + bytes(LIMIT - 1 + extra)
    assert deframer.feed(frame(payload)) == ([] if extra else [payload])
    assert (deframer.bad, deframer.oversize) == (extra, extra)


def test_a_frame_after_a_bad_one_is_decoded() -> None:
    broken = frame(PAYLOAD)[:-2]
    assert split([broken + frame(PAYLOAD)]) == ([PAYLOAD], 1)


def test_a_megabyte_without_a_delimiter_uses_little_memory() -> None:
    deframer = Deframer()
    deframer.feed(b"\xc0\x93")
    piece = b"x" * 4096
    tracemalloc.start()
    for _ in range(256):
        assert deframer.feed(piece) == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024
    assert deframer.feed(b"\xc0" + frame(PAYLOAD)[1:]) == [PAYLOAD]


def test_a_frame_after_a_megabyte_of_random_bytes_is_decoded() -> None:
    source = random.Random(1)
    deframer = Deframer()
    tracemalloc.start()
    for _ in range(256):
        deframer.feed(source.randbytes(4096))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 512 * 1024
    assert PAYLOAD in [*deframer.feed(frame(PAYLOAD)), *deframer.feed(frame(PAYLOAD))]
