"""Commands for a board's limits and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from boardwarden import _arguments, _quantities
from boardwarden._arguments import threshold as check_threshold
from boardwarden._program import (
    Failure,
    checked,
    dicts,
    fail,
    print_json,
    print_line,
    print_rows,
    print_table,
    run,
)
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.board import Board
from boardwarden.grants import Limits, Threshold
from boardwarden.models import Action, enum_name
from boardwarden.render import tables

from .options import (
    BoardOption,
    JsonOption,
    duration_option,
    given,
    one_of,
    parse_member,
    parse_metric,
    with_option_names,
    words,
)
from .terminal import answer, connect

Change = Callable[[Threshold | None], Threshold | None]


def limits(
    board: BoardOption = "",
    max_operations: Annotated[
        int | None, typer.Option(metavar="N", help="How many operations may run at once, 1 to 8.")
    ] = None,
    operation_timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="For operations that set none, such as 5m."),
    ] = None,
    memory_reserve: Annotated[
        str | None,
        typer.Option(metavar="FRACTION", help="Share of memory that is never granted: 0.1 or 10%."),
    ] = None,
    overrun: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How long a task may exceed its lease of CPU time; 0: for ever.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the board's limits; with options, set them."""
    reserve = None
    if memory_reserve is not None:
        reserve = checked(_quantities.fraction, "--memory-reserve", memory_reserve)
    timeout = duration_option("--operation-timeout", operation_timeout, *_arguments.TIMES_S)
    stretch = duration_option("--overrun", overrun, *_arguments.HOLDS_S)
    wanted_limits = (max_operations, timeout, reserve, stretch)
    checked(with_option_names, _arguments.limits, *wanted_limits)
    run(_limits(given(board), wanted_limits, as_json))


def thresholds(
    metric: Annotated[
        str | None,
        typer.Argument(
            metavar="METRIC",
            help="Only this one, such as memory.",
            autocompletion=one_of(THRESHOLD_METRICS),
        ),
    ] = None,
    board: BoardOption = "",
    warn: Annotated[
        str | None, typer.Option(metavar="LEVEL", help='Where it warns, such as 80%; or "none".')
    ] = None,
    critical: Annotated[
        str | None, typer.Option(metavar="LEVEL", help='Where it is critical, or "none".')
    ] = None,
    clear: Annotated[str | None, typer.Option(metavar="LEVEL", help="Where both end.")] = None,
    hold: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="How long the metric must stay beyond a level, such as 30s."
        ),
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="tell (send an event), protect, or reset.",
            autocompletion=one_of(words(Action)),
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Remove the threshold.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the thresholds that the board watches; with options, change that of METRIC."""
    name = None if metric is None else checked(parse_metric, metric)
    levels = {"warn": warn, "critical": critical, "clear": clear}
    wanted = {key: text for key, text in levels.items() if text is not None}
    changes = bool(wanted) or hold is not None or action is not None
    if name is None and (changes or off):
        fail("Which metric? Name it: boardwarden thresholds METRIC …")
    if off and changes:
        fail("--off removes the threshold, so it goes with no level, hold or action.")
    if name is None or not (changes or off):
        run(_thresholds(given(board), name, as_json))
        return
    changed: dict[str, object] = {
        key: checked(_quantities.level, name, f"--{key}", text) for key, text in wanted.items()
    }
    if hold is not None:
        changed["hold_s"] = duration_option("--hold", hold, *_arguments.HOLDS_S)
    if action is not None:
        changed["action"] = checked(parse_member, Action, "action", action)

    def change(before: Threshold | None) -> Threshold | None:
        return None if off else replace(before or Threshold(name), **changed)  # type: ignore[arg-type]

    run(_change_threshold(given(board), name, change, as_json))


async def _limits(
    address: str,
    wanted_limits: tuple[int | None, float | None, float | None, float | None],
    as_json: bool,
) -> None:
    """Set the limits that are given, print all, and how to undo the change."""
    async with connect(address) as board:
        async with answer():
            now = before = await board.set_limits()  # which returns them, and changes none
            if any(each is not None for each in wanted_limits):
                now = await board.set_limits(*wanted_limits)
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
    changed = {name: old for name, (old, new) in options.items() if old not in (None, new)}
    return " ".join(f"{name} {old:.10g}" for name, old in changed.items())


async def _thresholds(address: str, metric: str | None, as_json: bool) -> None:
    async with connect(address) as board:
        async with answer():
            await board.set_limits()  # changes none, but has the board begin to decide
        _print_thresholds(
            [each for each in board.thresholds if metric in (None, each.metric)], as_json
        )


async def _change_threshold(address: str, metric: str, change: Change, as_json: bool) -> None:
    """Set a metric's threshold to change(the present one), None to remove it; print the undo."""
    async with connect(address) as board:
        async with answer():
            await board.set_limits()
        before = _of(board, metric)
        wanted = change(before) or Threshold(metric)
        levels = (wanted.warn, wanted.critical, wanted.clear, wanted.hold_s)
        try:
            with_option_names(check_threshold, metric, *levels, wanted.action)
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
        print_json({"thresholds": dicts(found)})
    else:
        rows = tables.threshold_rows(found)
        print_table(tables.THRESHOLDS, rows, "not watched")
