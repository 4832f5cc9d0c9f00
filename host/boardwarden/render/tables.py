"""Leases, operations, sessions, thresholds, meters, events, differences and crashes as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from glob import escape
from pathlib import Path
from typing import Any

from boardwarden import policy_file
from boardwarden._paths import absence
from boardwarden._quantities import metric_unit
from boardwarden.crashes import CAUSES, CaughtException, Frame, Reset
from boardwarden.errors import Denied
from boardwarden.grants import (
    BoardSession,
    Event,
    Lease,
    Limits,
    MemoryProfile,
    Meter,
    Operation,
    Threshold,
)
from boardwarden.models import ResourceType, enum_name
from boardwarden.policy import Difference, SessionQuota

from .status import Row
from .text import NOTHING, duration, integer, percent, printable, size

Cells = Iterator[tuple[str, ...]]

LEASES = ("id", "resource", "amount", "owner", "priority", "session", "left")
OPERATIONS = ("id", "name", "state", "priority", "done", "memory", "session", "left", "what")
MEMORY_PROFILES = ("operation", "runs", "typical", "worst")
SESSIONS = ("id", "name", "memory", "storage", "operations", "left")
METERS = ("cpu", "longest", "steps", "name", "kind", "priority", "lease")
THRESHOLDS = ("metric", "level", "warn", "critical", "clear", "hold", "action", "figure then")
_ARROW = "\N{RIGHTWARDS ARROW}"
_BLOCKS_S = 0.02  # a step that is longer keeps the others waiting
_SECONDS = ("interval", "limits.operation_timeout", "limits.overrun")
_FRACTIONS = ("budget", "limits.memory_reserve")


def lease_rows(leases: Sequence[Lease]) -> Cells:
    """Yield the cells of LEASES."""
    for lease in leases:
        resource = f"{enum_name(lease.resource)} {lease.mount or ''}".rstrip()
        yield (
            str(lease.id),
            resource,
            amount(lease.resource, lease.amount),
            lease.owner,
            enum_name(lease.priority),
            integer(lease.session),
            duration(lease.remaining_s),
        )


def operation_rows(operations: Sequence[Operation]) -> Cells:
    """Yield the cells of OPERATIONS."""
    for each in operations:
        yield (
            str(each.id),
            each.name,
            enum_name(each.state),
            enum_name(each.priority),
            percent(each.progress),
            size(each.memory_bytes),
            integer(each.session),
            duration(each.remaining_s),
            each.why or each.text,
        )


def memory_profile_rows(profiles: Sequence[MemoryProfile]) -> Cells:
    """Yield the cells of MEMORY_PROFILES."""
    for each in profiles:
        yield each.name, str(each.count), size(each.typical_bytes), size(each.worst_bytes)


def session_rows(sessions: Sequence[BoardSession]) -> Cells:
    """Yield the cells of SESSIONS."""
    for each in sessions:
        yield (
            str(each.id),
            each.name,
            size(each.memory_bytes),
            size(each.storage_bytes),
            integer(each.operations),
            duration(each.remaining_s),
        )


def threshold_rows(thresholds: Sequence[Threshold]) -> Cells:
    """Yield the cells of THRESHOLDS."""
    for each in thresholds:
        levels = (figure(each.metric, value) for value in (each.warn, each.critical, each.clear))
        hold, action = duration(each.hold_s), enum_name(each.action)
        yield (
            each.metric,
            enum_name(each.level),
            *levels,
            hold,
            action,
            figure(each.metric, each.value),
        )


def limit_rows(limits: Limits) -> Iterator[Row]:
    """Yield one row for each limit."""
    yield "operations", f"at most {integer(limits.max_operations)} at once"
    yield "operation timeout", duration(limits.operation_timeout_s)
    yield "memory reserve", percent(limits.memory_reserve)
    yield "overrun", duration(limits.overrun_s) if limits.overrun_s != 0 else "for ever"


# Which resource was denied, by the reason; of the others an amount may be of any.
_DENIED_OF = {
    **dict.fromkeys(("memory", "fragmented", "learning", "quota:memory"), ResourceType.MEMORY),
    **dict.fromkeys(("storage", "quota:storage"), ResourceType.STORAGE),
    "cpu_time": ResourceType.CPU_TIME,
    "bandwidth": ResourceType.NETWORK_BANDWIDTH,
}


def event_line(event: Event) -> str:
    """Return an event in a line."""
    lost = f" ({event.missed} before it were lost)" if event.missed else ""
    return f"{event.number:>5}  up {duration(event.uptime_s):<11}  {event_text(event)}{lost}"


def event_text(event: Event) -> str:
    """Return what happened."""
    subject = f" {event.subject}" if event.subject is not None else ""
    details = ", ".join(filter(None, (event.detail, _event_value(event))))
    return printable(f"{event.kind}{subject}" + (f": {details}" if details else ""))


def event_name(event: Event) -> str:
    """Return what happened without which ids and functions: events of one name are alike."""
    subject = event.subject if isinstance(event.subject, str) else None
    detail = event.detail if event.kind != "trim" else None
    return " ".join(filter(None, (event.kind, subject, detail)))


def denial(error: Denied, resource: ResourceType, leases: Sequence[Lease]) -> str:
    """Return why a lease was denied, who has what, and when to try again, in one sentence."""
    parts = [str(error).removeprefix("Denied: ").split(";")[0].rstrip(".")]
    if error.available is not None:
        parts.append(f"{amount(resource, error.available)} are available")
    if error.blockers:
        known = {lease.id: lease for lease in leases}
        holders = ", ".join(_holder(number, known.get(number)) for number in error.blockers)
        parts.append(f"in the way: {holders}")
    if error.retry_after_s is not None:
        parts.append(f"try again in {duration(error.retry_after_s)}")
    return printable(f"Denied: {'; '.join(parts)}.")


def amount(resource: int, value: float) -> str:
    """Write an amount of a resource."""
    if resource == ResourceType.CPU_TIME:
        return percent(value)
    return size(value) + ("/s" if resource == ResourceType.NETWORK_BANDWIDTH else "")


def figure(metric: str, value: float | None) -> str:
    """Write a figure of a threshold's metric."""
    unit = metric_unit(metric)
    if unit == "permille":
        return percent(value)
    if unit in ("ms", "s"):
        return duration(value)
    if unit in ("bytes", "bytes_per_s"):
        return size(value) + ("/s" if unit == "bytes_per_s" and value is not None else "")
    return NOTHING if value is None else f"{value:.10g}"


