"""The progress of `boardwarden record`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from boardwarden._program import print_note
from boardwarden.render.status import LinkChanges, link_state
from boardwarden.render.text import count, duration, percent, printable, size

if TYPE_CHECKING:
    from rich.live import Live

    from boardwarden.history import Gap
    from boardwarden.recording.recorder import Follower, Recorder


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
            lines.append(Text(_line(follower), "" if follower.board.connected else "red"))
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


def _line(follower: Follower) -> str:
    board = follower.board
    memory = board.status.memory
    live = None
    if memory.live_bytes is not None and memory.total_bytes:
        live = memory.live_bytes / memory.total_bytes
    counts = f"{count(follower.samples, 'sample')}, {count(follower.events, 'event')}"
    return f"{follower.address}: {counts}, {percent(live)} live, {link_state(board)}"
