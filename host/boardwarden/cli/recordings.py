"""Commands that read a recording: `boardwarden plot` draws it, `replay` runs a policy over it."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boardwarden._paths import reason
from boardwarden._program import Failure, fail, print_json, print_line, print_table, reported
from boardwarden.policy import Policy
from boardwarden.render.tables import event_name, event_text
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
    from boardwarden.plot_data import Drawn
    from boardwarden.replaying.replay import Decision, Replayed

_EVERY = 500  # samples, between two steps of the progress


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
    from boardwarden.plot_data import METRICS

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
    from boardwarden.plot_data import read
    from boardwarden.plot_picture import draw
    from boardwarden.recording.reading import Recording

    with _working("reading"), Recording(path) as recording:
        drawn = read(recording, metrics, addresses, recording.window(*times, addresses))
    with _working("drawing"):
        title = f"{path.name}: {', '.join(short_names(drawn.boards))}"
        picture = draw(drawn, title, out.suffix[1:].lower())
    try:
        _write_picture(out, picture)
    except OSError as error:
        raise Failure(f"{out} cannot be written: {reason(error)}.") from None
    _print_drawn(out, drawn, len(picture), as_json)


def _write_picture(out: Path, picture: bytes) -> None:
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
def _working(doing: str) -> Iterator[None]:
    """Show what is being done, on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{doing} …"):
        yield


def _print_drawn(out: Path, drawn: Drawn, length: int, as_json: bool) -> None:
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


# --- replay ---------------------------------------------------------------------------------------


def replay(
    file: FileArgument,
    policy: Annotated[
        Path,
        typer.Option(
            metavar="TOML",
            help="The policy file, as for `boardwarden apply`.",
            readable=False,
        ),
    ],
    board: ChosenOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    last: LastOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a policy would have done over a recording."""
    times = window(since, until, last)
    with reported():
        _replay(file, policy, board or [], times, as_json)


def _replay(
    path: Path, policy_path: Path, addresses: list[str], times: Times, as_json: bool
) -> None:
    """Replay, and print what would have been done. No addresses: all."""
    from boardwarden import policy_file
    from boardwarden.recording.reading import Recording
    from boardwarden.replaying.replay import replay as replay_recording

    policy = policy_file.load(policy_path)
    with Recording(path) as recording, _progress() as passed:
        window = recording.window(*times, addresses)
        found = replay_recording(recording, policy, addresses, window, passed)
    if as_json:
        _print_replayed_json(path, policy, found)
    else:
        _print_replayed(policy, found)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """Show the progress, on a terminal."""
    if not sys.stderr.isatty():
        yield lambda samples, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=None)

        def passed(samples: int, total: int) -> None:
            if samples % _EVERY == 0:
                progress.update(task, completed=samples, total=total)

        yield passed


def _print_replayed(policy: Policy, found: Replayed) -> None:
    for decision in found.decisions:
        print_line(_decision_line(decision, len(found.boards) > 1))
    would, did = _counts(found.decisions), _counts(found.recorded)
    if found.decisions:
        print_line("")
    rows = [(what, str(would[what]), str(did[what])) for what in sorted({*would, *did})]
    for what in sorted({*found.would_s, *found.did_s}):
        would_s, did_s = (times.get(what, 0.0) for times in (found.would_s, found.did_s))
        rows.append((f"time at {what}", duration(would_s), duration(did_s)))
    print_table(
        ("WHAT", "WOULD", "DID"),
        rows,
        "The policy would have done nothing, and the boards did nothing.",
    )
    boards, samples = count(len(found.boards), "board"), count(found.samples, "sample")
    print_line(f"{samples} of {boards} over {duration(found.seconds)}")
    if found.decisions:
        print_line(_sureness(found))
    for note in _notes(policy):
        print_line(note)


def _decision_line(decision: Decision, named: bool) -> str:
    when = datetime.fromtimestamp(decision.at).strftime("%Y-%m-%d %H:%M:%S")
    board = f"  {decision.address}" if named else ""
    whose = f" ({decision.name})" if decision.name else ""
    about = f" ± {duration(decision.within_s)}" if decision.within_s else ""
    return f"{when}{about}{board}  {event_text(decision.event)}{whose}"


def _sureness(found: Replayed) -> str:
    """Return how many decisions are known to be right, and how exactly the others' times are."""
    text = f"{found.happened} of {count(len(found.decisions), 'decision')} also happened"
    if found.happened == len(found.decisions):
        return f"{text}."
    within = duration(found.within_s) if found.within_s else "a millisecond"
    return f"{text}; the times of the others are known to within {within}."


def _counts(decisions: list[Decision]) -> Counter[str]:
    return Counter(event_name(decision.event) for decision in decisions)


def _notes(policy: Policy) -> Iterator[str]:
    yield "What it would have done does not change the figures after it."
    if policy.interval_s is not None or policy.budget is not None:
        yield "Its interval and budget are not replayed: samples are as they were recorded."


def _print_replayed_json(path: Path, policy: Policy, found: Replayed) -> None:
    for decision in found.decisions:
        print_json({**decision.to_dict(), "at": utc(decision.at)})
    print_json(
        {
            "replayed": str(path),
            "policy": policy.to_dict(),
            "boards": found.boards,
            "samples": found.samples,
            "seconds": round(found.seconds, 3),
            "happened": found.happened,
            "within_s": found.within_s,
            "would": dict(sorted(_counts(found.decisions).items())),
            "did": dict(sorted(_counts(found.recorded).items())),
            "would_s": _rounded(found.would_s),
            "did_s": _rounded(found.did_s),
        }
    )


def _rounded(times: dict[str, float]) -> dict[str, float]:
    return {what: round(seconds, 3) for what, seconds in sorted(times.items())}
