"""Samples told by what changed: what the board's own encoder sends, the host makes whole again."""

from __future__ import annotations

import ast
import re
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boardwarden import messages
from boardwarden.deltas import Deltas
from boardwarden.framing import Deframer
from warden_schema import codec, frame, ids

REPO = Path(__file__).resolve().parent.parent
_BOARD_PATH = [str(REPO / "tests" / "fakes"), str(REPO / "device")]


@pytest.fixture(scope="module")
def sample_table() -> Iterator[ModuleType]:
    """The board's module, imported without the rest of its package."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("warden.")}
    sys.path[:0] = _BOARD_PATH
    try:
        import warden.sample_table

        yield warden.sample_table
    finally:
        del sys.path[: len(_BOARD_PATH)]
        for name in [name for name in sys.modules if name.split(".")[0] == "warden"]:
            if name not in before:
                del sys.modules[name]


class FakeUplink:
    """Stands in for the board's uplink: keeps the payload."""

    def __init__(self, seq: int) -> None:
        self.payload = bytearray(202)
        self.seq = seq

    def begin(self, kind: int, fields: int) -> int:
        self.payload[0] = 0x92 + fields
        self.payload[1] = kind
        return codec.put_int(self.payload, 2, self.seq)


class Board:
    """The board's table of samples; `tell` returns the payload that it sends."""

    def __init__(self, module: ModuleType, seq: int = 0) -> None:
        self.values: list[int | None] = [5] * len(ids.SAMPLE_VALUES)
        self.values[:3] = [100, 0, 1000]
        self.words = array("i", [0] * len(self.values))
        self.sample = module.Sample(self.words)
        self.uplink = FakeUplink(seq)

    def tell(self, sent: bool = True) -> bytes:
        for place, value in enumerate(self.values):
            self.words[place] = -(2**30) if value is None else value
        length = self.sample.encode(0, self.uplink)
        if sent:
            self.sample.sent()
            self.uplink.seq = (self.uplink.seq + 1) & 0xFFFF
        return bytes(self.uplink.payload[:length])


def understood(deltas: Deltas, payload: bytes) -> list[int | None] | None:
    message = messages.decode(payload)
    assert message is not None
    if message[0] == ids.SAMPLE:
        deltas.base(message)
        return message[2]
    whole = deltas.whole(message)
    return None if whole is None else whole[2]


_figure = st.one_of(st.none(), st.integers(0, 300), st.integers(-(2**30) + 1, 2**30 - 1))
_change = st.tuples(st.integers(2, len(ids.SAMPLE_VALUES) - 1), _figure)
_step = st.tuples(
    st.integers(0, 200_000),  # ms that pass
    st.lists(_change, max_size=14),
    st.sampled_from(("sent", "sent", "sent", "lost", "overtaken", "asked anew")),
)


@given(st.lists(_step, max_size=40), st.integers(0, 0xFFFF))
@settings(max_examples=400, deadline=None)
def test_what_arrives_is_what_was_measured(
    sample_table: ModuleType, steps: list[Any], seq: int
) -> None:
    board, deltas = Board(sample_table, seq), Deltas()
    assert understood(deltas, board.tell()) == board.values
    certain = True  # the host has the sample that the next one counts from
    for passed_ms, changes, fate in steps:
        now = board.values[0] * 1000 + board.values[1] + passed_ms
        board.values[:2] = divmod(now, 1000)
        for place, value in changes:
            board.values[place] = value if place != 2 else 1000
        if fate == "asked anew":
            board.sample.taken = True
            board.sample.mark()
        payload = board.tell(sent=fate != "overtaken")
        assert len(payload) <= ids.MAX_PAYLOAD
        if fate in ("overtaken", "lost"):
            certain = certain and fate == "overtaken"
            continue
        found = understood(deltas, payload)
        certain = certain or payload[1] == ids.SAMPLE
        assert found == (board.values if certain else None)


def test_a_whole_one_comes_at_least_every_twentieth_time(sample_table: ModuleType) -> None:
    board = Board(sample_table)
    kinds = [board.tell()[1] for _ in range(100)]
    whole = [at for at, kind in enumerate(kinds) if kind == ids.SAMPLE]
    assert whole == [0, 20, 40, 60, 80]


def test_a_steady_sample_is_at_most_24_bytes_on_the_wire(sample_table: ModuleType) -> None:
    """Of an application that works: what is measured moves, what is configured does not."""
    board = Board(sample_table, seq=60_000)
    place = ids.SAMPLE_VALUES.index
    values = board.values
    values[:7] = [1_000_000, 0, 1000, 140_000, 60_000, 70_000, 20_000]
    board.tell()
    for second in range(1, 20):
        values[0] += 1
        values[place("free_bytes")] -= 1200 if second % 8 else -9600
        values[place("cpu_permille")] = 300 + second * 7 % 20
        values[place("overhead_permille")] = 8 + second % 2
        values[place("loop_lag_worst_ms")] = 30 + second % 4
        values[place("link_bytes_per_s")] = 24 + second % 3
        payload = bytearray(board.tell() + b"\0\0")
        wire = bytearray(100)
        length = frame.encode(payload, len(payload) - 2, wire)
        assert payload[1] == ids.DELTA
        assert length <= 24, length
        assert Deframer().feed(bytes(wire[:length]))


@pytest.mark.parametrize(
    "wrong",
    [
        [ids.DELTA, 1, 49, 1 << 18, 48, 48],  # no such value
        [ids.DELTA, 1, 49, -1, 48, 48],
        [ids.DELTA, 1, 49, 0b11, 48, 48],  # a change too few,
        [ids.DELTA, 1, 49, 0b1, 48, 48, 48],  # and one too many
        [ids.DELTA, 1, 49, 1 << 7, 48, 48],  # a change of what is not known
    ],
)
def test_what_makes_no_sense_is_refused(wrong: list[int]) -> None:
    deltas = Deltas()
    values: list[int | None] = [1] * len(ids.SAMPLE_VALUES)
    values[ids.SAMPLE_VALUES.index("tasks")] = None
    deltas.base([ids.SAMPLE, 0, values])
    with pytest.raises(ValueError, match=r"."):
        deltas.whole(wrong)


def test_an_older_boards_samples_are_no_base() -> None:
    deltas = Deltas()
    deltas.base([ids.SAMPLE, 0, [1] * 21])
    assert deltas.whole([ids.DELTA, 1, 49, 0, 48]) is None


def test_places_are_the_schemas() -> None:
    source = (REPO / "device/warden/sample_table.py").read_text()
    changing = bytes(ids.SAMPLE_VALUES.index(name) for name in ids.DELTA_VALUES)
    rest = set(range(2, len(ids.SAMPLE_VALUES))) - set(changing)
    found = re.search(r"_PLACES = const\((.*?)\)\n", source, re.DOTALL)
    assert found is not None
    assert ast.literal_eval(f"({found[1]})") == bytes(sorted(rest)) + changing
    loop = (REPO / "shared_schema/warden_schema/plain.py").read_text()
    assert f"_LASTING = const({len(rest)})" in loop
    assert f"_PLACES = const({len(rest) + len(changing)})" in loop
