"""Mirrored tables: rows as received, and the models that are made of them when they are read.

Written by one thread and read by any: the rows are one dict that is replaced, never changed. A row
is the fields of its message after `row`, in the board's integers; models have the host's units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Generic, TypeVar

from boardwarden import _clock
from boardwarden._quantities import THRESHOLD_METRICS, in_thousandths
from boardwarden.crashes import CaughtException, Reset
from boardwarden.grants import (
    BoardSession,
    Lease,
    Limits,
    MemoryProfile,
    Meter,
    Operation,
    Threshold,
)
from boardwarden.models import Action, Level, Model, OperationState, Priority, ResourceType
from warden_schema import ids

E = TypeVar("E", bound=IntEnum)
Row = tuple[Any, ...]
M = TypeVar("M", bound=Model)
_Rows = dict[int, tuple[float, Row]]
_EMPTY: tuple[_Rows, tuple[Any, ...]] = ({}, ())  # of most tables of most boards: shared


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


class Table(Generic[M]):
    """The rows of one table; `make` turns a row and its time of arrival into a model."""

    __slots__ = ("_cached", "_make", "_rows")

    def __init__(self, make: Callable[[Row, float], M]) -> None:
        self._make = make
        self._cached: tuple[_Rows, tuple[M, ...]] = _EMPTY
        self._rows = _EMPTY[0]

    def put(self, place: int, row: Row) -> None:
        """Store a row as the board has it now."""
        self._rows = {**self._rows, place: (_clock.passed_s(), row)}

    def drop_free(self, mask: int | None) -> None:
        """Drop the rows that are free on the board; `mask` has a bit for each occupied one."""
        occupied = mask or 0
        rows = {place: row for place, row in self._rows.items() if occupied >> place & 1}
        if len(rows) < len(self._rows):
            self._rows = rows

    def clear(self) -> None:
        """Drop all rows."""
        self._rows = _EMPTY[0]

    @property
    def models(self) -> tuple[M, ...]:
        """The rows, oldest first; made once for each state."""
        rows = self._rows
        made_from, made = self._cached
        if made_from is not rows:
            ordered = sorted(rows.values(), key=lambda entry: entry[1][0])
            made = tuple(self._make(row, received_at) for received_at, row in ordered)
            self._cached = (rows, made)
        return made
