"""`boardwarden plot`: a picture of a recording."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boardwarden._paths import reason
from boardwarden._program import Failure, fail, print_json, print_line, reported
from boardwarden.render.text import count, duration, size, utc
from boardwarden.transport.address import short_names

from .options import (
    ChosenOption,
    FileArgument,
    JsonOption,
    LastOption,
    SinceOption,
    Times,
    UntilOption,
    require,
    window,
)

if TYPE_CHECKING:
    from boardwarden.plotting.plot import Drawn


def plot(
    file: FileArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            *("--out", "-o"),
            metavar="PICTURE",
            help="A .png or .svg file; else that of the recording's name.",
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

    picture = out or file.with_suffix(".png")
    if picture.suffix.lower() not in (".png", ".svg"):
        fail(f"--out must be a .png or .svg, not {str(picture)!r}.")
    if picture == file:
        fail("--out must not be the recording.")
    names = [name.replace("-", "_") for name in metric or ()]
    for name in names:
        if name not in METRICS:
            fail(f"There is no metric {name!r} to draw; there are {', '.join(METRICS)}.")
    times = window(since, until, last)
    require("boardwarden plot", "matplotlib.figure", "matplotlib", "plot")
    with reported():
        _plot(file, picture, names, board or [], times, as_json)


def _plot(
    path: Path, out: Path, metrics: list[str], addresses: list[str], times: Times, as_json: bool
) -> None:
    """Draw a picture, and print what is in it. No metrics: the usual ones; no addresses: all."""
    from boardwarden.plotting.picture import draw
    from boardwarden.plotting.plot import read
    from boardwarden.recording.reading import Recording

    with _progress("reading"), Recording(path) as recording:
        drawn = read(recording, metrics, addresses, recording.window(*times, addresses))
    with _progress("drawing"):
        title = f"{path.name}: {', '.join(short_names(drawn.boards))}"
        picture = draw(drawn, title, out.suffix[1:].lower())
    try:
        _write(out, picture)
    except OSError as error:
        raise Failure(f"{out} cannot be written: {reason(error)}.") from None
    _sum_up(out, drawn, len(picture), as_json)


def _write(out: Path, picture: bytes) -> None:
    """Write a picture completely or not at all; an existing one stays until then."""
    part = out.with_name(f".{out.name}.part")
    try:
        part.write_bytes(picture)
        part.replace(out)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _progress(doing: str) -> Iterator[None]:
    """Show what is being done, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{doing} …"):
        yield


def _sum_up(out: Path, drawn: Drawn, length: int, as_json: bool) -> None:
    begin, end = drawn.window
    if as_json:
        print_json(
            {
                "picture": str(out),
                "boards": drawn.boards,
                "metrics": list(drawn.panels),
                "since": utc(begin),
                "until": utc(end),
                "samples": drawn.samples,
                "events": len(drawn.events),
                "lost_events": drawn.lost_events,
                "history_slots": drawn.slots,
                "gaps": len(drawn.gaps),
                "restarts": len(drawn.restarts),
            }
        )
        return
    parts = (
        count(len(drawn.boards), "board"),
        count(drawn.samples, "sample"),
        count(len(drawn.events), "event"),
        *([f"{drawn.lost_events} lost"] if drawn.lost_events else []),
        *([f"{count(drawn.slots, 'slot')} of the board's own history"] if drawn.slots else []),
        count(len(drawn.gaps), "gap"),
        f"over {duration(end - begin)}",
    )
    print_line(f"{out} ({size(length)}): {', '.join(parts)}")
