"""Follows a board until Ctrl-C: redraws on a terminal, else prints line by line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TypeVar

from boardwarden._program import print_note
from boardwarden.board import Board
from boardwarden.models import Status
from boardwarden.render.news import News
from boardwarden.render.status import link_state
from boardwarden.render.text import printable

T = TypeVar("T")

_FULL_INTERVAL_TIMEOUT_S = 3.0
_POLL_S = 1.0  # at least so often, to notice that the link is lost


async def ticks(board: Board) -> AsyncIterator[bool]:
    """Yield True now and at each new sample, False after each second without one."""
    first = True
    async for status in paced(board.updates()):
        yield first or status is not None
        first = False


async def paced(items: AsyncGenerator[T, None]) -> AsyncIterator[T | None]:
    """Yield None at once, then the items as they come, and None after each second without one."""
    item = asyncio.ensure_future(anext(items))
    try:
        yield None
        while True:
            done, _ = await asyncio.wait([item], timeout=_POLL_S)
            if not done:
                yield None
            elif isinstance(item.exception(), StopAsyncIteration):
                return
            else:
                yield item.result()
                item = asyncio.ensure_future(anext(items))
    finally:
        item.cancel()


def print_news(news: News, of: str = "") -> None:
    """Print to standard error what is new of a link and its board's restarts."""
    for line in news.lines():
        print_note(f"{of}{line}")


async def wait_full_interval(board: Board) -> Status:
    """Wait up to 3 s for a sample that covers a full interval; load is known only then."""
    with contextlib.suppress(asyncio.TimeoutError):  # monitoring is stopped, or slow: no matter
        await asyncio.wait_for(_until_full_interval(board), _FULL_INTERVAL_TIMEOUT_S)
    return board.status


async def _until_full_interval(board: Board) -> None:
    while not _has_full_interval(board):
        await board.wait_sample()


def _has_full_interval(board: Board) -> bool:
    now, cpu = board.status, board.capabilities.get("cpu")
    if (now.cpu.uptime_s or 0) < (now.interval_s or 0):
        return False
    return now.cpu.usage is not None or cpu is None or not cpu.available


async def redraw(board: Board, title: str, picture: Callable[[int], str]) -> None:
    """Draw picture(width) under a title at each sample, until cancelled; restarts stay above."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    news = News(board)
    with Live(console=console, auto_refresh=False) as live:
        async for _ in ticks(board):
            for line in news.restarts():
                console.print(printable(f"{title}: {line}"), style="red", markup=False)
            head = Text(f"{title}: {link_state(board)}\n", style="" if board.connected else "red")
            live.update(head.append(picture(console.width), style="default"), refresh=True)
