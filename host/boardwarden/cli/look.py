"""Commands that show a board: its state, the live view, events, crashes, what it prints."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from boardwarden import board as boards
from boardwarden._paths import absence
from boardwarden._program import (
    Failure,
    checked,
    dicts,
    fail,
    print_json,
    print_line,
    print_note,
    print_rows,
    run,
    terminal_width,
)
from boardwarden.board import Board
from boardwarden.grants import Event
from boardwarden.models import enum_name
from boardwarden.policy_on_board import find_stored_policy
from boardwarden.render import tables
from boardwarden.render.status import (
    WIDTH,
    LinkChanges,
    policy_rows,
    safe_rows,
    sample_line,
    status_rows,
    trend_rows,
)
from boardwarden.render.tables import exception_lines, reset_lines
from boardwarden.render.text import Printable, columns, count, duration, percent
from boardwarden.transport.address import is_mqtt, is_network, short_names

from .options import (
    BoardOption,
    BoardsOption,
    JsonOption,
    all_given,
    given,
    parse_duration,
    require,
)
from .terminal import (
    answer,
    connect,
    paced,
    print_link_changes,
    redraw,
    ticks,
    wait_full_interval,
    waiting,
)

PeriodOption = Annotated[
    str, typer.Option("--period", metavar="DURATION", help="How far to look back, such as 10m.")
]
_NO_METERS = "nothing is metered: see warden.spawn() and warden.thread() in docs/board.md"
_METERS_TIMEOUT_S = 3.0  # until there is something to show
_NO_CRASHES = "no resets and no exceptions (kept where warden.run() runs the application)"
_DRAWN = "╭─┤█░▁⠋"  # some of what the view draws with
_NOT_DRAWN = (
    "In this terminal's encoding, {}, the live view cannot be drawn: here is a line for each "
    "sample. If the terminal shows UTF-8, set LC_ALL=C.UTF-8."
)


def status(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the board's present state."""
    run(_status(given(board), as_json))


def trends(
    board: BoardOption = "", period: PeriodOption = "1m", as_json: JsonOption = False
) -> None:
    """Show the trends of memory, storage and load, from the board's own history."""
    length = checked(parse_duration, "--period", period, 1)
    run(_trends(given(board), length, as_json))


