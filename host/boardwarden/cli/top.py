"""`boardwarden top`: who uses the core, who blocks the loop."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from boardwarden._program import print_json, print_line, run, terminal_width
from boardwarden.board import Board
from boardwarden.grants import Meter
from boardwarden.models import enum_name
from boardwarden.render.news import News
from boardwarden.render.status import WIDTH
from boardwarden.render.tables import busiest
from boardwarden.render.text import NOTHING, columns, count, duration, percent

from .follow import print_news, redraw, ticks
from .options import BoardOption, JsonOption, given
from .terminal import connect, waiting

_HEAD = ("cpu", "longest", "steps", "name", "kind", "priority", "lease")
_NOTHING = "nothing is metered: see warden.spawn() and warden.thread() in docs/board.md"
_FIRST_S = 3.0  # at most, until there is something to show


def top(
    board: BoardOption = "",
    once: Annotated[bool, typer.Option("--once", help="Print once and exit.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which tasks use the core, and which block the loop."""
    run(_top(given(board), once, as_json))


async def _top(address: str, once: bool, as_json: bool) -> None:
    """Show the meters until interrupted, or once."""
    async with connect(address) as board, board.metering():
        async with waiting("waiting for the meters of a whole interval"):
            await _first(board)
        if as_json:
            print_json(_json(board))
        elif once:
            print_line(picture(board, terminal_width()))
        elif sys.stdout.isatty():
            await redraw(board, address, lambda width: picture(board, width))
        else:
            news = News(board)
            async for sampled in ticks(board):
                print_news(news)
                if sampled:
                    print_line(picture(board, WIDTH) + "\n")


def picture(board: Board, width: int) -> str:
    """Return the load and the meters, the busiest first, in lines of at most `width` columns."""
    cpu = board.status.cpu
    lag, worst = duration(cpu.loop_lag_s), duration(cpu.loop_lag_worst_s)
    figures = f"cpu {percent(cpu.usage)}, loop lag {lag}, longest step {worst}"
    counts = f"{count(cpu.active_tasks, 'task')}, {count(cpu.active_threads, 'thread')}"
    meters = busiest(board.meters)
    table = columns(_HEAD, _rows(meters), width) if meters else textwrap.wrap(_NOTHING, width)
    return "\n".join([*textwrap.wrap(f"{figures}, {counts}", width), "", *table])


def _rows(meters: Sequence[Meter]) -> Iterator[tuple[str, ...]]:
    for each in meters:
        yield (
            percent(each.cpu),
            duration(each.worst_s),
            NOTHING if each.steps is None else str(each.steps),
            each.name,
            each.kind,
            enum_name(each.priority),
            NOTHING if each.lease is None else str(each.lease),
        )


async def _first(board: Board) -> None:
    """Wait up to 3 s for the meters of a whole interval; there may be none."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_two_samples(board), _FIRST_S)


async def _two_samples(board: Board) -> None:
    await board.wait_sample()
    await board.wait_sample()


def _json(board: Board) -> dict[str, Any]:
    return {
        "cpu": board.status.cpu.to_dict(),
        "meters": [each.to_dict() for each in busiest(board.meters)],
    }
