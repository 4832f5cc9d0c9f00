"""What is written: a board's boot, and rows about it, in the units of the host's models."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from boardwarden.grants import Event
from boardwarden.models import Identity, Status

Value = int | float | str | None


class Boot(NamedTuple):
    """One boot of one board, as `address` reached it; a span of the recording."""

    address: str
    unique_id: str | None
    boot_id: int | None
    machine: str | None
    firmware: str | None
    port: str | None
    reset_cause: str | None
    protocol: str | None


class Row(NamedTuple):
    """A row of a table of the recording; its values follow the span's id there."""

    boot: Boot
    table: str
    values: tuple[Value, ...]


# The columns of `sample` after span, uptime_ms and at, and where they are in a status.
FIGURES = {
    "total_bytes": ("memory", "total_bytes"),
    "used_bytes": ("memory", "used_bytes"),
    "available_bytes": ("memory", "available_bytes"),
    "live_bytes": ("memory", "live_bytes"),
    "largest_free_block_bytes": ("memory", "largest_free_block_bytes"),
    "cpu": ("cpu", "usage"),
    "loop_lag_s": ("cpu", "loop_lag_s"),
    "loop_lag_worst_s": ("cpu", "loop_lag_worst_s"),
    "tasks": ("cpu", "active_tasks"),
    "threads": ("cpu", "active_threads"),
    "connected": ("network", "connected"),
    "rssi_dbm": ("network", "rssi_dbm"),
    "sent_bytes": ("network", "sent_bytes"),
    "received_bytes": ("network", "received_bytes"),
    "overhead": ("overhead", "cpu"),
    "budget": ("overhead", "budget"),
    "link_bytes_per_s": ("overhead", "bytes_per_s"),
    "dropped_frames": ("overhead", "dropped_frames"),
    "bad_frames": ("overhead", "bad_frames"),
    "faults": ("overhead", "faults"),
    "interval_s": ("", "interval_s"),
    "wanted_interval_s": ("", "wanted_interval_s"),
}


def boot(address: str, board: Identity) -> Boot:
    """Return the boot that a status is of."""
    return Boot(
        address,
        board.unique_id,
        board.boot_id,
        board.machine,
        board.firmware,
        board.port,
        board.reset_cause,
        board.protocol,
    )


def sample(address: str, status: Status) -> Row | None:
    """Return a status' figures; None if there has been no sample yet."""
    uptime_s, updated = status.cpu.uptime_s, status.last_updated
    if uptime_s is None or updated is None:
        return None
    figures = (getattr(getattr(status, part, status), name) for part, name in FIGURES.values())
    values = (round(uptime_s * 1000), updated.timestamp(), *figures)
    return Row(boot(address, status.board), "sample", values)


def event(of: Boot, at: float, happened: Event) -> Row:
    """Return what happened, at about `at` by the host's clock."""
    number, kind, uptime_s, *rest = (getattr(happened, name) for name in _EVENT)
    return Row(of, "event", (number, at, kind, uptime_s, *rest))


def change(of: Boot, at: float, what: str, number: int | None, value: Any) -> Row:
    """Return that something told with changes is now `value`; None: it is gone."""
    text = None if value is None else json.dumps(value, ensure_ascii=False)
    return Row(of, "change", (at, what, number, text))


def link(of: Boot, at: float, state: str) -> Row:
    """Return that the link is now "up" or "lost", or the recording "stopped"."""
    return Row(of, "link", (at, state))


_EVENT = ("number", "kind", "uptime_s", "subject", "detail", "value", "missed")
