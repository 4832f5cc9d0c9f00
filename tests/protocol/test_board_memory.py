"""What a mirrored board takes of a worker's memory: thousands are there at once."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from boardwarden._clock import SmallEvent, wait_until
from boardwarden.board import Board
from boardwarden.transport.mqtt import Mqtt
from warden_schema import ids

_BOARDS = 20
_MOST_BYTES = 38_000  # 33 000 with CPython 3.11; tasks, and what a scrape makes, are beside it


def _board(number: int) -> Board:
    """Return a board of a broker that has sent ten minutes of samples."""
    board = Board(Mqtt(f"mqtt://broker/board{number}"))
    for second in range(600):
        figures = [second, 0, *[100_000 + second] * (len(ids.SAMPLE_VALUES) - 2)]
        board._mirror.on_message([ids.SAMPLE, second, figures])
    return board


async def test_a_board_with_a_full_history_takes_less_than_38_kb() -> None:
    boards = [_board(0)]  # what the first one loads is not counted
    gc.collect()
    tracemalloc.start()
    try:
        boards += [_board(number) for number in range(1, 1 + _BOARDS)]
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] / _BOARDS
    finally:
        tracemalloc.stop()
    assert len(boards[-1].history.samples) == 600
    assert taken < _MOST_BYTES


async def test_an_event_wakes_all_who_wait_and_nobody_waits_while_it_is_set() -> None:
    event = SmallEvent()
    waiting = [asyncio.ensure_future(event.wait()) for _ in range(3)]
    waiting[1].cancel()
    event.notify_all()
    assert [each.cancelled() for each in waiting] == [False, True, False]
    await waiting[0]
    again = event.wait()
    event.set()
    await asyncio.gather(again, event.wait())
    event.clear()
    assert not event.wait().done()


async def test_who_gave_up_waiting_for_an_event_is_forgotten() -> None:
    event = SmallEvent()
    for _ in range(100):
        event.wait().cancel()
    deadline = asyncio.get_running_loop().time()
    try:
        await wait_until(event.wait(), deadline)
    except asyncio.TimeoutError:
        pass
    else:
        raise AssertionError("nothing woke it")
    assert len(event._waiting) == 1
