"""The words and options of the commands about recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boardwarden import _arguments, _quantities
from boardwarden._program import checked, fail, run

from . import parse
from .options import BoardsOption, JsonOption, all_given

# readable=False: whether a file can be read is told in our words, by who reads it.
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="The recording.", readable=False)
]

ChosenOption = Annotated[
    list[str] | None,
    typer.Option("--board", metavar="ADDRESS", help="Only this board; may be repeated."),
]
SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help='From "2024-05-31 12:00", or 12:00 today.')
]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="To such a time.")]
LastOption = Annotated[str | None, typer.Option(metavar="TIME", help="Only the last 10m, 2h, 1d.")]


def record(
    file: FileArgument,
    board: BoardsOption = (),  # type: ignore[assignment]  # Typer makes a list of it
    seconds: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="Stop after 90s, 10m, 2h.")
    ] = None,
    interval: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Have the boards sample this often.")
    ] = None,
    rotate_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Begin a new file at this size, such as 100M."),
    ] = None,
    rotate_age: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Begin a new file after this time, such as 1d."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", help="Keep only the newest N of the files put aside.")
    ] = None,
    list_it: Annotated[bool, typer.Option("--list", help="Show what is in the file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Record boards into an SQLite file, until Ctrl-C.

    A recording that is there already is gone on with.
    """
    if list_it:
        from . import recorded

        run(recorded.recorded(file, [], as_json))
        return
    from boardwarden.recording.store import Rotation

    from . import record as recording

    addresses = list(dict.fromkeys(all_given(board)))
    if keep is not None:
        checked(_arguments.require_int, "--keep", keep, 1)
        if rotate_size is None and rotate_age is None:
            fail("--keep goes with --rotate-size or --rotate-age.")
    if interval is not None:
        checked(_arguments.require_number, "--interval", interval, 0.02, 600, "seconds")
    rotation = Rotation(
        None if rotate_size is None else checked(_quantities.size, "--rotate-size", rotate_size),
        None if rotate_age is None else checked(parse.duration, "--rotate-age", rotate_age),
        keep,
    )
    length = None if seconds is None else checked(parse.duration, "--for", seconds)
    wanted = recording.Wanted(file, addresses, rotation, interval, length)
    run(recording.record(wanted, as_json))


def plot(
    file: FileArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            *("--out", "-o"),
            metavar="PICTURE",
            help="A .png or .svg file; else FILE.png.",
            readable=False,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A metric to draw, such as cpu; may be repeated."),
    ] = None,
    board: ChosenOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    last: LastOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a recording as PNG or SVG: metrics over time, events marked."""
    from boardwarden.plotting.metrics import METRICS

    from . import plot as plotting

    picture = out or file.with_suffix(".png")
    if picture.suffix.lower() not in (".png", ".svg"):
        fail(f"--out must be a .png or .svg, not {str(picture)!r}.")
    if picture == file:
        fail("--out must not be the recording.")
    names = [name.replace("-", "_") for name in metric or ()]
    for name in names:
        if name not in METRICS:
            fail(f"There is no metric {name!r} to draw; there are {', '.join(METRICS)}.")
    window = _window(since, until, last)
    run(plotting.plot(plotting.Wanted(file, picture, names, board or [], *window), as_json))


def _window(
    since: str | None, until: str | None, last: str | None
) -> tuple[float | None, float | None, float | None]:
    """Return what --since, --until and --last say: two moments and a duration."""
    if since is not None and last is not None:
        fail("--last goes with --until, not with --since.")
    begin = None if since is None else checked(parse.moment, "--since", since)
    end = None if until is None else checked(parse.moment, "--until", until)
    if begin is not None and end is not None and begin >= end:
        fail("--since must be before --until.")
    return begin, end, None if last is None else checked(parse.duration, "--last", last)


def replay(
    file: FileArgument,
    policy: Annotated[
        Path,
        typer.Option(
            metavar="TOML",
            help="A policy file, as `boardwarden apply` takes it.",
            readable=False,
        ),
    ],
    board: ChosenOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    last: LastOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what a policy file would have done over a recording."""
    from . import replay as replaying

    window = _window(since, until, last)
    run(replaying.replayed(replaying.Wanted(file, policy, board or [], *window), as_json))


COMMANDS = (record, plot, replay)
