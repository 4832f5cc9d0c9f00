"""What ended on a board, and why, as the lines that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path

from boardwarden._paths import absence
from boardwarden.crashes import CAUSES, CaughtException, Frame, Reset
from boardwarden.models import enum_name

from .text import duration, printable, size


def reset_lines(resets: Sequence[Reset], source: Path | None = None) -> Iterator[str]:
    """Yield the lines of resets, the newest first; source: a folder with the board's files."""
    for each in reversed(resets):
        cause = CAUSES.get(each.cause or "", each.cause) or "nobody knows why"
        guess = ", inferred" if each.inferred else ""
        mark = "" if each.expected else "! "
        times = f", {each.count} times" if each.count > 1 else ""
        yield printable(f"{mark}reset after boot {each.boot}{times}: {cause}{guess}")
        known = {
            "uptime": None if each.uptime_s is None else duration(each.uptime_s),
            "running": each.who,
            "live": None if each.live_bytes is None else size(each.live_bytes),
            "largest block": None
            if each.largest_free_block_bytes is None
            else size(each.largest_free_block_bytes),
            "longest step": None
            if each.loop_lag_worst_s is None
            else f"{each.loop_lag_worst_s * 1000:.0f} ms",
            "pressure": None if not each.level else enum_name(each.level),
        }
        figures = ", ".join(f"{name} {value}" for name, value in known.items() if value)
        if figures:
            yield printable(f"  {figures}")
        if each.error:
            yield from _traceback(each.frames, each.error, source)


def exception_lines(
    exceptions: Sequence[CaughtException], source: Path | None = None
) -> Iterator[str]:
    """Yield the lines of exceptions, the newest first."""
    for each in reversed(exceptions):
        name = f" {each.name}" if each.name else ""
        times = f", {each.count} times" if each.count > 1 else ""
        when = "in an earlier boot or before the agent"
        if each.uptime_s is not None:
            when = f"{each.uptime_s:.0f} s after the start"
        ended = "interrupted" if each.kind == "hang" else "ended"
        yield printable(f"! {each.kind}{name} {ended}{times}, {when}")
        yield from _traceback(each.frames, each.error, source)


def _traceback(frames: Sequence[Frame], error: str, source: Path | None) -> Iterator[str]:
    for frame in frames:
        inside = f", in {frame.function}" if frame.function else ""
        yield printable(f"  {frame.file}, line {frame.line}{inside}")
        line = None if source is None else _source_line(source, frame)
        if line:
            yield printable(f"    {line}")
    yield printable(f"  {error}")


def _source_line(source: Path, frame: Frame) -> str | None:
    """Return a line of the board's program, if its file is below the folder; the path may be cut.

    A file whose name the folder has more than once is not guessed at.
    """
    parts = Path(frame.file.lstrip("/")).parts
    if ".." in parts or "\0" in frame.file:  # no board's program is there
        return None
    for start in range(len(parts)):
        found = list(source.rglob(escape("/".join(parts[start:]))))
        if len(found) == 1 and absence(found[0], "file") is None:
            try:
                lines = found[0].read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:  # this user may not read it
                return None
            return lines[frame.line - 1].strip() if 0 < frame.line <= len(lines) else None
    return None
