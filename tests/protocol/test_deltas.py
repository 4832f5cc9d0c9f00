"""Samples told by what changed: what the board's own encoder sends, the host makes whole again."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import campaign
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import FAKES, REPO

from boardwarden._protocol import messages
from boardwarden._protocol.link import Deframer
from boardwarden._protocol.messages import Deltas
from warden_schema import ids

UNKNOWN = -(2**30)  # of what the board cannot tell
_BOARD_PATH = [str(FAKES), str(REPO / "device")]


def test_deltas_of_a_board_that_sends_fewer_values_are_applied() -> None:
    deltas = Deltas()
    figures = max(ids.SAMPLE_VALUES.index(name) for name in ids.DELTA_VALUES) + 1
    deltas.remember([ids.SAMPLE, 7, [100, 0, 1000, *[5] * (figures - 3)]])
    three_more = [1 + ids.DELTA_BIAS, 1, ids.DELTA_BIAS, 3 + ids.DELTA_BIAS]
    changed = deltas.apply([ids.DELTA, 8, *three_more])
    assert changed is not None
    assert changed[2][:5] == [101, 0, 1000, 5, 8]
    deltas.remember([ids.SAMPLE, 9, [100, 0, 1000, *[5] * (figures - 4)]])  # no board sends that
    assert deltas.apply([ids.DELTA, 10, 1 + ids.DELTA_BIAS, 0, ids.DELTA_BIAS]) is None


@pytest.fixture(scope="module")
def agent() -> Iterator[SimpleNamespace]:
    """What makes the board's sample, and its uplink."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("warden.")}
    sys.path[:0] = _BOARD_PATH
    try:
        from warden import sample, setup, uplink

        yield SimpleNamespace(sample=sample, setup=setup, uplink=uplink)
    finally:
        del sys.path[: len(_BOARD_PATH)]
        for name in [name for name in sys.modules if name.split(".")[0] == "warden"]:
            if name not in before:
                del sys.modules[name]


class FakeLink:
    """Stands in for a link that takes everything, or nothing while it is `full`."""

    window = 0
    full = False

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, buf: bytearray, start: int, end: int) -> int:
        if self.full:
            return 0
        self.sent.append(bytes(buf[start:end]))
        return end - start


class Board:
    """The board's table of samples, and the uplink that they go through.

    `tell` returns the payload that it sends, b"" where the link did not take it.
    """

    def __init__(self, agent: SimpleNamespace, seq: int = 0) -> None:
        self.values: list[int | None] = [5] * len(ids.SAMPLE_VALUES)
        self.values[:3] = [100, 0, 1000]
        self.sample = agent.setup.make_sample()
        self.order = agent.sample._ORDER
        self.sample.last = array("i", self.sample.figures)
        self.table = self.sample
        self.link = FakeLink()
        self.uplink = agent.uplink.Uplink(self.link)
        self.uplink.seq = seq

    def tell(self, sent: bool = True) -> bytes:
        for place, value in zip(self.order, self.values, strict=True):
            self.sample.figures[place] = UNKNOWN if value is None else value
        self.link.full = not sent
        assert self.table.encode(0, self.uplink)
        if not self.uplink.send():
            return b""
        self.table.on_sent(0)
        wire = self.link.sent.pop()
        (payload,) = Deframer().feed(wire)
        assert isinstance(payload, bytes)
        return payload


def understood(deltas: Deltas, payload: bytes) -> list[int | None] | None:
    message = messages.decode(payload)
    assert message is not None
    if message[0] == ids.SAMPLE:
        deltas.remember(message)
        return message[2]
    whole = deltas.apply(message)
    return None if whole is None else whole[2]


_figure = st.one_of(st.none(), st.integers(0, 300), st.integers(-(2**30) + 1, 2**30 - 1))
_change = st.tuples(st.integers(2, len(ids.SAMPLE_VALUES) - 1), _figure)
_step = st.tuples(
    st.integers(0, 200_000),  # ms that pass
    st.lists(_change, max_size=14),
    st.sampled_from(("sent", "sent", "sent", "lost", "overtaken", "asked anew")),
)


