"""`boardwarden replay`: what a policy would have done, line by line and summed up."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from boardwarden._program import print_json, print_line, print_table, reported
from boardwarden.grants import Event
from boardwarden.policy import Policy
from boardwarden.render.tables import event_text
from boardwarden.render.text import count, duration, utc

from .options import (
    ChosenOption,
    FileArgument,
    JsonOption,
    LastOption,
    SinceOption,
    Times,
    UntilOption,
    window,
)

if TYPE_CHECKING:
    from boardwarden.replaying.replay import Decision, Replayed

_EVERY = 500  # samples, between two steps of the progress


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
        _print_json(path, policy, found)
    else:
        _print(policy, found)


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


def _print(policy: Policy, found: Replayed) -> None:
    for decision in found.decisions:
        print_line(_line(decision, len(found.boards) > 1))
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


def _line(decision: Decision, named: bool) -> str:
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
    return Counter(_what(decision.event) for decision in decisions)


def _what(event: Event) -> str:
    subject = event.subject if isinstance(event.subject, str) else None  # not each id by itself
    detail = event.detail if event.kind != "trim" else None  # nor each function
    return " ".join(filter(None, (event.kind, subject, detail)))


def _notes(policy: Policy) -> Iterator[str]:
    yield "What it would have done does not change the figures after it."
    if policy.interval_s is not None or policy.budget is not None:
        yield "Its interval and budget are not replayed: samples are as they were recorded."


def _print_json(path: Path, policy: Policy, found: Replayed) -> None:
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
