"""`boardwarden policy` and `boardwarden apply`: a board's whole policy, and the one it stores."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from boardwarden import policy_file, policy_on_board
from boardwarden._paths import reason, write_new
from boardwarden._program import (
    DENIED,
    FAILED,
    Failure,
    checked,
    fail,
    print_json,
    print_line,
    print_rows,
    reported,
    run,
)
from boardwarden.board import Board
from boardwarden.errors import BoardError, Denied, RequestRefused
from boardwarden.models import StoredPolicy, enum_name
from boardwarden.policy import Policy, Step
from boardwarden.render.status import stored_policy_text
from boardwarden.render.tables import difference_rows
from warden_schema import ids

from .options import ENVIRONMENT, BoardOption, JsonOption, YesOption, given
from .terminal import confirm, connect, waiting

_FILE = Path("warden.toml")


def policy(
    board: BoardOption = "",
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented policy file; needs no board.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the board's policy as a policy file: limits, thresholds, quotas."""
    if example:
        if as_json:
            fail("--example prints a policy file, so it goes without --json.")
        with reported():
            print_line(policy_file.EXAMPLE.rstrip("\n"))
        return
    run(_policy(given(board), as_json))


def apply(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help=f"The policy file. Else {_FILE}.",
            show_default=False,
            readable=False,
        ),
    ] = None,
    board: BoardOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    yes: YesOption = False,
    backup: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Save the present policy to FILE first; --boards always does, to FILE or one "
            "named by the time.",
        ),
    ] = None,
    boards: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help="mqtt://broker/green-*: the boards of a broker, one after the other, until one "
            "gets worse.",
        ),
    ] = "",
    watch: Annotated[
        str,
        typer.Option(
            metavar="DURATION", help="How long --boards watches each group of boards; else 1m."
        ),
    ] = "",
    undo: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Put back what each board had before, from the file of --boards."
        ),
    ] = None,
    insist: Annotated[
        bool,
        typer.Option("--insist", help="Store even a policy that refuses requests at once."),
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Have the board delete its stored policy.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Have the board follow a policy file and store it, so that it outlasts restarts."""
    if as_json and not (yes or dry_run):
        fail(f"--json asks no question: add --yes{'' if forget else ' or --dry-run'}.")
    from . import rollout as fleet

    if undo is not None:
        if file is not None or backup is not None or boards or watch or insist or forget:
            fail("--undo takes its boards and policies from its file, and no other option.")
        fleet.undo(undo, fleet.How(dry_run, yes, as_json))
        return
    if boards:
        if forget or board not in ("", os.environ.get(ENVIRONMENT)):
            fail("--boards names boards of a broker, so it goes without --board and --forget.")
        how = fleet.How(dry_run, yes, as_json)
        fleet.apply(file or _FILE, boards, watch or "1m", insist, backup, how)
        return
    if watch:
        fail("--watch is about --boards, which is missing.")
    address = given(board)
    if forget:
        if file is not None or backup is not None or dry_run or insist:
            fail("--forget deletes the stored policy: it takes no file and no other option.")
        run(_forget(address, yes, as_json))
        return
    wanted = checked(policy_file.load, file or _FILE)
    run(_apply(address, Applying(wanted, dry_run, yes, backup, as_json, insist)))


@dataclass(frozen=True)
class Applying:
    """The options of apply(); `backup` is the file for the present policy."""

    wanted: Policy
    dry_run: bool
    yes: bool
    backup: Path | None
    as_json: bool
    insist: bool


async def _policy(address: str, as_json: bool) -> None:
    async with connect(address) as board:
        async with waiting("reading the board's policy"):
            found, stored = await board.policy(), await _stored_or_none(board)
        if as_json:
            state = None if stored is None else enum_name(stored)
            print_json({**found.to_dict(), "stored_policy": state})
            return
        print_line(_text(board, found, stored).rstrip("\n"))


async def _stored_or_none(board: Board) -> StoredPolicy | int | None:
    try:
        return await board.stored_policy()
    except RequestRefused as error:
        if error.code != ids.UNKNOWN_REQUEST:
            raise
        return None  # an older agent


def _text(board: Board, found: Policy, stored: StoredPolicy | int | None) -> str:
    state = "its agent is too old to store one" if stored is None else stored_policy_text(stored)
    machine = "".join(filter(str.isprintable, board.status.board.machine or "a board"))
    return f"# The policy of {machine};\n# {state}.\n{policy_file.dumps(found)}"


async def _apply(address: str, options: Applying) -> None:
    """Show what the policy changes, ask, change it, and have the board store it."""
    async with connect(address) as board:
        async with waiting("reading the board's policy"):
            before = await policy_on_board.read(board)
        stored, steps = before.stored, before.steps(options.wanted)
        if not options.as_json:
            _print_differences(steps, stored)
        if options.dry_run:
            _print_done(options, steps, False, stored)
            return
        new = bool(steps) or stored != StoredPolicy.IN_FORCE
        if new and not options.yes and not await _agreed(options, bool(steps)):
            raise Failure("Nothing was changed.")
        if options.backup is not None:
            _save(options.backup, _text(board, before.policy, stored))
        async with waiting("applying the policy"):
            problem = await policy_on_board.send(board, steps, before)
        if problem is not None:
            advice = " Apply the file again." if problem.lost else ""
            raise Failure(problem.sentence + advice, DENIED if problem.denied else FAILED)
        await _store(board, options, steps, before)
        now = await board.stored_policy()
        _print_done(options, steps, True, now)
        if not options.as_json:
            _print_undo(options.backup, stored)


async def _agreed(options: Applying, changes: bool) -> bool:
    if changes and options.backup is None:
        print_line("--backup FILE would save the board's present policy first")
    return await confirm("Apply this, and have the board store it?")


def _print_differences(steps: Sequence[Step], stored: StoredPolicy | int) -> None:
    if steps:
        print_rows(difference_rows([each for step in steps for each in step.differences]))
    elif stored == StoredPolicy.IN_FORCE:
        print_line("The board has this policy already.")
    else:
        print_line("The board has this policy already, but has not stored it.")


async def _store(
    board: Board, options: Applying, steps: Sequence[Step], before: policy_on_board.Before
) -> None:
    try:
        await policy_on_board.store(board, before, options.insist)
    except Denied as error:
        if error.reason == "keep:acts_now":
            await _store_anyway(board, options, steps, before, error)
            return
        if options.as_json:
            _print_done(options, steps, True, StoredPolicy.NOTHING)
        raise Failure(f"{error} The policy is in force until the board restarts.", DENIED) from None
    except BoardError as error:
        raise Failure(f"{policy_on_board.perhaps_stored(error)} Apply the file again.") from None


async def _store_anyway(
    board: Board,
    options: Applying,
    steps: Sequence[Step],
    before: policy_on_board.Before,
    error: Denied,
) -> None:
    """Ask whether to store a policy that refuses requests at this moment; if not, undo it."""
    advice = "Nothing was changed; --insist stores it all the same."
    if not options.yes:
        print_line(str(error))
        agreed = False
        with contextlib.suppress(Failure):  # no terminal
            agreed = await confirm("Have the board store it all the same?")
        if agreed:
            await _store(board, replace(options, insist=True), steps, before)
            return
    await policy_on_board.put_back(board, before.policy)
    raise Failure(f"{error} {advice}", DENIED)


def _print_done(
    options: Applying, steps: Sequence[Step], done: bool, stored: StoredPolicy | int
) -> None:
    if options.as_json:
        differences = [each.to_dict() for step in steps for each in step.differences]
        print_json(
            {"differences": differences, "applied": done, "stored_policy": enum_name(stored)}
        )
    elif done:
        print_line("applied, and stored: it holds after a restart" if steps else "stored again")
    else:
        print_line("nothing was changed: --dry-run")


def _print_undo(backup: Path | None, stored: StoredPolicy | int) -> None:
    if backup is not None:
        print_line(f"to undo: boardwarden apply {backup}")
    if stored != StoredPolicy.IN_FORCE:
        print_line("to follow the application again: boardwarden apply --forget")


def _save(path: Path, text: str) -> None:
    try:
        write_new(path, text)
    except FileExistsError:
        raise Failure(f"{path} exists; nothing was changed. Name another file.") from None
    except OSError as error:
        raise Failure(f"Cannot write {path}: {reason(error)}; nothing was changed.") from None


async def _forget(address: str, yes: bool, as_json: bool) -> None:
    async with connect(address) as board:
        stored = await board.stored_policy()
        if stored != StoredPolicy.NOTHING:
            if not yes and not await confirm("Have the board delete its stored policy?"):
                raise Failure("Nothing was changed.")
            await board.forget_policy()
        if as_json:
            print_json({"forgotten": stored != StoredPolicy.NOTHING})
        elif stored == StoredPolicy.NOTHING:
            print_line("The board stores no policy.")
        else:
            print_line("deleted: after its next restart the board follows its application")
