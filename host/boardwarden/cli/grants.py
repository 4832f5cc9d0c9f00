"""Commands for what a board grants, leases, operations and sessions, and within which limits."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple

import typer

from boardwarden import _conversion, _quantities
from boardwarden._conversion import TIMES_S
from boardwarden._program import (
    DENIED,
    Failure,
    Interrupted,
    checked,
    dicts,
    fail,
    print_json,
    print_line,
    print_note,
    print_rows,
    print_table,
    run,
)
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.board import Board
from boardwarden.errors import Denied, NotFound
from boardwarden.grants import Lease, Limits, Threshold
from boardwarden.models import Action, Priority, ResourceType, enum_name
from boardwarden.render import tables
from boardwarden.render.status import link_state
from boardwarden.render.tables import amount, denial
from boardwarden.render.text import duration

from .options import (
    BoardOption,
    JsonOption,
    duration_option,
    given,
    one_of,
    parse_amount,
    parse_member,
    parse_metric,
    with_option_names,
    words,
)
from .terminal import answer, connect, on_signal, paced

LeaseArgument = Annotated[
    int, typer.Argument(metavar="ID", help="The id that `boardwarden leases` shows.")
]
OperationArgument = Annotated[
    int, typer.Argument(metavar="ID", help="The id that `boardwarden ops` shows.")
]
Change = Callable[[Threshold | None], Threshold | None]


def leases(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the leases: which memory, storage, CPU time and bandwidth is granted, and to whom."""
    run(_leases(given(board), as_json))