def capabilities(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show what the board can measure, and why it cannot measure the rest."""
    run(_capabilities(given(board), as_json))


def console(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show what the application prints, until Ctrl-C."""
    run(_console(given(board), as_json))


def events(
    board: BoardOption = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing new events until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show recent events: refusals, preemptions, crossed thresholds."""
    run(_events(given(board), follow, as_json))


async def _status(address: str, as_json: bool) -> None:
    async with connect(address) as board:
        async with waiting("waiting for the load of a whole interval"):
            now = await wait_full_interval(board)
            stored = await find_stored_policy(board)
            is_safe = await _find_safe_mode(board)
        if as_json:
            state = None if stored is None else enum_name(stored)
            print_json({**now.to_dict(), "stored_policy": state, "safe_mode": is_safe})
        else:
            rows = status_rows(now, board.capabilities)
            print_rows([*safe_rows(is_safe), *rows, *policy_rows(stored)])


async def _find_safe_mode(board: Board) -> bool | None:
    """Return whether a board is in safe mode; None where it does not say.

    It is asked only where its events tell that this boot began so, or the first of them are lost:
    to answer takes memory.
    """
    events = board.recent_events
    complete = not events or events[0].number == 0
    if complete and not any(event.kind == "safe" for event in events):
        return False
    from boardwarden.doctor.checkup import is_safe  # seldom needed

    return await is_safe(board)


async def _trends(address: str, period: float, as_json: bool) -> None:
    async with connect(address) as board:
        async with waiting("reading the board's history"):
            await board.fetch_history()
        found = board.trends(period)
        if as_json:
            print_json(found.to_dict())
        else:
            print_rows(trend_rows(found))


async def _capabilities(address: str, as_json: bool) -> None:
    async with connect(address) as board:
        known = board.capabilities
        if as_json:
            print_json({name: capability.to_dict() for name, capability in known.items()})
        else:
            print_rows(
                (name, "yes" if capability.available else f"no: {capability.reason}")
                for name, capability in known.items()
            )


async def _console(address: str, as_json: bool) -> None:
    async with connect(address) as board:
        if is_mqtt(board.address) or is_network(board.address):
            print_note(
                "What the application prints is on its serial port, and does not come over "
                "the network: this shows only that the board restarts, or is lost."
            )
        link_changes = LinkChanges(board)
        printed = Printable()
        async for text in paced(board.console()):
            print_link_changes(link_changes)
            if text is None:
                continue
            if as_json:
                print_json({"text": text})
            else:
                print(printed.feed(text), end="", flush=True)


async def _events(address: str, follow: bool, as_json: bool) -> None:
    async with connect(address) as board:
        if follow:
            await _follow(board, as_json)
            return
        for event in board.recent_events:
            _print_event(event, as_json)
        if not board.recent_events and not as_json:
            print_line("no events")


async def _follow(board: Board, as_json: bool) -> None:
    link_changes = LinkChanges(board)
    async for event in paced(board.events()):
        print_link_changes(link_changes)
        if event is not None:
            _print_event(event, as_json)


def _print_event(event: Event, as_json: bool) -> None:
    print_json(event.to_dict()) if as_json else print_line(tables.event_line(event))


# --- top ------------------------------------------------------------------------------------------


def top(
    board: BoardOption = "",
    once: Annotated[bool, typer.Option("--once", help="Print once and exit.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which tasks use the core, and which block the loop."""
    run(_top(given(board), once, as_json))


async def _top(address: str, once: bool, as_json: bool) -> None:
    async with connect(address) as board, board.metering():
        async with waiting("waiting for the meters of a whole interval"):
            await _first_meters(board)
        if as_json:
            meters = dicts(tables.busiest(board.meters))
            print_json({"cpu": board.status.cpu.to_dict(), "meters": meters})
        elif once:
            print_line(meters_picture(board, terminal_width()))
        elif sys.stdout.isatty():
            await redraw(board, address, lambda width: meters_picture(board, width))
        else:
            link_changes = LinkChanges(board)
            async for sampled in ticks(board):
                print_link_changes(link_changes)
                if sampled:
                    print_line(meters_picture(board, WIDTH) + "\n")


def meters_picture(board: Board, width: int) -> str:
    """Return the load and the meters, the busiest first, in lines of at most `width` columns."""
    cpu = board.status.cpu
    lag, worst = duration(cpu.loop_lag_s), duration(cpu.loop_lag_worst_s)
    figures = f"cpu {percent(cpu.usage)}, loop lag {lag}, longest step {worst}"
    counts = f"{count(cpu.active_tasks, 'task')}, {count(cpu.active_threads, 'thread')}"
    meters = tables.busiest(board.meters)
    table = textwrap.wrap(_NO_METERS, width)
    if meters:
        table = columns(tables.METERS, tables.meter_rows(meters), width)
    return "\n".join([*textwrap.wrap(f"{figures}, {counts}", width), "", *table])


async def _first_meters(board: Board) -> None:
    """Wait up to 3 s for the meters of a whole interval; there may be none."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_two_samples(board), _METERS_TIMEOUT_S)


async def _two_samples(board: Board) -> None:
    await board.wait_sample()
    await board.wait_sample()


# --- crashes and safe mode ------------------------------------------------------------------------


def crashes(
    board: BoardOption = "",
    source: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The board's programs, to show the lines that failed."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show why the board restarted, and which exceptions ended something, the newest first."""
    if source is not None and (problem := absence(source, "folder")):
        fail(f"--source: {problem}")
    run(_crashes(given(board), source, as_json))


async def _crashes(address: str, source: Path | None, as_json: bool) -> None:
    async with connect(address) as board:
        resets, exceptions = board.resets, board.exceptions
    if as_json:
        print_json({"resets": dicts(resets), "exceptions": dicts(exceptions)})
        return
    for line in (*reset_lines(resets, source), *exception_lines(exceptions, source)):
        print_line(line)
    if not resets and not exceptions:
        print_line(_NO_CRASHES)


def safe(
    board: BoardOption = "",
    leave: Annotated[
        bool, typer.Option("--leave", help="Have the board try its application again, now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell whether the board is in safe mode, where its application does not run."""
    run(_safe(given(board), leave, as_json))


async def _safe(address: str, leave: bool, as_json: bool) -> None:
    async with connect(address) as board, answer():
        if leave:
            await board.leave_safe_mode()
            is_safe, text = False, "the board tries its application again"
        else:
            is_safe = await board.safe_mode()
            text = "in safe mode: the application does not run" if is_safe else "not in safe mode"
    if as_json:
        print_json({"safe": is_safe})
    else:
        print_line(text)


# --- watch ----------------------------------------------------------------------------------------


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


# --- watch, line by line --------------------------------------------------------------------------


async def _print_all(addresses: Sequence[str], as_json: bool) -> None:
    """Print the samples of each board; nothing if one of them cannot be opened."""
    async with contextlib.AsyncExitStack() as opened:
        opening = (opened.enter_async_context(boards.connect(address)) for address in addresses)
        found: list[Board] = []
        for board in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(board, BaseException):
                raise board
            found.append(board)
        names_shown = numbered(addresses) if len(found) > 1 else [""]
        printing = _print_objects if as_json else _print_lines
        await asyncio.gather(*map(printing, found, names_shown))


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


# --- watch, on a terminal -------------------------------------------------------------------------


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
