"""The words and options of the commands about what the board grants and watches."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from boardwarden import _arguments, _quantities
from boardwarden._program import checked, fail, run
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.grants import Threshold
from boardwarden.models import Action, ResourceType

from . import alloc as allocating
from . import grant_commands, parse
from . import top as metering
from .options import BoardOption, JsonOption, PriorityOption, given, one_of

LeaseArgument = Annotated[int, typer.Argument(metavar="ID", help="As boardwarden leases shows it.")]
OperationArgument = Annotated[
    int, typer.Argument(metavar="ID", help="As boardwarden ops shows it.")
]


def leases(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show which memory, storage, CPU time and bandwidth is granted, and to whom."""
    run(grant_commands.leases(given(board), as_json))


def ops(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the operations, and how much memory earlier ones needed."""
    run(grant_commands.operations(given(board), as_json))


def sessions(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the sessions and their quotas."""
    run(grant_commands.sessions(given(board), as_json))


def events(
    board: BoardOption = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show recent events: refusals, preemptions, crossed thresholds."""
    run(grant_commands.events(given(board), follow, as_json))


def limits(
    board: BoardOption = "",
    max_operations: Annotated[
        int | None, typer.Option(metavar="N", help="How many may run at once, 1 to 8.")
    ] = None,
    operation_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For operations that set none.")
    ] = None,
    memory_reserve: Annotated[
        str | None, typer.Option(metavar="FRACTION", help="Never granted: 0.1 or 10%.")
    ] = None,
    overrun: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="A task over its lease ends after this; 0: never."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the board's limits; with options, set them."""
    reserve = None
    if memory_reserve is not None:
        reserve = checked(_quantities.fraction, "--memory-reserve", memory_reserve)
    asked = (max_operations, operation_timeout, reserve, overrun)
    checked(_arguments.limits, *asked)
    run(grant_commands.limits(given(board), asked, as_json))


def thresholds(
    metric: Annotated[
        str | None,
        typer.Argument(help="Only this one.", autocompletion=one_of(THRESHOLD_METRICS)),
    ] = None,
    board: BoardOption = "",
    warn: Annotated[str | None, typer.Option(metavar="LEVEL", help='"none": no warning.')] = None,
    critical: Annotated[
        str | None, typer.Option(metavar="LEVEL", help='"none": never critical.')
    ] = None,
    clear: Annotated[str | None, typer.Option(metavar="LEVEL", help="Where either ends.")] = None,
    hold: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long a level must last.")
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            metavar="WORD",
            help="tell, protect or reset.",
            autocompletion=one_of(parse.words(Action)),
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Stop watching it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the board watches; with options, change how it watches METRIC."""
    name = None if metric is None else checked(parse.metric, metric)
    levels = {"warn": warn, "critical": critical, "clear": clear}
    wanted = {key: text for key, text in levels.items() if text is not None}
    changes = bool(wanted) or hold is not None or action is not None
    if name is None and (changes or off):
        fail("Which metric? Name it: boardwarden thresholds METRIC …")
    if off and changes:
        fail("--off takes the threshold away, so it goes with no level, hold or action.")
    if name is None or not (changes or off):
        run(grant_commands.thresholds(given(board), name, as_json))
        return
    changed: dict[str, object] = {
        key: checked(parse.level, name, key, text) for key, text in wanted.items()
    }
    if hold is not None:
        changed["hold_s"] = hold
    if action is not None:
        changed["action"] = checked(parse.action, action)

    def change(before: Threshold | None) -> Threshold | None:
        return None if off else replace(before or Threshold(name), **changed)  # type: ignore[arg-type]

    run(grant_commands.change_threshold(given(board), name, change, as_json))


def alloc(
    resource: Annotated[
        str,
        typer.Argument(
            help="memory, storage, cpu-time or network-bandwidth.",
            autocompletion=one_of(parse.words(ResourceType)),
        ),
    ],
    amount: Annotated[str, typer.Argument(help="Bytes: 8192, 8k or 1M; of CPU time: 0.25 or 25%.")],
    board: BoardOption = "",
    owner: Annotated[str, typer.Option(help="Who it is for.")] = "boardwarden",
    priority: PriorityOption = "normal",
    mount: Annotated[str | None, typer.Option(metavar="PATH", help="Where, for storage.")] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="How long; else until Ctrl-C.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold a lease while this command runs. Exit status 3: the board denied it."""
    kind = checked(parse.resource, resource)
    size = checked(parse.amount, kind, amount)
    rank = checked(parse.priority, priority)
    checked(_arguments.allocation, kind, size, owner, rank, None, mount)
    checked(_arguments.milliseconds, "--for", seconds)
    wanted = allocating.Wanted(kind, size, owner, rank, mount, seconds)
    run(allocating.alloc(given(board), wanted, as_json))


def release(lease_id: LeaseArgument, board: BoardOption = "", as_json: JsonOption = False) -> None:
    """End a lease, whoever holds it."""
    checked(_arguments.identifier, lease_id)
    run(grant_commands.release(given(board), lease_id, as_json))


def cancel(
    operation_id: OperationArgument, board: BoardOption = "", as_json: JsonOption = False
) -> None:
    """Tell an operation to stop."""
    checked(_arguments.identifier, operation_id)
    run(grant_commands.cancel(given(board), operation_id, as_json))


def top(
    board: BoardOption = "",
    once: Annotated[bool, typer.Option("--once", help="Print once, and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show who uses the core and who blocks the loop."""
    run(metering.top(given(board), once, as_json))


COMMANDS = (
    *(leases, ops, sessions, events, limits, thresholds),
    *(alloc, release, cancel, top),
)
