"""The words and options of the commands about a board's whole policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boardwarden._program import fail, run

from . import policy_commands
from .options import BoardOption, JsonOption, given

_FILE = Path("warden.toml")


def policy(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the board's policy as a policy file: limits, thresholds, quotas."""
    run(policy_commands.policy(given(board), as_json))


def apply(
    file: Annotated[
        Path | None,
        typer.Argument(help="The policy.", show_default=str(_FILE), readable=False),
    ] = None,
    board: BoardOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    backup: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="First save the board's present policy there."),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Have the board drop the policy that it keeps.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Have the board follow a policy file, and keep it across restarts, host or no host."""
    address = given(board)
    if as_json and not (yes or dry_run):
        fail(f"--json asks no question: add --yes{'' if forget else ' or --dry-run'}.")
    if forget:
        if file is not None or backup is not None or dry_run:
            fail("--forget takes the kept policy away: it takes no file, --backup or --dry-run.")
        run(policy_commands.forget(address, yes, as_json))
        return
    from boardwarden.errors import PolicyError
    from boardwarden.policy import file as policy_file

    try:
        wanted = policy_file.load(file or _FILE)
    except PolicyError as error:
        fail(str(error))
    asked = policy_commands.Applying(wanted, dry_run, yes, backup, as_json)
    run(policy_commands.apply(address, asked))


COMMANDS = (policy, apply)
