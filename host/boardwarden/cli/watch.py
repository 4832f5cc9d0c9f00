"""`boardwarden watch`: the live view on a terminal; elsewhere a line, or JSON, for each sample."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from boardwarden._program import Failure, print_json, print_line, print_note, run
from boardwarden.board import Board, connect
from boardwarden.render.status import LinkChanges, sample_line
from boardwarden.transport.address import short_names

from .options import BoardsOption, JsonOption, all_given, require
from .terminal import print_link_changes, ticks, waiting

_DRAWN = "╭─┤█░▁⠋"  # some of what the view draws with
_NOT_DRAWN = (
    "In this terminal's encoding, {}, the live view cannot be drawn: here is a line for each "
    "sample. If the terminal shows UTF-8, set LC_ALL=C.UTF-8."
)


def watch(board: BoardsOption = None, as_json: JsonOption = False) -> None:
    """Show one or several boards live in the terminal; q quits.

    The keys are shown at the bottom; ? explains them.
    If standard output is no terminal, or one that cannot be drawn on, prints a line for each
    sample.
    """
    addresses = all_given(board)
    if as_json or not _on_terminal():
        run(_print_all(addresses, as_json))
        return
    require("boardwarden watch", "textual", "Textual", "tui")
    run(_show(addresses))


def _on_terminal() -> bool:
    """Return whether there is a terminal that can be drawn on, and a keyboard."""
    drawn_on = sys.stdout.isatty() and os.environ.get("TERM", "") != "dumb"
    if not drawn_on or not sys.stdin.isatty():
        return False
    try:
        _DRAWN.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        print_note(_NOT_DRAWN.format(sys.stdout.encoding))
        return False
    return True


def numbered(names: Sequence[str]) -> Iterator[str]:
    """Yield the names; repeated ones get a number."""
    for place, name in enumerate(names):
        before = names[:place].count(name)
        yield f"{name} ({before + 1})" if before else name


# --- line by line -------------------------------------------------------------------------------


async def _print_all(addresses: Sequence[str], as_json: bool) -> None:
    """Print the samples of each board; nothing if one of them cannot be opened."""
    async with contextlib.AsyncExitStack() as opened:
        opening = (opened.enter_async_context(connect(address)) for address in addresses)
        boards: list[Board] = []
        for found in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(found, BaseException):
                raise found
            boards.append(found)
        names_shown = numbered(addresses) if len(boards) > 1 else [""]
        printing = _print_objects if as_json else _print_lines
        await asyncio.gather(*map(printing, boards, names_shown))


async def _print_lines(board: Board, name: str) -> None:
    """Print a line for each sample, and one when the link is lost or back, or it restarted."""
    begin = f"{name}: " if name else ""
    link_changes = LinkChanges(board)
    async for sampled in ticks(board):
        for line in link_changes.lines():
            print_line(begin + line)
        if sampled:
            print_line(begin + sample_line(board.status))


async def _print_objects(board: Board, name: str) -> None:
    """Print a JSON object for each sample; links and restarts go to standard error."""
    of = f"{name}: " if name else ""
    known: dict[str, Any] = {"address": name} if name else {}
    link_changes = LinkChanges(board)
    async for sampled in ticks(board):
        print_link_changes(link_changes, of)
        if sampled:
            print_json({**known, **board.status.to_dict()})


# --- on a terminal ------------------------------------------------------------------------------


async def _show(addresses: Sequence[str]) -> None:
    """Show the live view until the user quits."""
    from boardwarden.tui.app import WatchApp
    from boardwarden.tui.ending import ends_in_time
    from boardwarden.tui.feed import Feed

    if not os.environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # empty, it says nothing; Textual takes it for a yes
    shown = numbered(short_names(addresses))
    feeds = [Feed(*each) for each in zip(addresses, shown, strict=True)]
    with contextlib.ExitStack() as ending:
        try:
            async with waiting(f"connecting to {', '.join(feed.name for feed in feeds)}"):
                await asyncio.gather(*(feed.open() for feed in feeds))
            if all(feed.problem for feed in feeds):  # else the view tries again
                raise Failure(" ".join(feed.problem for feed in feeds))
            app = WatchApp(feeds)
            app.screen_file = ending.enter_context(ends_in_time(app.exit))
            result = await app.run_async()
        finally:
            await asyncio.gather(*(feed.close() for feed in feeds))
    if result or app.return_code:
        sys.exit(result or app.return_code)