def ops(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the operations, and how much memory earlier ones took."""
    run(_operations(given(board), as_json))


def sessions(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the open sessions and their quotas."""
    run(_sessions(given(board), as_json))


def release(lease_id: LeaseArgument, board: BoardOption = "", as_json: JsonOption = False) -> None:
    """End a lease, whoever holds it."""
    checked(_conversion.identifier, lease_id)
    run(_release(given(board), lease_id, as_json))


def cancel(
    operation_id: OperationArgument, board: BoardOption = "", as_json: JsonOption = False
) -> None:
    """Tell an operation to stop, as a preemption does."""
    checked(_conversion.identifier, operation_id)
    run(_cancel(given(board), operation_id, as_json))


async def _leases(address: str, as_json: bool) -> None:
    async with connect(address) as board:
        found = board.allocations
        if as_json:
            print_json({"leases": dicts(found)})
        else:
            print_table(tables.LEASES, tables.lease_rows(found), "no leases")


async def _operations(address: str, as_json: bool) -> None:
    async with connect(address) as board:
        found, profiles = board.operations, board.memory_profiles
        if as_json:
            print_json({"operations": dicts(found), "memory_profiles": dicts(profiles)})
            return
        rows = tables.operation_rows(found)
        print_table(tables.OPERATIONS, rows, "no operations")
        if profiles:
            print_line("")
            print_table(tables.MEMORY_PROFILES, tables.memory_profile_rows(profiles), "")


async def _sessions(address: str, as_json: bool) -> None:
    async with connect(address) as board:
        found = board.sessions
        if as_json:
            print_json({"sessions": dicts(found)})
        else:
            print_table(tables.SESSIONS, tables.session_rows(found), "no sessions")


async def _release(address: str, number: int, as_json: bool) -> None:
    async with connect(address) as board:
        async with answer():
            await board.release(number)
        print_json({"released": number}) if as_json else print_line(f"released lease {number}")


async def _cancel(address: str, number: int, as_json: bool) -> None:
    async with connect(address) as board:
        async with answer():
            await board.cancel(number)
        done = f"told operation {number} to stop"
        print_json({"cancelled": number}) if as_json else print_line(done)


def alloc(
    resource: Annotated[
        str,
        typer.Argument(
            metavar="RESOURCE",
            help="memory, storage, cpu-time or network-bandwidth.",
            autocompletion=one_of(words(ResourceType)),
        ),
    ],
    amount: Annotated[
        str,
        typer.Argument(metavar="AMOUNT", help="Bytes: 8192, 8k or 1M; of CPU time: 0.25 or 25%."),
    ],
    board: BoardOption = "",
    owner: Annotated[str, typer.Option(metavar="NAME", help="Who it is for.")] = "boardwarden",
    priority: Annotated[
        str,
        typer.Option(
            metavar="LEVEL",
            help="low, normal, high or critical.",
            autocompletion=one_of(words(Priority)),
        ),
    ] = "normal",
    mount: Annotated[
        str | None, typer.Option(metavar="PATH", help="The file system, for storage.")
    ] = None,
    seconds: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="How long, such as 10s; else until Ctrl-C."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a lease while this command runs. Exit status 3 if the board denies it."""
    kind = checked(parse_member, ResourceType, "resource", resource)
    size = checked(parse_amount, kind, amount)
    rank = checked(parse_member, Priority, "priority", priority)
    checked(with_option_names, _conversion.allocation, kind, size, owner, rank, None, mount)
    length = duration_option("--for", seconds, *TIMES_S)
    wanted = Wanted(kind, size, owner, rank, mount, length)
    run(_alloc(given(board), wanted, as_json))


class Wanted(NamedTuple):
    """What is to be allocated; `seconds` None holds it until Ctrl-C."""

    resource: ResourceType
    amount: float
    owner: str
    priority: Priority
    mount: str | None
    seconds: float | None


async def _alloc(address: str, wanted: Wanted, as_json: bool) -> None:
    async with connect(address) as board:
        lease = await _granted(board, wanted, as_json)
        interrupt = asyncio.Event()  # so that there is time to release
        with on_signal(signal.SIGINT, interrupt.set):
            interrupted = await _hold(board, lease, wanted, interrupt, as_json)
        if interrupted:
            raise Interrupted


async def _hold(
    board: Board, lease: Lease, wanted: Wanted, interrupt: asyncio.Event, as_json: bool
) -> bool:
    """Hold the lease, then release it; return whether Ctrl-C ended it."""
    if as_json:
        print_json({"lease": lease.to_dict()})
    else:
        what = f"{amount(lease.resource, lease.amount)} of {enum_name(lease.resource)}"
        how_long = "until Ctrl-C" if wanted.seconds is None else f"for {duration(wanted.seconds)}"
        print_line(f"lease {lease.id}: {what}, {how_long}")
    interrupted = await _wait_for_end(board, lease, wanted.seconds, interrupt)
    with contextlib.suppress(NotFound):  # its time is over on the board, too
        async with answer():
            await board.release(lease.id)
    print_json({"released": lease.id}) if as_json else print_line(f"released lease {lease.id}")
    return interrupted


async def _granted(board: Board, wanted: Wanted, as_json: bool) -> Lease:
    resource, size, owner, priority, mount, seconds = wanted
    ttl = TIMES_S[1] if seconds is None else seconds
    mounts = [each.mount for each in board.status.storage if each.mount is not None]
    if mount is not None and mounts and mount not in mounts:
        raise Failure(f"The board has no file system {mount}; it has {', '.join(mounts)}.")
    try:
        async with answer():
            return await board.allocate(resource, size, owner, priority, ttl, mount)
    except Denied as error:
        if as_json:
            names = ("reason", "available", "retry_after_s", "blockers")
            print_json({"denied": {name: getattr(error, name) for name in names}})
        raise Failure(denial(error, resource, board.allocations), DENIED) from None


async def _wait_for_end(
    board: Board, lease: Lease, seconds: float | None, interrupt: asyncio.Event
) -> bool:
    """Wait until the time is over (False) or Ctrl-C (True); raise Failure if the lease ends.

    The board ends it after that time, too, maybe a moment earlier.
    """
    stop = asyncio.create_task(interrupt.wait())
    watch = asyncio.create_task(_lost(board, lease.id))
    try:
        await asyncio.wait([stop, watch], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if watch.done() and (seconds is None or watch.result() != "expired"):
            raise Failure(f"Lease {lease.id} ended on the board: {watch.result()}.")
        return stop.done()
    finally:
        for task in (stop, watch):
            task.cancel()
        await asyncio.gather(stop, watch, return_exceptions=True)


async def _lost(board: Board, number: int) -> str:
    """Wait until the lease ends and return why; print meanwhile if the link is lost or back."""
    connected, listed = True, False
    boot = board.status.board.boot_id
    async for event in paced(board.events()):
        if board.connected != connected:
            connected = board.connected
            print_note(link_state(board))
        if event is not None and (event.kind, event.subject) == ("lease", number):
            return event.detail or "it does not say why"
        if board.status.board.boot_id != boot:
            return "it restarted"
        here = any(lease.id == number for lease in board.allocations)
        if event is None and listed and not here:
            return "nobody remembers why"
        listed = listed or here
    return "the connection is closed"


# --- limits and thresholds ------------------------------------------------------------------------


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
    timeout = duration_option("--operation-timeout", operation_timeout, *TIMES_S)
    stretch = duration_option("--overrun", overrun, *_conversion.HOLDS_S)
    wanted_limits = (max_operations, timeout, reserve, stretch)
    checked(with_option_names, _conversion.limits, *wanted_limits)
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
        changed["hold_s"] = duration_option("--hold", hold, *_conversion.HOLDS_S)
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
            with_option_names(_conversion.threshold, metric, *levels, wanted.action)
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
