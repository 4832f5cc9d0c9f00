"""What ended on a board and why, as values: the exceptions and the resets that it kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .models import Level, Model

# What the causes of a reset are, in words; any other is shown as it is.
CAUSES = {
    "exception": "an exception ended the application",
    "threshold": "a threshold that asks for it",
    "hang": "the application hung, and the agent reset the board",
    "soft": "reset by software",
    "wdt": "watchdog",
    "hard": "reset button",
    "pwron": "power on",
    "deepsleep": "end of deep sleep",
}
TWO_BOARDS = "two boards answer at this address in turn: give each an ID or address of its own"
# "ValueError: 12:30" is none: what comes before the line's number is a file's name.
_FRAME = re.compile(r"(?P<file>(?:(?!: ).)+):(?P<line>\d+)(?: (?P<function>\S+))?")


@dataclass(frozen=True)
class Frame(Model):
    """A line of a traceback; `function` is None of a syntax error."""

    file: str = ""
    line: int = 0
    function: str | None = None


def _split(traceback: str) -> tuple[tuple[Frame, ...], str]:
    """Return the complete frames of a traceback, and the error as one line.

    A board sends a line for each frame, of which the first may be cut, and then the error, whose
    text may have several lines.
    """
    lines = traceback.rstrip("\n").split("\n")
    if len(lines) > 1 and ": " not in lines[0] and not _FRAME.fullmatch(lines[0]):
        del lines[0]  # the rest of a frame that was cut
    frames = []
    for line in lines[:-1]:
        found = _FRAME.fullmatch(line)
        if found is None:
            break
        frames.append(Frame(found["file"], int(found["line"]), found["function"]))
    return tuple(frames), " ".join(lines[len(frames) :])


@dataclass(frozen=True)
class Reset(Model):
    """A boot of the board that ended, and why; `count` equal ones in a row are one.

    `cause` is as the board's port tells it ("wdt", "hard", "soft", "pwron" …) or, if `inferred`,
    from what the board noted before ("exception", "threshold", "hang", "wdt", "soft", "pwron");
    None: nobody knows. Not `expected`: something went wrong. The rest is of the last sample before
    it; None of what was not measured, or is not kept on that board. `who` is the operation that
    began last, or what the watchdog found to hang ("task: operation") or to be late.
    """

    cause: str | None = None
    inferred: bool = False
    expected: bool = False
    count: int = 0
    boot: int = 0
    uptime_s: int | None = None
    who: str | None = None
    live_bytes: int | None = None
    largest_free_block_bytes: int | None = None
    loop_lag_worst_s: float | None = None
    level: Level | int | None = None
    traceback: str | None = None

    @property
    def error(self) -> str | None:
        """The exception that ended the application, with its text, as one line; None: none did."""
        return None if self.traceback is None else _split(self.traceback)[1]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Where that was raised, innermost last; empty if nobody knows."""
        return _split(self.traceback or "")[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, with `error` and `frames`."""
        frames = [frame.to_dict() for frame in self.frames]
        return {**super().to_dict(), "error": self.error, "frames": frames}


@dataclass(frozen=True)
class Restart(Model):
    """A restart of the board that this connection saw, at about `at` (UTC, the host's clock).

    `cause`, `expected`, `uptime_s`, `who` and `error` are those of the reset, see Reset. Where the
    board keeps no list of resets, `cause` is its port's word for it, and `expected` is None. All
    are None if the list did not change: then the agent was started anew, or the board could not
    note why.

    `other_board`: it was no restart. A boot that was seen before goes on, so two boards answer.
    """

    at: datetime | None = None
    cause: str | None = None
    expected: bool | None = None
    uptime_s: int | None = None
    who: str | None = None
    error: str | None = None
    other_board: bool = False

    def __str__(self) -> str:
        """Return it as a sentence: "the board restarted: watchdog, after 180 s, …"."""
        if self.other_board:
            return TWO_BOARDS
        cause = CAUSES.get(self.cause or "", self.cause) or "nobody knows why"
        parts = [
            cause if self.error is None else self.error,
            "" if self.uptime_s is None else f"after {self.uptime_s} s",
            "" if self.who is None else f"{self.who} was running",
        ]
        return f"the board restarted: {', '.join(filter(None, parts))}"


def restart(
    before: Reset | None,
    resets: Sequence[Reset],
    port_cause: str | None,
    at: datetime | None = None,
) -> Restart:
    """Return the restart that ended the boot before this one.

    before: the newest reset that the board's list had then; resets: its list now.
    """
    if not resets:
        return Restart(at, port_cause)
    last = resets[-1]
    if last == before:
        return Restart(at)
    return Restart(at, last.cause, last.expected, last.uptime_s, last.who, last.error)


@dataclass(frozen=True)
class CaughtException(Model):
    """An exception that ended a "task", "thread", "callback" or the "application" of a board.

    Of kind "hang" it is the KeyboardInterrupt by which the watchdog interrupted the application.
    The same one is kept once: `count` says how often it came, `uptime_s` when it did last, None if
    no agent ran then. `name` is that of the task or thread, None if it has none. `traceback` ends
    with the exception; the board cuts its beginning off where it has more than 148 bytes.
    """

    kind: str = ""
    name: str | None = None
    count: int = 0
    uptime_s: float | None = None
    traceback: str = ""

    @property
    def error(self) -> str:
        """The exception's type and text, as one line: "OSError: [Errno 5] EIO"."""
        return _split(self.traceback)[1]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The lines of the traceback, the one that raised last; none that was cut."""
        return _split(self.traceback)[0]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, with `error` and `frames`."""
        frames = [frame.to_dict() for frame in self.frames]
        return {**super().to_dict(), "error": self.error, "frames": frames}
