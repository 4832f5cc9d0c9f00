"""What was requested of a board, put in order from rows that come late, or not at all."""

from __future__ import annotations

from pathlib import Path

from recorded import (
    LEASE,
    LIMITS,
    OPERATION,
    QUIET,
    Row,
    change,
    decisions_of,
    event,
    replayed,
    sample,
)

SAMPLES = tuple(sample(second) for second in range(1, 6))
ONE_PLACE = change(0, "limits", None, {**LIMITS, "max_operations": 1})
WAITING = {**OPERATION, "state": "waiting", "remaining_s": None, "began_s": 2}


def ends(path: Path, *rows: Row) -> list[tuple[float, object, str | None]]:
    found = decisions_of(replayed(path, QUIET, *rows, *SAMPLES))
    return [(at, subject, detail) for at, _, subject, detail in found]


def begun(second: float, number: int, operation: int, **row: object) -> tuple[Row, Row]:
    row = {**OPERATION, "id": operation, **row}
    return (
        event(second, number, "operation", operation, "began"),
        change(second + 0.01, "operation", operation, row),
    )


def preempted(second: float, number: int, operation: int) -> tuple[Row, Row]:
    return (
        event(second, number, "operation", operation, "preempted"),
        event(second, number + 1, "operation", operation, "ended"),
    )


def test_a_lease_whose_row_comes_after_its_end_does_not_expire(path: Path) -> None:
    row = {**LEASE, "granted_s": 2, "remaining_s": 0.3}
    assert ends(
        path,
        event(2.0, 1, "lease", 4, "released"),
        change(2.01, "lease", 4, row),
        change(2.02, "lease", 4, None),
    ) == []  # fmt: skip


def test_a_lease_that_was_preempted_before_its_row_came_is_told_once(path: Path) -> None:
    at_once = event(2.0, 1, "lease", 4, "preempted")
    assert ends(path, at_once) == [(2.0, 4, "preempted")]
    path.unlink()
    assert ends(path, at_once, change(2.01, "lease", 4, {**LEASE, "granted_s": 2})) == [
        (2.0, 4, "preempted")
    ]


def test_the_memory_of_an_operation_is_granted_with_the_newest_of_its_name(path: Path) -> None:
    rows = (
        *begun(2.0, 1, 7),
        event(2.2, 2, "operation", 7, "ended"),
        *begun(2.5, 3, 8),
        change(2.51, "lease", 4, {**LEASE, "owner": "flash", "granted_s": 2}),
        event(3.5, 4, "operation", 8, "ended"),
    )
    strict = f'{QUIET}[limits]\nmemory_reserve = "60 %"\n'
    assert decisions_of(replayed(path, strict, *rows, *SAMPLES)) == [(2.5, "denied", 4, "memory")]


def test_an_operation_that_waits_for_memory_begins_when_it_began_or_never(path: Path) -> None:
    wants = {**WAITING, "id": 7, "memory_bytes": 50_000}
    waits = change(2.0, "operation", 7, wants)
    in_vain = (*begun(2.1, 1, 8, priority="high"), event(4, 2, "operation", 7, "ended"))
    assert ends(path, ONE_PLACE, waits, *in_vain) == []  # else 8 would preempt it
    path.unlink()
    active = {**wants, "state": "active", "remaining_s": 0.09}
    assert ends(
        path,
        waits,
        event(3.0, 1, "operation", 7, "began"),
        change(3.01, "operation", 7, active),
        event(3.1, 2, "operation", 7, "timed out"),
        event(3.1, 3, "operation", 7, "ended"),
    ) == [(3.1, 7, "timed out")]


def test_one_that_took_the_place_of_another_does_not_overtake_those_before_it(path: Path) -> None:
    # 7 waits; 9, of a higher priority, preempts 8 and is not seen to wait for its end.
    assert ends(
        path,
        ONE_PLACE,
        *begun(2.0, 1, 6),
        change(2.1, "operation", 7, {**WAITING, "id": 7}),
        *preempted(2.5, 2, 6),
        *begun(2.5, 4, 9, priority="high"),
        event(3.5, 5, "operation", 9, "ended"),
        *begun(3.5, 6, 7),
        event(4, 7, "operation", 7, "ended"),
    ) == [(2.5, 6, "preempted")]


def test_one_that_began_to_wait_later_is_not_taken_for_the_one_that_preempted(path: Path) -> None:
    # 8 preempted 6; 19 is requested when 11 and 12 have both places.
    assert ends(
        path,
        change(0, "limits", None, {**LIMITS, "max_operations": 2}),
        *begun(2.0, 1, 5, priority="high"),
        *begun(2.0, 2, 6),
        *preempted(2.2, 3, 6),
        *begun(2.2, 5, 8, priority="high"),
        event(2.25, 6, "operation", 5, "ended"),
        *begun(2.3, 7, 10),
        event(2.32, 8, "operation", 8, "ended"),
        *begun(2.35, 9, 11, priority="high"),
        event(2.4, 10, "operation", 10, "ended"),
        *begun(2.45, 11, 12, priority="high"),
        change(2.5, "operation", 19, {**WAITING, "id": 19, "priority": "high"}),
        event(3.0, 12, "operation", 19, "ended"),
    ) == [(2.2, 6, "preempted")]


def test_the_order_of_requests_is_that_of_their_ids_though_a_row_seems_to_come_early(
    path: Path,
) -> None:
    urgent = {**WAITING, "id": 9, "priority": "high"}
    assert ends(
        path,
        ONE_PLACE,
        *begun(2.02, 1, 8),
        change(2.01, "operation", 9, urgent),
        event(2.03, 2, "operation", 8, "preempted"),
        event(4.03, 3, "operation", 8, "overdue"),
        *begun(4.03, 4, 9, priority="high", remaining_s=0.5),
        event(4.2, 5, "operation", 9, "ended"),
        event(4.3, 6, "operation", 8, "ended"),
    ) == [(2.03, 8, "preempted"), (4.03, 8, "overdue")]


def test_an_operation_too_short_for_a_row_is_preempted_only_where_it_was(path: Path) -> None:
    two = change(0, "limits", None, {**LIMITS, "max_operations": 2})
    assert ends(
        path,
        two,
        *begun(2.0, 1, 6),
        event(2.1, 2, "operation", 7, "began"),
        *preempted(2.15, 3, 6),
        *begun(2.15, 5, 8, priority="high"),
        event(2.2, 6, "operation", 7, "ended"),
        event(2.5, 7, "operation", 8, "ended"),
    ) == [(2.15, 6, "preempted")]


def test_what_a_session_was_granted_is_granted_whatever_of_it_was_not_seen_to_end(
    path: Path,
) -> None:
    session = {"name": "s", "memory_bytes": 30_000, "storage_bytes": None, "operations": None}
    of_it = {**LEASE, "session": 1, "remaining_s": 0.5}
    assert ends(
        path,
        change(0, "session", 1, session),
        change(2.0, "lease", 4, of_it),  # it had ended when the next one was granted
        change(2.2, "lease", 5, of_it),
        event(2.7, 1, "lease", 5, "expired"),
        change(2.3, "lease", 4, None),
    ) == [(2.7, 5, "expired")]