def _event_value(event: Event) -> str:
    if event.value is None:
        return ""
    if event.kind in ("threshold", "reset"):
        return figure(str(event.subject), event.value)
    if event.kind in ("collect", "trim"):
        return size(event.value)
    if event.kind == "hang":
        return duration(event.value)
    if event.kind in ("exception", "callback_failed"):
        return f"{event.value:.10g} times" if event.value > 1 else ""
    if event.kind == "denied" and event.detail in _DENIED_OF:
        return amount(_DENIED_OF[event.detail], event.value)
    if event.kind == "budget":
        return f"{size(event.value)} a day"
    if event.kind == "agent":
        return duration(event.value / 1000)
    return percent(event.value) if event.kind == "overrun" else f"{event.value:.10g}"


def _holder(number: int, lease: Lease | None) -> str:
    if lease is None:  # it has ended meanwhile, or its row is still to come
        return f"lease {number}"
    owner = f" of {lease.owner}" if lease.owner else ""
    return f"lease {number}{owner} ({amount(lease.resource, lease.amount)})"


def meter_rows(meters: Sequence[Meter]) -> Cells:
    """Yield the cells of each meter."""
    for each in meters:
        yield (
            percent(each.cpu),
            duration(each.worst_s),
            integer(each.steps),
            each.name,
            each.kind,
            enum_name(each.priority),
            integer(each.lease),
        )


def blocker(meters: Sequence[Meter]) -> str:
    """Return which task blocks the loop longest; empty if none does for long."""
    worst = max(meters, key=lambda each: each.worst_s or 0.0, default=None)
    if worst is None or (worst.worst_s or 0.0) < _BLOCKS_S:
        return ""
    return f"{worst.name} blocks the loop for {duration(worst.worst_s)}"


def busiest(meters: Sequence[Meter]) -> list[Meter]:
    """Return the meters, those that took most first, those that nothing can measure last."""

    def rank(each: Meter) -> tuple[float, float, str]:
        return 1 if each.cpu is None else -each.cpu, -(each.worst_s or 0), each.name

    return sorted(meters, key=rank)


def difference_rows(differences: Sequence[Difference]) -> Iterator[Row]:
    """Yield a row for each difference: before and after."""
    for each in differences:
        before, after = (_value_text(each.key, value) for value in (each.before, each.after))
        yield each.key, f"{before} {_ARROW} {after}"


def _value_text(key: str, value: Any) -> str:
    if isinstance(value, Threshold):
        return threshold_text(value)
    if isinstance(value, SessionQuota):
        return _quota(value)
    if value is None:
        return "not watched" if key.startswith("threshold.") else "none"
    if key in _SECONDS:
        return policy_file.seconds(value)
    return policy_file.fraction(value) if key in _FRACTIONS else str(value)


def threshold_text(each: Threshold) -> str:
    """Write what is set of a threshold: "warn 75 %, critical 90 %, clear 70 %, protect"."""
    levels = {"warn": each.warn, "critical": each.critical, "clear": each.clear}
    parts = [
        f"{name} {policy_file.level(each.metric, value)}"
        for name, value in levels.items()
        if value is not None
    ]
    if each.hold_s:
        parts.append(f"hold {policy_file.seconds(each.hold_s)}")
    return ", ".join([*parts, enum_name(each.action)])


def _quota(each: SessionQuota) -> str:
    parts = {
        "memory": None if each.memory_bytes is None else policy_file.size(each.memory_bytes),
        "storage": None if each.storage_bytes is None else policy_file.size(each.storage_bytes),
        "operations": each.operations,
        "ttl": None if each.ttl_s is None else policy_file.seconds(each.ttl_s),
    }
    return ", ".join(f"{name} {text}" for name, text in parts.items() if text is not None)


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
        try:
            found = list(source.rglob(escape("/".join(parts[start:]))))
        except OSError:  # longer than a file's name may be
            continue
        if len(found) == 1 and absence(found[0], "file") is None:
            try:
                text = found[0].read_text(encoding="utf-8", errors="replace")
            except OSError:  # this user may not read it
                return None
            lines = text.split("\n")  # as MicroPython counts: a form feed ends none
            return lines[frame.line - 1].strip() if 0 < frame.line <= len(lines) else None
    return None
