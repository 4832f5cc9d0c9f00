"""What ended on a board and why, as values: the exceptions that it kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .models import Model

_FRAME = re.compile(r"(?P<file>.+):(?P<line>\d+)(?: (?P<function>\S+))?")


@dataclass(frozen=True)
class Frame(Model):
    """A line of a traceback; `function` is None of a syntax error."""

    file: str = ""
    line: int = 0
    function: str | None = None


@dataclass(frozen=True)
class CaughtException(Model):
    """An exception that ended a "task", "thread", "callback" or the "application" of a board.

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
        """The exception's type and text: "OSError: [Errno 5] EIO"."""
        return self.traceback.rstrip("\n").rpartition("\n")[2]

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The lines of the traceback, the one that raised last; none that was cut."""
        found = (_FRAME.fullmatch(line) for line in self.traceback.splitlines()[:-1])
        return tuple(
            Frame(match["file"], int(match["line"]), match["function"]) for match in found if match
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, with `error` and `frames`."""
        frames = [frame.to_dict() for frame in self.frames]
        return {**super().to_dict(), "error": self.error, "frames": frames}
