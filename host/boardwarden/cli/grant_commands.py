"""The commands that show what the board granted and set its rules, each over one connection."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from boardwarden._arguments import threshold as check_threshold
from boardwarden._program import Failure, print_json, print_line, print_rows, print_table
from boardwarden.board import Board
from boardwarden.grants import Event, Limits, Threshold
from boardwarden.models import Model, enum_name
from boardwarden.render import tables
from boardwarden.render.status import link_state

from .follow import paced
from .terminal import answer, connect


async def leases(address: str, as_json: bool) -> None:
    """Print the leases."""
    async with connect(address) as board:
        found = board.allocations
        if as_json:
            print_json({"leases": _dicts(found)})
        else:
            print_table(tables.LEASES, tables.lease_rows(found), "no leases")


async def operations(address: str, as_json: bool) -> None:
    """Print the operations, and what those of their names needed."""
    async with connect(address) as board:
        found, needs = board.operations, board.needs
        if as_json:
            print_json({"operations": _dicts(found), "needs": _dicts(needs)})
            return
        rows = tables.operation_rows(found)
        print_table(tables.OPERATIONS, rows, "no operations")
        if needs:
            print_line("")
            print_table(tables.NEEDS, tables.need_rows(needs), "")


async def sessions(address: str, as_json: bool) -> None:
    """Print the sessions."""
    async with connect(address) as board:
        found = board.sessions
        if as_json:
            print_json({"sessions": _dicts(found)})
        else:
            print_table(tables.SESSIONS, tables.session_rows(found), "no sessions")


async def events(address: str, follow: bool, as_json: bool) -> None:
    """Print the events that the board remembers, and, if wanted, what happens until interrupted."""
    async with connect(address) as board:
        if follow:
            await _follow(board, as_json)
            return
        for event in board.recent_events:
            _print_event(event, as_json)
        if not board.recent_events and not as_json:
            print_line("no events")


async def _follow(board: Board, as_json: bool) -> None:
    connected = True
    async for event in paced(board.events()):
        if board.connected != connected:
            connected = board.connected
            print(f"boardwarden: {link_state(board)}", file=sys.stderr, flush=True)
        if event is not None:
            _print_event(event, as_json)


def _print_event(event: Event, as_json: bool) -> None:
    print_json(event.to_dict()) if as_json else print_line(tables.event_line(event))


async def release(address: str, number: int, as_json: bool) -> None:
    """Release a lease, and say so."""
    async with connect(address) as board:
        async with answer():
            await board.release(number)
        print_json({"released": number}) if as_json else print_line(f"released lease {number}")


async def cancel(address: str, number: int, as_json: bool) -> None:
    """Tell an operation to stop, and say so."""
    async with connect(address) as board:
        async with answer():
            await board.cancel(number)
        done = f"told operation {number} to stop"
        print_json({"cancelled": number}) if as_json else print_line(done)


async def limits(
    address: str,
    asked: tuple[int | None, float | None, float | None, float | None],
    as_json: bool,
) -> None:
    """Print the limits; set those that are asked for, and say how to undo that."""
    async with connect(address) as board:
        async with answer():
            now = before = await board.set_limits()  # which tells them, and changes none
            if any(each is not None for each in asked):
                now = await board.set_limits(*asked)
        if as_json:
            print_json(now.to_dict())
            return
        print_rows(tables.limit_rows(now))
        if now != before:
            print_line(f"to undo: boardwarden limits {_limit_options(before, now)}")


def _limit_options(before: Limits, now: Limits) -> str:
    options = {
        "--max-operations": (before.max_operations, now.max_operations),
        "--operation-timeout": (before.operation_timeout_s, now.operation_timeout_s),
        "--memory-reserve": (before.memory_reserve, now.memory_reserve),
        "--overrun": (before.overrun_s, now.overrun_s),
    }
    return " ".join(f"{name} {old:.10g}" for name, (old, new) in options.items() if old != new)


Change = Callable[[Threshold | None], Threshold | None]


async def thresholds(address: str, metric: str | None, as_json: bool) -> None:
    """Print what the board watches, or of that only one metric."""
    async with connect(address) as board:
        async with answer():
            await board.set_limits()  # changes none: the board makes its own thresholds when asked
        _print_thresholds(
            [each for each in board.thresholds if metric in (None, each.metric)], as_json
        )


async def change_threshold(address: str, metric: str, change: Change, as_json: bool) -> None:
    """Have a metric watched as change(what was) says, None for no more; say how to undo that."""
    async with connect(address) as board:
        async with answer():
            await board.set_limits()
        before = _of(board, metric)
        wanted = change(before) or Threshold(metric)
        levels = (wanted.warn, wanted.critical, wanted.clear, wanted.hold_s)
        try:
            check_threshold(metric, *levels, wanted.action)
        except ValueError as error:
            raise Failure(str(error)) from None
        async with answer():
            await board.set_threshold(metric, *levels, wanted.action)  # type: ignore[arg-type]
        now = _of(board, metric)
        _print_thresholds([now] if now else [], as_json)
        if not as_json:
            print_line(f"to undo: boardwarden thresholds {metric} {_threshold_options(before)}")


def _of(board: Board, metric: str) -> Threshold | None:
    return next((each for each in board.thresholds if each.metric == metric), None)


def _threshold_options(threshold: Threshold | None) -> str:
    if threshold is None:
        return "--off"
    levels = {"warn": threshold.warn, "critical": threshold.critical, "clear": threshold.clear}
    words = [f"--{name} {'none' if v is None else f'{v:.10g}'}" for name, v in levels.items()]
    return f"{' '.join(words)} --hold {threshold.hold_s:g} --action {enum_name(threshold.action)}"


def _print_thresholds(found: Sequence[Threshold], as_json: bool) -> None:
    if as_json:
        print_json({"thresholds": _dicts(found)})
    else:
        rows = tables.threshold_rows(found)
        print_table(tables.THRESHOLDS, rows, "not watched")


def _dicts(models: Sequence[Model]) -> list[dict[str, object]]:
    return [each.to_dict() for each in models]
