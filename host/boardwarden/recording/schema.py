"""The tables and rows of a recording, and opening its file.

Values are in the units of the host's models. The application id distinguishes a recording from
other SQLite files before anything is written to it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from boardwarden.errors import RecordingError
from boardwarden.grants import Event
from boardwarden.history import HistorySlot
from boardwarden.models import Identity, Status
from warden_schema import ids

Value = int | float | str | None
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
    "fragmentation": ("memory", "fragmentation"),
    "low_water_bytes": ("memory", "low_water_bytes"),
    "system_heap_free_bytes": ("system_heap", "free_bytes"),
    "system_heap_largest_free_block_bytes": ("system_heap", "largest_free_block_bytes"),
    "system_heap_low_water_bytes": ("system_heap", "low_water_bytes"),
}
# The metrics of the board's own history, as `history` names them, and as a HistorySlot does.
HISTORY = {
    "live_bytes": "memory",
    "cpu": "cpu",
    "loop_lag_s": "loop_lag",
    "storage_used_bytes": "storage",
}
HISTORY_FIGURES = tuple(f"{name}_{statistic}" for name in HISTORY for statistic in ids.STATISTICS)
APPLICATION_ID = 0x42776472  # "Bwdr"
VERSION = 1
LAST_AT = 95_617_584_000.0  # the year 5000: a picture has a margin, and ends with the year 9999
BUSY_S = 0.5  # that another program is waited for; a recorder then tries again, and buffers
TABLES = f"""
CREATE TABLE span(
    id INTEGER PRIMARY KEY, address TEXT NOT NULL, unique_id TEXT, boot_id INTEGER,
    machine TEXT, firmware TEXT, port TEXT, reset_cause TEXT, protocol TEXT, began REAL NOT NULL
);
CREATE TABLE sample(
    span INTEGER NOT NULL REFERENCES span, uptime_ms INTEGER NOT NULL, at REAL NOT NULL,
    {", ".join(FIGURES)},
    PRIMARY KEY (span, uptime_ms)
) WITHOUT ROWID;
CREATE TABLE event(
    span INTEGER NOT NULL REFERENCES span, number INTEGER NOT NULL, at REAL NOT NULL,
    kind TEXT NOT NULL, uptime_s REAL NOT NULL, subject, detail TEXT, value REAL,
    missed INTEGER NOT NULL,
    PRIMARY KEY (span, number)
) WITHOUT ROWID;
CREATE TABLE change(
    id INTEGER PRIMARY KEY, span INTEGER NOT NULL REFERENCES span, at REAL NOT NULL,
    what TEXT NOT NULL, number INTEGER, value TEXT
);
CREATE INDEX change_of ON change(span);
CREATE TABLE link(
    id INTEGER PRIMARY KEY, span INTEGER NOT NULL REFERENCES span, at REAL NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX link_of ON link(span);
"""
# Of these an older recording has none; they are made, all at once, when it is appended to.
LATER_TABLES = {
    "history": f"""
CREATE TABLE IF NOT EXISTS history(
    span INTEGER NOT NULL REFERENCES span, uptime_ms INTEGER NOT NULL, step_ms INTEGER NOT NULL,
    at REAL NOT NULL, {", ".join(HISTORY_FIGURES)},
    PRIMARY KEY (span, step_ms, uptime_ms)
) WITHOUT ROWID;""",
    "lost_events": """
CREATE TABLE IF NOT EXISTS lost_events(
    span INTEGER NOT NULL REFERENCES span, number INTEGER NOT NULL, at REAL NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (span, number)
) WITHOUT ROWID;""",
}


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


# Of each table, as they are written; those in WITH_ID have an `id` besides.
COLUMNS = {
    "span": (*Boot._fields, "began"),
    "sample": ("span", "uptime_ms", "at", *FIGURES),
    "event": ("span", "number", "at", "kind", "uptime_s", "subject", "detail", "value", "missed"),
    "change": ("span", "at", "what", "number", "value"),
    "link": ("span", "at", "state"),
    "history": ("span", "uptime_ms", "step_ms", "at", *HISTORY_FIGURES),
    "lost_events": ("span", "number", "at", "count"),
}
WITH_ID = ("span", "change", "link")


class Row(NamedTuple):
    """A row of a table of the recording; its values follow the span's id there."""

    boot: Boot
    table: str
    values: tuple[Value, ...]


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
    """Return the row of a sample; None if there has been none yet."""
    uptime_s, updated = status.cpu.uptime_s, status.last_updated
    if uptime_s is None or updated is None:
        return None
    figures = (
        getattr(getattr(status, part, status), name, None) for part, name in FIGURES.values()
    )
    values = (round(uptime_s * 1000), updated.timestamp(), *figures)
    return Row(boot(address, status.board), "sample", values)


def event(of: Boot, at: float, happened: Event) -> Row:
    """Return the row of an event, at about `at` by the host's clock."""
    found = (happened.subject, happened.detail, happened.value, happened.missed)
    return Row(of, "event", (happened.number, at, happened.kind, happened.uptime_s, *found))


def history(of: Boot, at: float, slot: HistorySlot) -> Row:
    """Return the row of a slot of the board's own history, which began at about `at`."""
    figures = (
        getattr(getattr(slot, metric), statistic)
        for metric in HISTORY.values()
        for statistic in ids.STATISTICS
    )
    times = (round(slot.begin_s * 1000), round(slot.step_s * 1000), at)
    return Row(of, "history", (*times, *figures))


def lost_events(of: Boot, at: float, number: int, count: int) -> Row:
    """Return the row of events, from a number on, that were lost before one that was at `at`."""
    return Row(of, "lost_events", (number, at, count))


def change(of: Boot, at: float, what: str, number: int | None, value: Any) -> Row:
    """Return a row that says `what` is now `value`; None: it is gone."""
    text = None if value is None else json.dumps(value, ensure_ascii=False)
    return Row(of, "change", (at, what, number, text))


def link(of: Boot, at: float, state: str) -> Row:
    """Return a row that says the link is "up" or "lost", or the recording "stopped"."""
    return Row(of, "link", (at, state))


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a file in a mode of SQLite's URIs, by which any one thread at a time may use it."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


def prepare(database: sqlite3.Connection, path: Path) -> None:
    """Make the tables in a file that is new; raise RecordingError if it is something else's."""
    if _is_empty(database):
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
            f"{TABLES} COMMIT;"
        )
    else:
        check(database, path)
        database.execute("PRAGMA journal_mode = WAL")
    database.executescript(f"BEGIN; {''.join(LATER_TABLES.values())} COMMIT;")


