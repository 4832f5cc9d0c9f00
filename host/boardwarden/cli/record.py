"""`boardwarden record`: records boards into a file, or lists what is in one."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from boardwarden import _conversion
from boardwarden._program import (
    Interrupted,
    checked,
    fail,
    print_json,
    print_line,
    print_note,
    print_table,
    reported,
    run,
)
from boardwarden.board import Board, connect
from boardwarden.errors import AddressError, BoardError, SimulatorMissing
from boardwarden.render.status import LinkChanges, link_state
from boardwarden.render.text import count, duration, percent, printable, size, utc

from .options import (
    BoardsOption,
    FileArgument,
    JsonOption,
    all_given,
    duration_option,
    parse_file_size,
)
from .terminal import on_signal, waiting

if TYPE_CHECKING:
    from rich.live import Live

    from boardwarden.history import Gap
    from boardwarden.recording.reading import Span
    from boardwarden.recording.recorder import Follower, Recorder
    from boardwarden.recording.store import Rotation, Store

_LOCKED_S = 4.0  # that a locked file is tried to be opened,
_LOCKED_PAUSE_S = 0.2  # with so long between
_CLOSE_S = 1.0  # that boards have to end
_AGAIN_S = 3.0  # until a board that is not there is tried again
_NEVER = (AddressError, SimulatorMissing)
_HEAD = ("BOARD", "BOOT", "FROM", "FOR", "SAMPLES", "EVENTS", "LOST")


def record(
    file: FileArgument,
    board: BoardsOption = None,
    seconds: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="Stop after this time, such as 90s, 10m or 2h."
        ),
    ] = None,
    interval: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Have the boards sample this often, such as 500ms."),
    ] = None,
    rotate_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Begin a new file at this size, such as 100M."),
    ] = None,
    rotate_age: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Begin a new file after this time, such as 1d."),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", help="Keep only the N newest of the rotated files.")
    ] = None,
    list_it: Annotated[bool, typer.Option("--list", help="List what the file contains.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Record boards into an SQLite file, until Ctrl-C.

    Appends to an existing recording.
    """
    if list_it:
        with reported():
            _list(file, as_json)
        return
    from boardwarden.recording.store import Rotation

    addresses = list(dict.fromkeys(all_given(board)))
    if keep is not None:
        checked(_conversion.require_int, "--keep", keep, 1)
        if rotate_size is None and rotate_age is None:
            fail("--keep goes with --rotate-size or --rotate-age.")
    every = duration_option("--interval", interval, *_conversion.INTERVALS_S)
    rotation = Rotation(
        None if rotate_size is None else checked(parse_file_size, "--rotate-size", rotate_size),
        duration_option("--rotate-age", rotate_age, 1),
        keep,
    )
    wanted = Wanted(file, addresses, rotation, every, duration_option("--for", seconds))
    run(_record(wanted, as_json))


class Wanted(NamedTuple):
    """What is to be recorded; None: as the board has it, or without end."""

    path: Path
    addresses: list[str]
    rotation: Rotation
    interval: float | None
    seconds: float | None


async def _record(wanted: Wanted, as_json: bool) -> None:
    """Record, show the progress, and print a summary at the end."""
    from boardwarden.recording.recorder import Recorder
    from boardwarden.recording.store import Store

    store = Store(wanted.path, wanted.rotation)
    await _open(store)  # before the boards: connecting takes them from whoever has them
    if store.put_aside is not None:
        print_note(f"{wanted.path} was damaged: it is {store.put_aside} now, and a new one begins.")
    stop, interrupted = asyncio.Event(), False  # so that there is time to write what came last

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        stop.set()

    try:
        async with _Opener(wanted.interval) as opener:
            found, missing = await opener.open_all(wanted.addresses)
            with (
                on_signal(signal.SIGINT, interrupt),
                on_signal(signal.SIGTERM, stop.set),  # a service manager's stop is as good
                RecordProgress(wanted.path, wanted.addresses) as progress,
            ):
                shows = (progress.show, progress.show_link_changes, progress.show_gap)
                recorder = Recorder(store, found, wanted.interval, *shows)
                if as_json:
                    print_json({"recording": str(wanted.path), "boards": wanted.addresses})
                async with opener.trying_again(missing, recorder, progress):
                    await recorder.run(stop, wanted.seconds)
    finally:
        store.close()
    _sum_up(recorder, as_json)
    if interrupted:
        raise Interrupted


