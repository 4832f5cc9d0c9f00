"""The words and options of the commands about recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boardwarden import arguments
from boardwarden.transport.address import FORMS

from . import moments, parse
from .options import ENVIRONMENT, JsonOption, given
from .outcome import checked, fail, run

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The recording.")]
BoardsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--board",
        envvar=ENVIRONMENT,
        metavar="ADDRESS",
        help=f"{FORMS}; may be repeated.",
        show_default=False,
    ),
]


def record(
    file: FileArgument,
    board: BoardsOption = None,
    seconds: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="90s, 10m, 2h; else until Ctrl-C.")
    ] = None,
    interval: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Have the boards sample so often.")
    ] = None,
    rotate_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Begin a new file at 100M, for example.")
    ] = None,
    rotate_age: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begin a new file after 1d, for example.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", help="Of the files put aside, the newest N.")
    ] = None,
    list_it: Annotated[bool, typer.Option("--list", help="Show what is in the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Record boards into an SQLite file, which is made, or gone on with."""
    if list_it:
        from . import recorded

        run(recorded.recorded(file, [], as_json))
        return
    from boardwarden.recording.store import Rotation

    from . import record as recording

    addresses = list(dict.fromkeys(board or [given("")]))
    if keep is not None:
        checked(arguments.whole, "--keep", keep, 1)
        if rotate_size is None and rotate_age is None:
            fail("--keep goes with --rotate-size or --rotate-age.")
    if interval is not None:
        checked(arguments.number, "--interval", interval, 0.02, 600, "seconds")
    rotation = Rotation(
        None if rotate_size is None else checked(parse.size, "--rotate-size", rotate_size),
        None if rotate_age is None else checked(moments.seconds, "--rotate-age", rotate_age),
        keep,
    )
    length = None if seconds is None else checked(moments.seconds, "--for", seconds)
    wanted = recording.Wanted(file, addresses, rotation, interval, length)
    run(recording.record(wanted, as_json))


COMMANDS = (record,)
