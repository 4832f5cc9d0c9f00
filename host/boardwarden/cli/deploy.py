"""`boardwarden deploy`: puts the agent on a board, or takes it off."""

from __future__ import annotations

from typing import Annotated

import typer

from boardwarden._program import Failure, fail, reported
from boardwarden.transport.address import is_serial

from .options import ENVIRONMENT, YesOption, given
from .terminal import TerminalReporter

PortArgument = Annotated[
    str,
    typer.Argument(
        metavar="PORT",
        envvar=ENVIRONMENT,
        show_default=False,
        help="Such as /dev/ttyACM0 or COM3. Else the only USB serial port.",
    ),
]
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
    port = given(port, "PORT")
    if start and start not in _STARTS:
        fail(f"--start takes main.py or boot.py, not {start}.")
    if start and remove:
        fail("--remove takes the start line out too, so it goes without --start.")
    if not is_serial(port):
        fail(f"{port} is no serial port: deploy goes through the REPL on one.")
    with reported(), TerminalReporter(yes) as reporter:
        try:
            from boardwarden.deploy import deploying
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "mpremote":
                raise
            raise Failure(
                "boardwarden deploy needs mpremote: pip install 'boardwarden[deploy]'."
            ) from error
        if remove:
            deploying.remove(port, reporter)
        else:
            deploying.deploy(port, start, reporter)