async def _open(store: Store) -> None:
    """Open a recording; try again for some seconds where another program has locked it."""
    from boardwarden.recording.schema import Locked

    until = time.monotonic() + _LOCKED_S
    while True:
        try:
            store.open()
            return
        except Locked:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(_LOCKED_PAUSE_S)


class _Opener:
    """Connects to boards, which stay open until the block is left.

    They are closed together, within a second: none may hold up the end.
    """

    def __init__(self, interval: float | None) -> None:
        self._boards: list[contextlib.AsyncExitStack] = []
        self._interval = interval

    async def __aenter__(self) -> _Opener:
        return self

    async def __aexit__(self, *_: object) -> None:
        closing = [asyncio.create_task(each.aclose()) for each in self._boards]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_S)
            for task in closing:
                task.cancel()
            await asyncio.gather(*closing, return_exceptions=True)

    async def open_all(
        self, addresses: Sequence[str]
    ) -> tuple[dict[str, Board], dict[str, BoardError]]:
        """Return the boards that answer, and the errors of the others.

        Raises what is wrong where none is, or where trying again makes no sense.
        """
        async with waiting(f"connecting to {', '.join(addresses)}"):
            opened = await asyncio.gather(*map(self._open, addresses), return_exceptions=True)
        found: dict[str, Board] = {}
        missing: dict[str, BoardError] = {}
        for address, result in zip(addresses, opened, strict=True):
            if isinstance(result, Board):
                found[address] = result
            elif isinstance(result, BoardError) and not isinstance(result, _NEVER):
                missing[address] = result
            else:
                raise result
        if not found:
            raise next(iter(missing.values()))
        return found, missing

    @contextlib.asynccontextmanager
    async def trying_again(
        self, missing: Mapping[str, BoardError], recorder: Recorder, progress: RecordProgress
    ) -> AsyncIterator[None]:
        """Add boards that do not answer yet once they do, while the block runs."""
        trying = [
            asyncio.create_task(self._until_there(*each, recorder, progress))
            for each in missing.items()
        ]
        try:
            yield
        finally:
            for task in trying:
                task.cancel()
            await asyncio.gather(*trying, return_exceptions=True)

    async def _until_there(
        self, address: str, problem: BoardError, recorder: Recorder, progress: RecordProgress
    ) -> None:
        while True:
            progress.miss(address, str(problem))
            await asyncio.sleep(_AGAIN_S)
            try:
                board = await self._open(address)
            except BoardError as error:
                problem = error
            else:
                progress.miss(address, "")
                recorder.add(address, board)
                return

    async def _open(self, address: str) -> Board:
        async with contextlib.AsyncExitStack() as opened:
            board = await opened.enter_async_context(connect(address))
            if self._interval is not None:
                await board.start_monitoring(self._interval)
            self._boards.append(opened.pop_all())
        return board


# --- progress -----------------------------------------------------------------------------------