@given(st.lists(_step, max_size=40), st.integers(0, 0xFFFF))
@settings(max_examples=campaign.of(2000, short=100), deadline=None)
def test_decoded_deltas_equal_the_measured_samples(
    agent: SimpleNamespace, steps: list[Any], seq: int
) -> None:
    board, deltas = Board(agent, seq), Deltas()
    assert understood(deltas, board.tell()) == board.values
    certain = True  # the host has the sample that the next one counts from
    for passed_ms, changes, fate in steps:
        now = board.values[0] * 1000 + board.values[1] + passed_ms
        board.values[:2] = divmod(now, 1000)
        for place, value in changes:
            board.values[place] = value if place != 2 else 1000
        if fate == "asked anew":
            board.table.subscribe()
        payload = board.tell(sent=fate != "overtaken")
        assert len(payload) <= ids.MAX_PAYLOAD
        if fate in ("overtaken", "lost"):
            certain = certain and fate == "overtaken"
            continue
        found = understood(deltas, payload)
        certain = certain or payload[1] == ids.SAMPLE
        assert found == (board.values if certain else None)


def test_at_least_every_twentieth_sample_is_full(agent: SimpleNamespace) -> None:
    board = Board(agent)
    kinds = [board.tell()[1] for _ in range(100)]
    whole = [at for at, kind in enumerate(kinds) if kind == ids.SAMPLE]
    assert whole == [0, 20, 40, 60, 80]


def test_a_sample_slightly_early_or_late_is_still_a_delta(
    agent: SimpleNamespace,
) -> None:
    board = Board(agent)
    now, whole = 100_000, 0
    for sample in range(200):
        board.values[:2] = divmod(now, 1000)
        whole += board.tell()[1] == ids.SAMPLE
        now += 700 + sample * 7 % 3 - 1
    assert whole == 10


def test_a_steady_sample_is_at_most_24_bytes_on_the_wire(agent: SimpleNamespace) -> None:
    """Of an application that works: what is measured moves, what is configured does not."""
    board = Board(agent, seq=60_000)
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
        before = board.uplink.sent
        assert board.tell()[1] == ids.DELTA
        assert board.uplink.sent - before & 0xFFFF <= 24


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
def test_a_malformed_delta_raises_value_error(wrong: list[int]) -> None:
    deltas = Deltas()
    values: list[int | None] = [1] * len(ids.SAMPLE_VALUES)
    values[ids.SAMPLE_VALUES.index("tasks")] = None
    deltas.remember([ids.SAMPLE, 0, values])
    with pytest.raises(ValueError, match=r"."):
        deltas.apply(wrong)


def test_a_sample_of_an_older_board_is_not_used_as_a_base() -> None:
    deltas = Deltas()
    deltas.remember([ids.SAMPLE, 0, [1] * 21])
    assert deltas.apply([ids.DELTA, 1, 49, 0, 48]) is None


def test_a_full_sample_that_did_not_fit_is_sent_in_full_later(agent: SimpleNamespace) -> None:
    """Else a host that has just subscribed would get what changed since one that it never had."""
    board = Board(agent)
    board.tell()
    board.table.subscribe()
    assert board.tell(sent=False) == b""
    assert board.tell()[1] == ids.SAMPLE
    assert board.tell()[1] == ids.DELTA


def test_ten_changes_are_sent_as_a_delta_and_eleven_as_a_full_sample(
    agent: SimpleNamespace,
) -> None:
    places = [ids.SAMPLE_VALUES.index(name) for name in ids.DELTA_VALUES]
    for count, kind in ((10, ids.DELTA), (11, ids.SAMPLE)):
        board = Board(agent)
        assert board.tell()[1] == ids.SAMPLE
        for place in places[:count]:
            board.values[place] = 6
        assert board.tell()[1] == kind
