"""Converts what crosses the wire: arguments to the board's units, rows to the host's models.

Arguments of a request are checked first: a ValueError has a sentence that says what is allowed. A
row is the fields of its message after `row`, in the board's integers, and becomes a model when
somebody reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, TypeVar

from warden_schema import ids

from ._quantities import THRESHOLD_METRICS, in_thousandths
from .crashes import CaughtException, Reset
from .grants import (
    BoardSession,
    Event,
    Lease,
    Limits,
    MemoryProfile,
    Meter,
    Operation,
    Threshold,
)
from .models import Action, Level, OperationState, Priority, ResourceType

MAX_INT = 2**30 - 1  # of any number that is sent: a board without long integers holds it
TIMES_S = 0.001, MAX_INT / 1000  # that a lease or an operation may last
INTERVALS_S = ids.MIN_INTERVAL_MS / 1000, ids.MAX_INTERVAL_MS / 1000  # between samples
LEARNED = -1  # as the memory of an operation: what those of its name needed at most so far
HOLDS_S = 0, 600  # that a level, or an overrun, may have to last
_OF_A_METRIC = ("threshold", "collect", "trim", "reset")  # events whose subject is a metric
_FIGURES = ("threshold", "reset")  # whose value is a figure of it

Arguments = tuple[Any, ...]
Row = tuple[Any, ...]
E = TypeVar("E", bound=IntEnum)


# --- arguments ------------------------------------------------------------------------------------


def require_number(name: str, value: Any, least: float, most: float, what: str = "") -> float:
    """Return a number as a float; raise ValueError if it is none or out of range."""
    sound = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not sound or math.isnan(value) or not least <= value <= most:
        what = what or "a number"
        limits = f"{least:.10g} to {most:.10g}"  # digits enough for the largest: no 1.07374e+06
        raise ValueError(f"{name} must be {what} from {limits}, not {value!r}.")
    return float(value)


def require_int(name: str, value: Any, least: int, most: int = MAX_INT, what: str = "") -> int:
    """Return an int; raise ValueError if it is none or out of range."""
    sound = isinstance(value, int) and not isinstance(value, bool)
    if not sound or not least <= value <= most:
        what = what or "a whole number"
        raise ValueError(f"{name} must be {what} from {least} to {most}, not {value!r}.")
    return int(value)


def milliseconds(
    name: str, seconds: Any, least: float = TIMES_S[0], most: float = TIMES_S[1]
) -> int | None:
    """Return seconds as milliseconds; None stays None."""
    if seconds is None:
        return None
    return round(require_number(name, seconds, least, most, "a number of seconds") * 1000)


def text(name: str, value: Any, may_be_empty: bool = True) -> str:
    """Return a name, cut to the length that the board stores."""
    if not isinstance(value, str) or not (value or may_be_empty):
        raise ValueError(f"{name} must be a {'' if may_be_empty else 'non-empty '}str.")
    require_printable(name, value)
    return value.encode(errors="replace")[: ids.MAX_NAME].decode(errors="ignore")


def require_printable(name: str, value: str) -> None:
    """Raise ValueError for control characters, which the board would refuse."""
    if any(character < " " or "\x7f" <= character < "\xa0" for character in value):
        raise ValueError(f"{name} must be without control characters, not {value!r}.")


def identifier(value: Any) -> int:
    """Return the id of a lease or operation; raise ValueError if it cannot be one."""
    return require_int("An id", value, 1)


def priority(value: Any) -> int:
    """Return a priority's number."""
    return require_int("priority", value, Priority.LOW, Priority.CRITICAL, "a Priority,")


