"""The words and options of the commands about ports: deploy, doctor, boards."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from boardwarden._program import Failure, fail, reported
from boardwarden.transport.address import FORMS, is_serial

from .options import ENVIRONMENT, JsonOption, addresses, given

PortArgument = Annotated[
    str,
    typer.Argument(
        metavar="PORT",
        envvar=ENVIRONMENT,
        show_default=False,
        help="Such as /dev/ttyACM0 or COM3.",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Answer each question with yes.")]
_STARTS = ("main.py", "boot.py")


def deploy(
    port: PortArgument = "",
    start: Annotated[
        str, typer.Option(metavar="FILE", help="Have main.py or boot.py start the agent.")
    ] = "",
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the files and the start line away.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Put the agent on a board over its serial port, and start it.

    It is compiled for the board, copied where it differs, and verified.
    The program on the board is stopped, and started again by a soft reset.
    --start shows first what it would add to the file.
    """
    given(port, "PORT")
    if start and start not in _STARTS:
        fail(f"--start takes main.py or boot.py, not {start}.")
    if start and remove:
        fail("--remove takes the start line out too, so it goes without --start.")
    if not is_serial(port):
        fail(f"{port} is no serial port: deploy goes through the REPL on one.")
    from .terminal import TerminalReporter

    with reported(), TerminalReporter(yes) as talk:
        try:
            from boardwarden.deploy import deploying
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "mpremote":
                raise
            raise Failure(
                "boardwarden deploy needs mpremote: pip install 'boardwarden[deploy]'."
            ) from error
        if remove:
            deploying.remove(port, talk)
        else:
            deploying.deploy(port, start, talk)


def doctor(
    board: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            envvar=ENVIRONMENT,
            show_default=False,
            help=f"{FORMS}.",
            autocompletion=addresses,
        ),
    ] = "",
    seconds: Annotated[
        float,
        typer.Option(
            "--for", metavar="SECONDS", min=0.5, max=60, help="How long to measure the link."
        ),
    ] = 3.0,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a board and the link to it, and say what to do next. Exit status 2: not well."""
    from .doctor import doctor as examine

    with reported():
        status = examine(given(board, "its address"), seconds, yes, as_json)
        sys.stdout.flush()
        if status:
            raise typer.Exit(status)


def boards(
    ports: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PORT]...", help="Only these.", autocompletion=addresses),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the serial ports, and what answers there: an agent, a REPL, nothing."""
    from .doctor import boards as look

    with reported():
        look(ports or [], as_json)


COMMANDS = (deploy, doctor, boards)