class RecordProgress:
    """The progress of a recording: redrawn on a terminal; elsewhere only links and restarts."""

    def __init__(self, path: Path, addresses: list[str]) -> None:
        self._path = path
        self._what = ", ".join(addresses)
        self._live: Live | None = None
        self._link_changes: dict[str, LinkChanges] = {}
        self._late: set[str] = set()  # boards that did not answer at first
        self._missing: dict[str, str] = {}  # why a board is not there
        self._locked = ""  # why nothing is written
        self._removals = 0  # of the file

    def __enter__(self) -> RecordProgress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(console=console, auto_refresh=False)
            self._live.start()
        else:
            print_note(f"recording {self._what} to {self._path}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, recorder: Recorder) -> None:
        """Show the progress."""
        if recorder.store.removals != self._removals:
            self._removals = recorder.store.removals
            self._note(f"{self._path} was removed or replaced: a new one begins")
        if self._live is None:
            if recorder.locked != self._locked:
                self._locked = recorder.locked
                known = f"{self._locked} It is tried again." if self._locked else "written again"
                print_note(known)
            return
        from rich.text import Text

        passed = duration(time.monotonic() - recorder.began_at)
        head = f"recording to {self._path} for {passed}, {size(recorder.store.size_bytes)}"
        lines = [Text(f"{head}; Ctrl-C ends it")]
        for follower in recorder.followers:
            lines.append(Text(_progress_line(follower), "" if follower.board.connected else "red"))
        lines += [Text(recorder.locked, "red")] if recorder.locked else []
        lines += [Text(printable(problem), "red") for problem in self._missing.values()]
        for line in lines:  # leave room for the terminal's ^C, which else would begin a line
            line.truncate(max(1, self._live.console.width - 3), overflow="ellipsis")
        self._live.update(Text("\n").join(lines), refresh=True)

    def miss(self, address: str, problem: str) -> None:
        """Show why a board does not answer; "" if it does."""
        if not problem:
            del self._missing[address]
            return
        sentence = f"{problem} It is tried again."
        if self._live is None and self._missing.get(address) != sentence:
            print_note(sentence)
        self._missing[address] = sentence
        self._late.add(address)  # so that it is said when it is there

    def show_link_changes(self, follower: Follower) -> None:
        """Print that a board restarted, and of its link what the picture does not show."""
        address = follower.address
        link_changes = self._link_changes.get(address) or LinkChanges(
            follower.board, address not in self._late
        )
        self._link_changes[address] = link_changes
        lines = link_changes.lines() if self._live is None else link_changes.restarts()
        for line in lines:
            self._print(address, line)

    def show_gap(self, follower: Follower, gap: Gap) -> None:
        """Print what is recorded of a time without samples, or why nothing is."""
        address, missing = follower.address, duration(gap.end_s - gap.begin_s)
        if gap.slots:
            slots = count(len(gap.slots), "slot")
            line = f"nothing came for {missing}: {slots} of the board's own history are recorded"
        else:
            reason = gap.why or "The board measured nothing then."
            line = f"nothing came for {missing}, and no history of it is recorded: {reason}"
        self._print(address, line)

    def _print(self, address: str, line: str) -> None:
        self._note(f"{address}: {line}")

    def _note(self, line: str) -> None:
        if self._live is None:
            print_note(line)
        else:
            self._live.console.print(printable(line), style="red", markup=False)


def _progress_line(follower: Follower) -> str:
    board = follower.board
    memory = board.status.memory
    live = None
    if memory.live_bytes is not None and memory.total_bytes:
        live = memory.live_bytes / memory.total_bytes
    counts = f"{count(follower.samples, 'sample')}, {count(follower.events, 'event')}"
    return f"{follower.address}: {counts}, {percent(live)} live, {link_state(board)}"


# --- what there is afterwards --------------------------------------------------------------------


def _sum_up(recorder: Recorder, as_json: bool) -> None:
    """Print a summary of what was recorded."""
    store, passed = recorder.store, time.monotonic() - recorder.began_at
    samples, events = store.written["sample"], store.written["event"]
    history = store.written["history"]
    if as_json:
        print_json(
            {
                "recorded": str(store.path),
                "seconds": round(passed, 3),
                "samples": samples,
                "events": events,
                "history_slots": history,
                "rotations": store.rotations,
                "size_bytes": store.size_bytes,
            }
        )
        return
    boards = count(len(recorder.followers), "board")
    slots = f", {count(history, 'slot')} of the boards' own history" if history else ""
    rotated = f", {count(store.rotations, 'file')} put aside" if store.rotations else ""
    print_line(
        f"{store.path}: {count(samples, 'sample')} and {count(events, 'event')} of {boards} "
        f"in {duration(passed)}, {size(store.size_bytes)}{slots}{rotated}"
    )


def _list(path: Path, as_json: bool) -> None:
    """Print the spans of a recording: one boot of one board each."""
    from boardwarden.recording.reading import Recording

    with Recording(path) as recording:
        spans = recording.spans()
        lost = {
            span.id: sum(link.state == "lost" for link in recording.links(span)) for span in spans
        }
    if as_json:
        for span in spans:
            times = {"began": utc(span.began), "ended": utc(span.ended)}
            print_json({**span.to_dict(), **times, "links_lost": lost[span.id]})
        return
    rows = [_row(span, lost[span.id]) for span in spans]
    print_table(_HEAD, rows, "There is nothing in it yet.", uncut=("FROM",))


def _row(span: Span, lost: int) -> tuple[str, ...]:
    return (
        span.address,
        str(span.boot_id),
        datetime.fromtimestamp(span.began).strftime("%Y-%m-%d %H:%M:%S"),
        duration(span.ended - span.began),
        str(span.samples),
        f"{span.events}, {span.lost_events} lost" if span.lost_events else str(span.events),
        str(lost),
    )