def allocation(
    resource: Any, amount: Any, owner: Any, rank: Any, ttl: Any, mount: Any
) -> Arguments:
    """Return the arguments of ALLOCATE."""
    kind = ResourceType(
        require_int("resource", resource, 0, len(ResourceType) - 1, "a ResourceType,")
    )
    if mount is not None and (kind is not ResourceType.STORAGE or not isinstance(mount, str)):
        raise ValueError("mount must be a path, and is for storage only.")
    if mount is not None and mount != text("mount", mount):
        raise ValueError(f"mount must be UTF-8 of at most {ids.MAX_NAME} bytes.")
    return (
        int(kind),
        _amount(kind, amount),
        text("owner", owner),
        priority(rank),
        milliseconds("ttl", ttl),
        mount,
    )


def _amount(kind: ResourceType, amount: Any) -> int:
    if kind is ResourceType.CPU_TIME:
        return round(require_number("amount", amount, 0.001, 1, "a fraction of a core") * 1000)
    return require_int("amount", amount, 1, what="a whole number of bytes")


def operation(name: Any, rank: Any, timeout: Any, memory: Any, wait: Any) -> Arguments:
    """Return the arguments of BEGIN."""
    return (
        text("name", name, may_be_empty=False),
        priority(rank),
        milliseconds("timeout", timeout),
        _memory(memory),
        milliseconds("wait", wait, least=0) or 0,
    )


def _memory(memory: Any) -> int | None:
    if memory is None:
        return None
    if isinstance(memory, int) and memory == LEARNED:
        return LEARNED
    return require_int("memory", memory, 1, what="a whole number of bytes")


def monitoring(interval: Any, budget: Any) -> tuple[int | None, int | None]:
    """Return the arguments of START_MONITORING; None for one that is not given."""
    share = (
        None
        if budget is None
        else require_number("budget", budget, 0.001, 1, "a fraction of a core")
    )
    return (
        milliseconds("interval", interval, *INTERVALS_S),
        None if share is None else round(share * 1000),
    )


def places(what: str, names: Iterable[Any], known: Sequence[str]) -> list[int]:
    """Return the indexes of names in `known`; raise ValueError for others."""
    found = list(names)
    for name in found:
        if name not in known:
            raise ValueError(f"There is no {what} {name!r}; there are {', '.join(known)}.")
    return [known.index(name) for name in found]


def quota(name: Any, memory: Any, storage: Any, operations: Any, ttl: Any) -> Arguments:
    """Return the arguments of SET_QUOTA; without figures it removes the quota."""
    if not isinstance(name, str) or not 1 <= len(name.encode(errors="replace")) <= ids.MAX_NAME:
        raise ValueError(f"A session's name must have 1 to {ids.MAX_NAME} bytes, not {name!r}.")
    sizes = {"memory": memory, "storage": storage}
    most = "a whole number of bytes"
    return (
        name,
        *(None if v is None else require_int(key, v, 1, what=most) for key, v in sizes.items()),
        None if operations is None else require_int("operations", operations, 1),
        milliseconds("ttl", ttl),
    )


def limits(max_operations: Any, timeout: Any, reserve: Any, overrun: Any) -> Arguments:
    """Return the arguments of SET_LIMITS; None leaves one as it is."""
    fraction = (
        None if reserve is None else require_number("memory_reserve", reserve, 0, 0.9, "a fraction")
    )
    return (
        None if max_operations is None else require_int("max_operations", max_operations, 1, 8),
        milliseconds("operation_timeout", timeout),
        None if fraction is None else round(fraction * 1000),
        milliseconds("overrun", overrun, *HOLDS_S),
    )


def threshold(
    metric: Any, warn: Any, critical: Any, clear: Any, hold: Any, action: Any
) -> Arguments:
    """Return the arguments of SET_THRESHOLD; without warn and critical it removes the threshold."""
    if metric not in THRESHOLD_METRICS:
        raise ValueError(
            f"There is no metric {metric!r}; there are {', '.join(THRESHOLD_METRICS)}."
        )
    given = {"warn": warn, "critical": critical, "clear": clear}
    levels = [threshold_level(metric, name, value) for name, value in given.items()]
    _check_order(metric, *levels)
    what = "an Action,"
    return (
        THRESHOLD_METRICS.index(metric),
        *levels,
        milliseconds("hold", hold, *HOLDS_S) or 0,
        require_int("action", action, Action.TELL, Action.RESET, what),
    )


