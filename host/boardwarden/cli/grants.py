"""Commands for leases, operations and sessions."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Annotated, NamedTuple

import typer

from boardwarden import _arguments
from boardwarden._arguments import TIMES_S
from boardwarden._program import (
    DENIED,
    Failure,
    Interrupted,
    checked,
    dicts,
    print_json,
    print_line,
    print_note,
    print_table,
    run,
)
from boardwarden.board import Board
from boardwarden.errors import Denied, NotFound
from boardwarden.grants import Lease
from boardwarden.models import Priority, ResourceType, enum_name
from boardwarden.render import tables
from boardwarden.render.status import link_state
from boardwarden.render.tables import amount, denial
from boardwarden.render.text import duration

from . import parse
from .options import BoardOption, JsonOption, given, one_of
from .terminal import answer, connect, on_signal, paced

LeaseArgument = Annotated[
    int, typer.Argument(metavar="ID", help="The id that `boardwarden leases` shows.")
]
OperationArgument = Annotated[
    int, typer.Argument(metavar="ID", help="The id that `boardwarden ops` shows.")
]


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
    checked(_arguments.identifier, lease_id)
    run(_release(given(board), lease_id, as_json))


def cancel(
    operation_id: OperationArgument, board: BoardOption = "", as_json: JsonOption = False
) -> None:
    """Tell an operation to stop, as a preemption does."""
    checked(_arguments.identifier, operation_id)
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
            autocompletion=one_of(parse.words(ResourceType)),
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
            autocompletion=one_of(parse.words(Priority)),
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
    kind = checked(parse.member, ResourceType, "resource", resource)
    size = checked(parse.amount, kind, amount)
    rank = checked(parse.member, Priority, "priority", priority)
    checked(parse.options, _arguments.allocation, kind, size, owner, rank, None, mount)
    length = None if seconds is None else checked(parse.duration, "--for", seconds, *TIMES_S)
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
