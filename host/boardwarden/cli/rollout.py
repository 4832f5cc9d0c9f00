"""`boardwarden apply --boards` and `--undo`: one policy for many boards."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from boardwarden import policy_file, undo_file
from boardwarden._program import (
    DENIED,
    Failure,
    Interrupted,
    checked,
    print_json,
    print_line,
    print_note,
    print_rows,
    run,
)
from boardwarden.doctor.boards import BrokerBoard
from boardwarden.render.tables import difference_rows
from boardwarden.render.text import count, duration
from boardwarden.rollout import (
    DONE,
    BoardResult,
    Pattern,
    Progress,
    Rollout,
    State,
    Summary,
    Wanted,
    find,
    parse_pattern,
)
from boardwarden.rollout import undo as undo_all
from boardwarden.undo_file import Changed, UndoFile

from .options import parse_duration
from .terminal import TerminalReporter, confirm, on_signal, waiting

_NAME_WIDTH = 24  # at most, of the column with the boards' names
_TICK_S = 0.3
_MAX_LOOKS = 5  # at boards before the question
_UNDO = "boardwarden apply --undo"
_UNDO_WORDS = {State.HAD_IT: "is as before", State.WOULD_CHANGE: "would be restored"}


class How(NamedTuple):
    """The options that apply() and undo() share."""

    dry_run: bool
    yes: bool
    as_json: bool


def apply(file: Path, boards: str, watch: str, insist: bool, backup: Path | None, how: How) -> None:
    """Roll a policy file out over the boards that a pattern names."""
    policy = checked(policy_file.load, file)
    pattern = checked(parse_pattern, boards)
    wanted = Wanted(policy, insist, how.dry_run, checked(parse_duration, "--watch", watch, 1))
    run(_apply(wanted, pattern, file, backup, how))


def undo(path: Path, how: How) -> None:
    """Put back what each board of a roll-out had before."""
    run(_undo(checked(undo_file.read, path), path, how))


async def _apply(
    wanted: Wanted, pattern: Pattern, file: Path, backup: Path | None, how: How
) -> None:
    async with waiting(f"asking {pattern.place} which boards there are"):
        found = await find(pattern)
    if not found:
        raise Failure(
            f"No board at {pattern.place} has a name like {pattern.names!r}, as far as this user "
            "may read."
        )
    if not how.as_json:
        print_line(_matching(found, pattern))
    if how.dry_run:
        with _Shown(found, how) as shown:
            _end(await _run(shown, lambda: Rollout(wanted, shown, None).run(found)), how, shown)
        return
    if not how.yes and not await _agreed(wanted, found, file):
        raise Failure("Nothing was changed.")
    with (
        UndoFile(_path(backup), file=str(file), boards=str(pattern)) as written,
        _Shown(found, how) as shown,
    ):
        shown.file = written
        summary = await _run(shown, lambda: Rollout(wanted, shown, written).run(found))
        if written.has_boards:
            summary = replace(summary, undo=f"{_UNDO} {written.path}")
        _end(summary, how, shown, backup if written.has_boards else None)


async def _agreed(wanted: Wanted, found: Sequence[BrokerBoard], file: Path) -> bool:
    """Show what changes on the first board that would change, of a few, and ask."""
    looking = wanted._replace(dry_run=True)
    there = [each for each in found if each.online is not False and each.silent_s is None]
    for target in there[:_MAX_LOOKS]:
        summary = await _look(looking, target)
        if State.WOULD_CHANGE.value in summary.boards:
            break
    watched = duration(wanted.watch_s)
    return await confirm(f"Apply {file}, one board at first, and watch each group for {watched}?")


async def _look(looking: Wanted, target: BrokerBoard) -> Summary:
    """Show what changes on a board; fail without the broker."""
    with _Shown([target], How(dry_run=True, yes=False, as_json=False)) as shown:
        summary = await _run(shown, lambda: Rollout(looking, shown, None).run([target]))
    _raise_ended(summary)
    return summary


def _path(backup: Path | None) -> Path:
    """Return the name of the file that undoes it."""
    moment = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    return backup or Path(f"apply-{moment}Z.jsonl")


def _matching(found: Sequence[BrokerBoard], pattern: Pattern) -> str:
    """Return how many boards there are, and how many of them are left out, and why."""
    offline = sum(each.online is False for each in found)
    silent = [each.silent_s for each in found if each.silent_s is not None]
    out = [f"{offline} offline"] if offline else []
    if silent:
        out.append(f"{len(silent)} silent for {duration(max(silent))}")
    there = f"{count(len(found), 'board')} at {pattern.place} of the name {pattern.names}"
    return f"{there}; {', '.join(out)}, left out" if out else there


async def _undo(changed: Sequence[Changed], path: Path, how: How) -> None:
    if not changed:
        raise Failure(f"{path} has no board that was changed.")
    places = ", ".join(dict.fromkeys(each.address.rpartition("/")[0] for each in changed))
    question = f"Put back what {count(len(changed), 'board')} at {places} had before?"
    if not (how.yes or how.dry_run) and not await confirm(question):
        raise Failure("Nothing was changed.")
    targets = [BrokerBoard(each.address.rpartition("/")[2], each.address) for each in changed]
    with _Shown(targets, how, undoes=True) as shown:
        summary = await _run(shown, lambda: undo_all(changed, how.dry_run, shown))
        if not how.dry_run and set(summary.boards) - {each.value for each in DONE}:
            summary = replace(summary, undo=f"{_UNDO} {path}")
        _end(summary, how, shown)


async def _run(shown: _Shown, begin: Callable[[], Awaitable[Summary]]) -> Summary:
    """Run it; the first Ctrl-C has it end after the board in hand, a second one at once."""
    task = asyncio.ensure_future(begin())
    ticking = asyncio.create_task(shown.tick())

    def interrupt() -> None:
        if shown.stop.is_set():
            task.cancel()
            return
        shown.stop.set()
        print_note("ending after the board in hand; Ctrl-C once more ends at once")

    try:
        with on_signal(signal.SIGINT, interrupt):
            return await task
    except asyncio.CancelledError:
        if shown.file is not None and shown.file.has_boards:
            print_note(f"interrupted in the middle of a board; to undo: {_UNDO} {shown.file.path}")
        raise Interrupted from None
    finally:
        ticking.cancel()


def _end(summary: Summary, how: How, shown: _Shown, used: Path | None = None) -> None:
    """Print the summary; raise what becomes the exit status. used: the file of --backup, if any."""
    shown.close()
    if how.as_json:
        print_json({"summary": summary.to_dict()})
    else:
        counts = ", ".join(
            f"{number} {shown.words(State(state))}" for state, number in summary.boards.items()
        )
        print_line(f"{count(sum(summary.boards.values()), 'board')}: {counts}")
        if summary.undo is not None:
            print_line(f"to undo: {summary.undo}")
    _raise_ended(summary)
    if set(summary.boards) - {each.value for each in DONE}:
        what = "were put back" if shown.undoes else "have it"
        other = "" if used is None else ", with another --backup,"
        raise Failure(f"Not all boards {what}: the same command{other} tries those again.", DENIED)


def _raise_ended(summary: Summary) -> None:
    """Raise what becomes the exit status, if it did not come to its end."""
    if summary.ended == "interrupted":
        raise Interrupted
    if summary.ended == "stopped":
        raise Failure(f"Stopped: {(summary.reason or '').rstrip('.')}.")


class _Shown(Progress):
    """Prints results as they come; progress on standard error, if that is a terminal."""

    def __init__(self, targets: Sequence[BrokerBoard], how: How, undoes: bool = False) -> None:
        super().__init__()
        self.undoes = undoes
        self.file: UndoFile | None = None
        self._how = how
        self._width = min(_NAME_WIDTH, max(len(each.board) for each in targets))
        self._reporter = TerminalReporter(yes=True)
        self._step = "", 0, 1

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal clean."""
        self._reporter.end_progress()

    def on_result(self, result: BoardResult) -> None:
        """Print what became of a board."""
        self.close()
        if self._how.as_json:
            print_json(result.to_dict())
            return
        print_rows([(result.board.ljust(self._width), self._outcome(result))])
        if self._how.dry_run and result.differences:
            print_rows((f"  {key}", text) for key, text in difference_rows(result.differences))

    def on_board(self, name: str, done: int, total: int) -> None:
        """Show how many boards are done."""
        self._step = f"board {done + 1} of {total}: {name[:_NAME_WIDTH]}", done, total

    def on_watch(self, names: Sequence[str], passed_s: float, total_s: float) -> None:
        """Show how long the boards are watched already."""
        what = names[0][:_NAME_WIDTH] if len(names) == 1 else count(len(names), "board")
        self._step = f"watching {what}", round(passed_s * 10), round(total_s * 10)

    async def tick(self) -> None:
        """Show the progress until cancelled."""
        while True:
            self._reporter.step(*self._step)
            await asyncio.sleep(_TICK_S)

    def words(self, state: State) -> str:
        """Return the words for a state: those of an undo are others."""
        return (_UNDO_WORDS if self.undoes else {}).get(state, state.words)

    def _outcome(self, result: BoardResult) -> str:
        """Return what became of a board, in words."""
        words = self.words(result.state)
        if result.state in (State.APPLIED, State.WOULD_CHANGE, State.RESTORED):
            changes = count(len(result.differences), "change") if result.differences else ""
            text = f"{words}: {changes or 'only what it stores'}"
            return f"{text} ({result.reason})" if result.reason else text
        return f"{words}: {result.reason}" if result.reason else words