def threshold_level(metric: str, name: str, value: Any) -> int | None:
    """Return a level of a metric, in the board's unit; None stays None."""
    if value is None:
        return None
    unit = ids.THRESHOLD_METRICS[metric]
    name = f"{name} of {metric}"
    if unit == "permille":
        return round(require_number(name, value, 0, 1, "a fraction") * 1000)
    least, most = (-200.0, 0.0) if unit == "dbm" else (0.0, float(MAX_INT))
    scale = 1000 if in_thousandths(metric) else 1
    level = require_number(name, value, least, most / scale)
    if scale == 1 and level % 1:
        raise ValueError(f"{name} must be a whole number, not {value!r}.")
    return round(level * scale)


def _check_order(metric: str, warn: int | None, critical: int | None, clear: int | None) -> None:
    """Check that warn lies between clear and critical, rising or falling."""
    levels = [level for level in (clear, warn, critical) if level is not None]
    if clear is not None and len(levels) == 1:
        raise ValueError(f"A threshold on {metric} needs warn or critical beside clear.")
    if levels not in (sorted(levels), sorted(levels, reverse=True)):
        raise ValueError(f"The levels of {metric} must go one way: clear, warn, critical.")


# --- rows -----------------------------------------------------------------------------------------


def from_thousandths(value: int | None) -> float | None:
    """Return permille as a fraction, and milliseconds as seconds."""
    return None if value is None else value / 1000


def metric_name(number: int | None) -> str | None:
    """Return the name of a threshold's metric; its number if only a newer version knows it."""
    return None if number is None else _name(THRESHOLD_METRICS, number)


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def in_metric_unit(metric: str | None, value: int | None) -> float | None:
    """Return a metric's value in the unit of the status."""
    return from_thousandths(value) if in_thousandths(metric) else value


def in_resource_unit(resource: int, value: int) -> float:
    """Return an amount in the host's unit: CPU_TIME as a fraction of a core, others unchanged."""
    return value / 1000 if resource == ResourceType.CPU_TIME else value


def enum_or_int(kind: type[E], number: int) -> E | int:
    """Return the enum's member, or the number itself if only a newer version knows it."""
    try:
        return kind(number)
    except ValueError:
        return number


def lease_from_row(row: Row, received_at: float) -> Lease:
    """Return the Lease that a LEASE row describes."""
    number, resource, granted, owner, priority, session, granted_s, left_ms, committed, mount = row
    return Lease(
        id=number,
        resource=enum_or_int(ResourceType, resource),
        amount=in_resource_unit(resource, granted),
        owner=owner,
        priority=enum_or_int(Priority, priority),
        session=session,
        granted_s=granted_s,
        committed=bool(committed),
        mount=mount,
        _left_s=from_thousandths(left_ms),
        _received_at=received_at,
    )


def operation_from_row(row: Row, received_at: float) -> Operation:
    """Return the Operation that an OPERATION row describes."""
    number, name, priority, state, permille, text, session, began_s, left_ms, memory, why = row
    return Operation(
        id=number,
        name=name,
        priority=enum_or_int(Priority, priority),
        state=enum_or_int(OperationState, state),
        progress=from_thousandths(permille),
        text=text,
        session=session,
        began_s=began_s,
        memory_bytes=memory,
        why=why,
        _left_s=from_thousandths(left_ms),
        _received_at=received_at,
    )


def session_from_row(row: Row, received_at: float) -> BoardSession:
    """Return the BoardSession that a SESSION row describes."""
    number, name, memory, storage, operations, left_ms = row
    return BoardSession(
        id=number,
        name=name,
        memory_bytes=memory,
        storage_bytes=storage,
        operations=operations,
        _left_s=from_thousandths(left_ms),
        _received_at=received_at,
    )


