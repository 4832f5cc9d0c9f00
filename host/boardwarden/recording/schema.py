"""The tables of a recording, and opening the file that has them.

The application id tells a recording from other SQLite files before anything is written to it.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from .errors import RecordingError
from .rows import FIGURES

APPLICATION_ID = 0x42776472  # "Bwdr"
VERSION = 1
BUSY_S = 5.0  # that a reader or a checkpoint of another program is waited for

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


def explained(error: sqlite3.Error, path: Path, doing: str) -> RecordingError:
    """Return what to tell of an error of SQLite's while `doing`, "read" or "written"."""
    if isinstance(error, sqlite3.DatabaseError) and type(error) is sqlite3.DatabaseError:
        return RecordingError(f"{path} is damaged, or no recording of boardwarden ({error}).")
    mode = os.R_OK if doing == "read" else os.R_OK | os.W_OK
    denied = path.exists() and not os.access(path, mode)  # SQLite only says that it cannot
    return RecordingError(f"{path} cannot be {doing}: {'Permission denied' if denied else error}.")
