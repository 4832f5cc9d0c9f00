"""Commands for leases, operations and sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from boardwarden import _arguments
from boardwarden._program import checked, print_json, print_line, print_table, run
from boardwarden.models import Model
from boardwarden.render import tables

from .options import BoardOption, JsonOption, given
from .terminal import answer, connect

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
    """Print the leases."""
    async with connect(address) as board:
        found = board.allocations
        if as_json:
            print_json({"leases": dicts(found)})
        else:
            print_table(tables.LEASES, tables.lease_rows(found), "no leases")


async def _operations(address: str, as_json: bool) -> None:
    """Print the operations, and how much memory those of each name took."""
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
    """Print the sessions."""
    async with connect(address) as board:
        found = board.sessions
        if as_json:
            print_json({"sessions": dicts(found)})
        else:
            print_table(tables.SESSIONS, tables.session_rows(found), "no sessions")


async def _release(address: str, number: int, as_json: bool) -> None:
    """Release a lease, and print that."""
    async with connect(address) as board:
        async with answer():
            await board.release(number)
        print_json({"released": number}) if as_json else print_line(f"released lease {number}")


async def _cancel(address: str, number: int, as_json: bool) -> None:
    """Tell an operation to stop, and print that."""
    async with connect(address) as board:
        async with answer():
            await board.cancel(number)
        done = f"told operation {number} to stop"
        print_json({"cancelled": number}) if as_json else print_line(done)


def dicts(models: Sequence[Model]) -> list[dict[str, object]]:
    """Return models as dicts for JSON."""
    return [each.to_dict() for each in models]