def threshold_from_row(row: Row, _received_at: float) -> Threshold:
    """Return the Threshold that a THRESHOLD row describes."""
    number, warn, critical, clear, hold_ms, action, now, value = row
    metric = metric_name(number) or ""
    return Threshold(
        metric=metric,
        warn=in_metric_unit(metric, warn),
        critical=in_metric_unit(metric, critical),
        clear=in_metric_unit(metric, clear),
        hold_s=hold_ms / 1000,
        action=enum_or_int(Action, action),
        level=enum_or_int(Level, now),
        value=in_metric_unit(metric, value),
    )


def meter_from_row(row: Row, _received_at: float) -> Meter:
    """Return the Meter that a METER row describes."""
    number, name, kind, priority, permille, worst_ms, steps, lease_id = row
    return Meter(
        id=number,
        name=name,
        kind=_name(ids.METER_KINDS, kind),
        priority=enum_or_int(Priority, priority),
        cpu=from_thousandths(permille),
        worst_s=from_thousandths(worst_ms),
        steps=steps,
        lease=lease_id,
    )


def memory_profile_from_row(row: Row, _received_at: float) -> MemoryProfile:
    """Return the MemoryProfile that a NEED row describes."""
    return MemoryProfile(*row)


def exception_from_row(row: Row, _received_at: float) -> CaughtException:
    """Return the CaughtException that an EXCEPTION row describes."""
    _, kind, name, count, uptime_s, text = row
    return CaughtException(
        kind=_name(ids.EXCEPTION_KINDS, kind),
        name=name,
        count=count,
        uptime_s=uptime_s,
        traceback=text.decode("utf-8", "replace"),
    )


def reset_from_row(row: Row, _received_at: float) -> Reset:
    """Return the Reset that a RESTART row describes."""
    _, cause, flags, count, boot, uptime_s, who, live, largest, lag_ms, level, text = row
    return Reset(
        cause=cause,
        inferred=bool(flags & ids.RESET_INFERRED),
        expected=bool(flags & ids.RESET_EXPECTED),
        count=count,
        boot=boot,
        uptime_s=uptime_s,
        who=who,
        live_bytes=live,
        largest_free_block_bytes=largest,
        loop_lag_worst_s=from_thousandths(lag_ms),
        level=None if level is None else enum_or_int(Level, level),
        traceback=None if text is None else text.decode("utf-8", "replace"),
    )


def limits_from_row(values: list[int | None] | None) -> Limits:
    """Return the limits of a ROWS or of a reply; None for those that the board does not send."""
    fields = [*(values or ()), *[None] * len(ids.LIMITS_SET)]
    return Limits(
        max_operations=fields[0],
        operation_timeout_s=from_thousandths(fields[1]),
        memory_reserve=from_thousandths(fields[2]),
        overrun_s=from_thousandths(fields[3]),
    )


def event_from_row(row: Row, missed: int, boot_id: int | None = None) -> Event:
    """Return the Event of an EVENT; its value is in the host's unit if the kind defines one."""
    number, kind, seconds, milliseconds, subject, detail, value = row
    about: int | str | None = metric_name(subject) if kind in _OF_A_METRIC else subject
    if kind == "hang" and subject in range(len(ids.HANG_STEPS)):
        about = ids.HANG_STEPS[subject]
    elif kind == "exception" and subject in range(len(ids.EXCEPTION_KINDS)):
        about = ids.EXCEPTION_KINDS[subject]
    if kind in _FIGURES:
        value = in_metric_unit(metric_name(subject), value)
    elif kind in ("overrun", "hang") or (kind, detail) == ("denied", "cpu_time"):
        value = from_thousandths(value)
    at = seconds + milliseconds / 1000
    return Event(number, kind, at, about, detail, value, missed, boot_id)
