"""The real board code on MicroPython decides as a simple model does, whatever happens to it.

Invariants 1, 5, 7 and 9 at random: after each step the tables, the sums and the replies agree; in
the end all that was granted has ended.
"""

from __future__ import annotations

from collections.abc import Iterator

import campaign
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from model.board import VirtualBoard
from model.steps import Step, sequence
from model.world import World

_WRAP = 1 << 30  # of ticks_ms


@pytest.fixture(scope="module")
def board() -> Iterator[VirtualBoard]:
    board = VirtualBoard()
    yield board
    board.close()


def play(board: VirtualBoard, steps: list[Step], max_operations: int, start_ms: int) -> None:
    """Play the steps to a new board and the model, compare, end everything, compare again."""
    note(f"steps: {steps}")
    world = World(max_operations)
    for each in steps:
        world.play(each)
    world.end()
    _, *results = board.run([["new", max_operations, start_ms], *world.commands])
    world.check(results)
    state = results[-2][1]
    assert state["leases"] == state["operations"] == state["sessions"] == []
    assert state["outstanding"] == [0] * 4
    assert state["in_place"] == 0


@pytest.mark.timeout(300)
@settings(max_examples=campaign.of(2000, short=300))
@given(
    sequence,
    st.integers(1, 3),
    st.sampled_from((0, _WRAP - 5000)),
)
def test_the_board_decides_as_the_model_does(
    board: VirtualBoard, steps: list[Step], max_operations: int, start_ms: int
) -> None:
    play(board, steps, max_operations, start_ms)