def check(database: sqlite3.Connection, path: Path) -> None:
    """Raise RecordingError if the file is no recording, or one of a later version."""
    if database.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise RecordingError(f"{path} is not a recording of boardwarden.")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise RecordingError(
            f"{path} was recorded by a later boardwarden; pip install --upgrade boardwarden."
        )


def _is_empty(database: sqlite3.Connection) -> bool:
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (owner,) = database.execute("PRAGMA application_id").fetchone()
    return not tables and owner in (0, APPLICATION_ID)


class Locked(RecordingError):
    """Another program has locked the file; it may be tried again."""


def explained(error: sqlite3.Error, path: Path, doing: str) -> RecordingError:
    """Return the error for one of SQLite's while `doing`, "read" or "written"."""
    if isinstance(error, sqlite3.DatabaseError) and type(error) is sqlite3.DatabaseError:
        return RecordingError(f"{path} is damaged, or no recording of boardwarden ({error}).")
    # Before Python 3.11 only the text tells.
    name = getattr(error, "sqlite_errorname", None) or str(error).upper()
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "DATABASE IS LOCKED")):
        return Locked(f"{path} is locked by another program.")
    mode = os.R_OK if doing == "read" else os.R_OK | os.W_OK
    denied = path.exists() and not os.access(path, mode)  # SQLite only says that it cannot
    return RecordingError(f"{path} cannot be {doing}: {'permission denied' if denied else error}.")
