"""Commands that show a board: status, trends, events, console, capabilities."""

from __future__ import annotations

from typing import Annotated

import typer

from boardwarden._program import checked, print_json, print_line, print_note, print_rows, run
from boardwarden.board import Board
from boardwarden.doctor.stored_policy import find_stored_policy
from boardwarden.grants import Event
from boardwarden.models import enum_name
from boardwarden.render import tables
from boardwarden.render.news import News
from boardwarden.render.status import policy_rows, status_rows, trend_rows
from boardwarden.render.text import Printable
from boardwarden.transport.address import is_mqtt, is_network

from . import parse
from .follow import paced, print_news, wait_full_interval
from .options import BoardOption, JsonOption, given
from .terminal import connect, waiting

PeriodOption = Annotated[
    str, typer.Option("--period", metavar="DURATION", help="How far to look back, such as 10m.")
]


def status(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the board's present state."""
    run(_status(given(board), as_json))


def trends(
    board: BoardOption = "", period: PeriodOption = "1m", as_json: JsonOption = False
) -> None:
    """Show the trends of memory, storage and load, from the board's own history."""
    length = checked(parse.duration, "--period", period, 1)
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
    """Print the board's state once."""
    async with connect(address) as board:
        async with waiting("waiting for the load of a whole interval"):
            now = await wait_full_interval(board)
            stored = await find_stored_policy(board)
        if as_json:
            state = None if stored is None else enum_name(stored)
            print_json({**now.to_dict(), "stored_policy": state})
        else:
            print_rows([*status_rows(now, board.capabilities), *policy_rows(stored)])


async def _trends(address: str, period: float, as_json: bool) -> None:
    """Print trends, from the board's own history."""
    async with connect(address) as board:
        async with waiting("reading the board's history"):
            await board.fetch_history()
        found = board.trends(period)
        if as_json:
            print_json(found.to_dict())
        else:
            print_rows(trend_rows(found))


async def _capabilities(address: str, as_json: bool) -> None:
    """Print what the board can measure, and why it cannot measure the rest."""
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
    """Print what the application prints, until interrupted."""
    async with connect(address) as board:
        if is_mqtt(board.address) or is_network(board.address):
            print_note(
                "What the application prints is on its serial port, and does not come over "
                "the network: this shows only that the board restarts, or is lost."
            )
        news = News(board)
        printed = Printable()
        async for text in paced(board.console()):
            print_news(news)
            if text is None:
                continue
            if as_json:
                print_json({"text": text})
            else:
                print(printed.feed(text), end="", flush=True)


async def _events(address: str, follow: bool, as_json: bool) -> None:
    """Print the events that the board remembers, and with `follow` new ones until Ctrl-C."""
    async with connect(address) as board:
        if follow:
            await _follow(board, as_json)
            return
        for event in board.recent_events:
            _print_event(event, as_json)
        if not board.recent_events and not as_json:
            print_line("no events")


async def _follow(board: Board, as_json: bool) -> None:
    news = News(board)
    async for event in paced(board.events()):
        print_news(news)
        if event is not None:
            _print_event(event, as_json)


def _print_event(event: Event, as_json: bool) -> None:
    print_json(event.to_dict()) if as_json else print_line(tables.event_line(event))
