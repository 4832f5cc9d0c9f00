"""The words and options of the commands about ports: deploy, doctor, boards."""

from __future__ import annotations

from typing import Annotated

import typer

from boardwarden.transport.address import is_serial

from .options import ENVIRONMENT
from .outcome import Failure, fail, reported

PortArgument = Annotated[
    str,
    typer.Argument(envvar=ENVIRONMENT, show_default=False, help="Such as /dev/ttyACM0 or COM3."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Answer each question with yes.")]
_STARTS = ("main.py", "boot.py")


def deploy(
    port: PortArgument,
    start: Annotated[
        str, typer.Option(metavar="FILE", help="main.py or boot.py: have it start the agent.")
    ] = "",
    remove: Annotated[
        bool, typer.Option("--remove", help="Undo it: files and start line.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Put the agent on a board over its serial port, start it, and wait for its hello."""
    if start and start not in _STARTS:
        fail(f"--start takes main.py or boot.py, not {start}.")
    if start and remove:
        fail("--remove takes the start line out too, so it goes without --start.")
    if not is_serial(port):
        fail(f"{port} is no serial port: deploy goes through the REPL on one.")
    from .talk import TerminalTalk

    with reported(), TerminalTalk(yes) as talk:
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


COMMANDS = (deploy,)
