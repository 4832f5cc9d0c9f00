"""The models that users read, made of the fields of one row or event as they came.

A row is the fields of its message after `row`; an event those after `seq`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from warden_schema import ids

from .grants import (
    BoardSession,
    Event,
    Lease,
    Limits,
    MemoryNeed,
    Meter,
    Operation,
    Threshold,
)
from .kinds import Action, Level, OperationState, Priority, ResourceType, member
from .units import amount, level, metric_name, per_mille

Row = tuple[Any, ...]
Clock = Callable[[], float]


def lease(row: Row, told_at: float, clock: Clock) -> Lease:
    """Return a LEASE's row."""
    number, resource, granted, owner, priority, session, granted_s, left_ms, committed, mount = row
    return Lease(
        id=number,
        resource=member(ResourceType, resource),
        amount=amount(resource, granted),
        owner=owner,
        priority=member(Priority, priority),
        session=session,
        granted_s=granted_s,
        committed=bool(committed),
        mount=mount,
        _left_s=per_mille(left_ms),
        _told_at=told_at,
        _clock=clock,
    )


def operation(row: Row, told_at: float, clock: Clock) -> Operation:
    """Return an OPERATION's row."""
    number, name, priority, state, permille, text, session, began_s, left_ms, memory, why = row
    return Operation(
        id=number,
        name=name,
        priority=member(Priority, priority),
        state=member(OperationState, state),
        progress=per_mille(permille),
        text=text,
        session=session,
        began_s=began_s,
        memory_bytes=memory,
        why=why,
        _left_s=per_mille(left_ms),
        _told_at=told_at,
        _clock=clock,
    )


def session(row: Row, told_at: float, clock: Clock) -> BoardSession:
    """Return a SESSION's row."""
    number, name, memory, storage, operations, left_ms = row
    return BoardSession(
        id=number,
        name=name,
        memory_bytes=memory,
        storage_bytes=storage,
        operations=operations,
        _left_s=per_mille(left_ms),
        _told_at=told_at,
        _clock=clock,
    )


def threshold(row: Row, _told_at: float, _clock: Clock) -> Threshold:
    """Return a THRESHOLD's row."""
    number, warn, critical, clear, hold_ms, action, now, value = row
    metric = metric_name(number) or ""
    return Threshold(
        metric=metric,
        warn=level(metric, warn),
        critical=level(metric, critical),
        clear=level(metric, clear),
        hold_s=hold_ms / 1000,
        action=member(Action, action),
        level=member(Level, now),
        value=level(metric, value),
    )


def meter(row: Row, _told_at: float, _clock: Clock) -> Meter:
    """Return a METER's row."""
    number, name, kind, priority, permille, worst_ms, steps, lease_id = row
    known = 0 <= kind < len(ids.METER_KINDS)
    return Meter(
        id=number,
        name=name,
        kind=ids.METER_KINDS[kind] if known else str(kind),
        priority=member(Priority, priority),
        cpu=per_mille(permille),
        worst_s=per_mille(worst_ms),
        steps=steps,
        lease=lease_id,
    )


def need(row: Row, _told_at: float, _clock: Clock) -> MemoryNeed:
    """Return a NEED's row."""
    return MemoryNeed(*row)


def limits(values: list[int | None] | None) -> Limits:
    """Return the limits of a ROWS or of a reply; None for those that the board does not tell."""
    told = [*(values or ()), *[None] * len(ids.LIMITS_SET)]
    return Limits(
        max_operations=told[0],
        operation_timeout_s=per_mille(told[1]),
        memory_reserve=per_mille(told[2]),
        overrun_s=per_mille(told[3]),
    )


_OF_A_METRIC = ("threshold", "collect", "trim", "reset")  # whose subject is a metric
_FIGURES = ("threshold", "reset")  # whose value is a figure of it


def event(row: Row, missed: int) -> Event:
    """Return an EVENT; a value is in the host's unit where the event tells which that is."""
    number, kind, seconds, milliseconds, subject, detail, value = row
    about: int | str | None = metric_name(subject) if kind in _OF_A_METRIC else subject
    if kind in _FIGURES:
        value = level(metric_name(subject), value)
    elif kind == "overrun" or (kind, detail) == ("denied", "cpu_time"):
        value = per_mille(value)
    return Event(number, kind, seconds + milliseconds / 1000, about, detail, value, missed)
