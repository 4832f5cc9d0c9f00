"""Recordings made row by row, and what a replay of them finds."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from boardwarden import policy_file
from boardwarden.grants import Event
from boardwarden.models import Identity
from boardwarden.recording import schema
from boardwarden.recording.reading import Recording
from boardwarden.recording.schema import FIGURES, Boot, Row
from boardwarden.recording.store import Store
from boardwarden.replaying.replay import Replayed, replay

NOON = datetime(2024, 5, 31, 12, tzinfo=timezone.utc).timestamp()
BOOT = schema.boot("sim", Identity(boot_id=1))
CALM = {"total_bytes": 100_000, "available_bytes": 60_000, "live_bytes": 30_000, "interval_s": 1.0}
QUIET = '[[threshold]]\nmetric = "memory"\noff = true\n'  # the board's own protection
LEASE = {
    "resource": "memory",
    "amount": 20_000,
    "owner": "ota",
    "priority": "normal",
    "session": None,
    "committed": False,
    "mount": None,
    "remaining_s": 60.0,
}
OPERATION = {
    "name": "flash",
    "priority": "normal",
    "state": "active",
    "session": None,
    "remaining_s": 300.0,
}
LIMITS = {
    "max_operations": 4,
    "operation_timeout_s": 300.0,
    "memory_reserve": 0.1,
    "overrun_s": 5.0,
}


def sample(second: float, of: Boot = BOOT, **figures: float | None) -> Row:
    values: dict[str, Any] = {**CALM, **figures}
    got = tuple(values.get(name) for name in FIGURES)
    return Row(of, "sample", (round(second * 1000), NOON + second, *got))


def change(second: float, what: str, number: int | None, value: Any) -> Row:
    return schema.change(BOOT, NOON + second, what, number, value)


def replayed(path: Path, policy: str, *given: Row, **options: Any) -> Replayed:
    store = Store(path, clock=lambda: NOON)
    store.open()
    store.write(given)
    store.close()
    with Recording(path) as recording:
        return replay(recording, policy_file.loads(policy), **options)


def decisions_of(found: Replayed) -> list[tuple[float, str, object, str | None]]:
    events = [decision.event for decision in found.decisions]
    return [(event.uptime_s, event.kind, event.subject, event.detail) for event in events]


def event(second: float, number: int, kind: str, subject: int | str, detail: str | None) -> Row:
    return schema.event(BOOT, NOON + second, Event(number, kind, second, subject, detail))
