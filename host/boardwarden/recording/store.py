"""Writes a recording, rotates its files, and keeps a second recorder from them.

The journal is a write-ahead log, so that who reads never waits for who writes, nor is waited for.
A commit there survives `kill -9` whatever `synchronous` is, since the system has the bytes.
`synchronous = FULL` makes it survive a power cut, too, for one fsync a commit; the recorder commits
twice a second at most, which is little for any disk. NORMAL would save that fsync and lose, with
the power, all since the last checkpoint: minutes, at a few rows a second.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from boardwarden._clock import steady_time
from boardwarden._paths import absence, reason
from boardwarden._protocol.messages import MAX_INT
from boardwarden.errors import RecordingError
from boardwarden.history import is_gap

from .schema import (
    APPLICATION_ID,
    BUSY_S,
    COLUMNS,
    LAST_AT,
    Boot,
    Locked,
    Row,
    connect,
    explained,
    prepare,
)

try:
    import fcntl
except ImportError:  # Windows: SQLite keeps the file whole, and there is no error
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
_REMEMBERED_S = 86_400.0  # by a board: 24 hours
_INSERT = {
    table: f"INSERT {'' if table == 'span' else 'OR IGNORE'} INTO {table}({', '.join(columns)}) "
    f"VALUES ({', '.join('?' * len(columns))})"
    for table, columns in COLUMNS.items()
}


class Recorded(NamedTuple):
    """Up to which uptime, and which event, a boot was in the file as it was opened; None: none.

    gap: the last two uptimes between which samples are missing, and what the board has of them.
    """

    uptime_s: float | None = None
    event: int | None = None
    gap: tuple[float, float] | None = None


_RECORDED = """
SELECT id, address, unique_id, boot_id,
    (SELECT max(uptime_ms) FROM sample WHERE span = s.id AND typeof(uptime_ms) = 'integer')
        / 1000.0,
    (SELECT max(number) FROM event WHERE span = s.id AND typeof(number) = 'integer')
FROM span AS s
"""  # a column of SQLite's may have any type
_SAMPLES = """
SELECT uptime_ms / 1000.0, interval_s FROM sample
WHERE span = ? AND uptime_ms > ? AND typeof(uptime_ms) = 'integer'
    AND typeof(interval_s) IN ('integer', 'real')
ORDER BY uptime_ms DESC
"""
_HISTORY = "SELECT 1 FROM history WHERE span = ? AND uptime_ms < ? AND uptime_ms + step_ms > ?"


class Rotation(NamedTuple):
    """When a file is put aside for a new one, and how many of those stay; None: never, all."""

    size_bytes: int | None = None
    age_s: float | None = None
    keep: int | None = None


NEVER = Rotation()


class Store:
    """The recording at `path`, from open() to close(); one thread at a time.

    Raises RecordingError where the file cannot be written; what was committed stays. `put_aside` is
    where open() put a damaged recording that it found there. `removals` counts how often somebody
    removed or replaced the file, and a new one was begun.
    """

    def __init__(
        self,
        path: Path,
        rotation: Rotation = NEVER,
        clock: Callable[[], float] = steady_time,
    ) -> None:
        self.path = path
        self.rotations = self.removals = 0
        self.put_aside: Path | None = None
        self.written = dict.fromkeys(COLUMNS, 0)  # rows that were new
        self._rotation = rotation
        self._clock = clock
        self._written_at: float | None = None
        self._lock: FileLock | None = None
        self._is_new = False
        self._id: tuple[int, int] | None = None  # of the file that is open
        self._must_reopen = False  # it was removed, and what is there now was locked
        self._database: sqlite3.Connection | None = None
        self._spans: dict[Boot, int] = {}
        self._recorded: dict[tuple[str, str | None, int | None], Recorded] = {}
        self._began: float | None = None  # the file's first span

    def open(self) -> None:
        """Open the file, or make it; a damaged recording is put aside, and a new one begun."""
        if problem := absence(self.path.parent, "folder"):
            raise RecordingError(problem)
        self._lock = FileLock(self.path)
        self._is_new = not self.path.exists()
        try:
            if not self._is_new and self._is_damaged():
                self._put_aside()
            self._open()
            for whose, recorded in self._guarded(_read_recorded):
                event = recorded.event
                if event is not None and not -MAX_INT <= event <= MAX_INT:
                    raise self._damaged("an event that makes no sense")
                self._recorded[whose] = recorded
        except BaseException:
            self.close()
            raise

    def recorded(self, boot: Boot) -> Recorded:
        """Return what of a boot was in the file already as open() found it."""
        return self._recorded.get((boot.address, boot.unique_id, boot.boot_id), Recorded())

    def write(self, rows: Iterable[Row]) -> None:
        """Write rows in one commit: all or none; rotate if it is time."""
        if self._must_reopen or (self._database and file_id(self.path) != self._id):
            self._begin_anew()
        try:
            self._guarded(lambda database: self._write(database, list(rows)))
        except Locked:
            raise
        except RecordingError as error:
            raise RecordingError(f"{error}{self._what_is_in_it()}") from None
        self._written_at = self._clock()
        if self._is_time_to_rotate():
            self._rotate()

    def close(self) -> None:
        """Close the file; may be called twice, never raises: what could be written is.

        One that was made for nothing, as no board was there, is taken away.
        """
        self._must_reopen = False
        database, self._database = self._database, None
        if database is not None:
            _made_one_file(database)
            with contextlib.suppress(sqlite3.Error):
                database.close()
            unused = self._is_new and self._began is None and not self.rotations
            if unused and file_id(self.path) == self._id:
                with contextlib.suppress(OSError):
                    self.path.unlink()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def size_bytes(self) -> int:
        """How large the file and its log are."""
        size = 0
        for file in (self.path, self._beside("-wal")):
            with contextlib.suppress(OSError):  # there is none
                size += file.stat().st_size
        return size

    # --- inside ---------------------------------------------------------------------------------

    def _open(self) -> None:
        def begin() -> None:
            self._database = connect(self.path, "mode=rwc")
            prepare(self._database, self.path)
            self._database.execute("PRAGMA synchronous = FULL")
            sql = f"SELECT min(began) FROM span WHERE began BETWEEN 0 AND {LAST_AT}"
            (self._began,) = self._database.execute(sql).fetchone()

        self._spans = {}
        self._attempt(begin)
        self._id = file_id(self.path)

    def _is_damaged(self) -> bool:
        """Return whether the file is a recording that SQLite finds damaged."""
        database = self._attempt(lambda: connect(self.path, "mode=rw"))
        owner = 0
        try:
            owner = database.execute("PRAGMA application_id").fetchone()[0]
            if owner != APPLICATION_ID:
                return False  # something else's: it is refused, and stays as it is
            return bool(database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        except UnicodeDecodeError:  # SQLite quotes a damaged schema, also in its errors
            return bool(owner == APPLICATION_ID)
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:
                return bool(owner == APPLICATION_ID)
            raise explained(error, self.path, "written") from None
        finally:
            database.close()

    def _put_aside(self) -> None:
        """Give a damaged file, and its log, a name that says so."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        self.put_aside = self._free_name(f"damaged-{moment}")
        try:
            for end in ("-wal", "-shm", ""):
                if self._beside(end).exists():
                    self._beside(end).rename(self.put_aside.with_name(self.put_aside.name + end))
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be put aside: {reason(error)}.") from None
        self._is_new = True

    def _attempt(self, step: Callable[[], T]) -> T:
        try:
            return step()
        except sqlite3.Error as error:
            raise explained(error, self.path, "written") from None
        except UnicodeDecodeError as error:
            raise self._damaged(error) from None

    def _damaged(self, what: object) -> RecordingError:
        return RecordingError(f"{self.path} is damaged ({what}).")

    def _guarded(self, step: Callable[[sqlite3.Connection], T]) -> T:
        database = self._database
        if database is None:
            raise RecordingError(f"{self.path} is closed.")
        return self._attempt(lambda: step(database))

    def _write(self, database: sqlite3.Connection, rows: list[Row]) -> None:
        known = dict(self._spans)
        counts = dict.fromkeys(COLUMNS, 0)
        database.execute("BEGIN IMMEDIATE")
        try:
            for boot, table, values in rows:
                if boot not in known:
                    known[boot] = self._span(database, boot)
                row = (known[boot], *values)
                counts[table] += database.execute(_INSERT[table], row).rowcount
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:  # a full disk has ended it already
                database.execute("ROLLBACK")
            raise
        self._spans = known
        for table, count in counts.items():
            self.written[table] += count

    def _span(self, database: sqlite3.Connection, boot: Boot) -> int:
        """Return the span of a boot, which may be in the file from before."""
        same = "address = ? AND unique_id IS ? AND boot_id IS ?"
        found = database.execute(f"SELECT id FROM span WHERE {same}", boot[:3]).fetchone()
        if found is not None:
            if type(found[0]) is not int:  # its table has lost its key
                raise self._damaged("a boot that makes no sense")
            return found[0]
        now = self._clock()
        self._began = now if self._began is None else self._began
        made = database.execute(_INSERT["span"], (*boot, now))
        assert made.lastrowid is not None
        return made.lastrowid

    def _what_is_in_it(self) -> str:
        if self._written_at is None:
            return ""
        until = time.strftime("%H:%M:%S", time.localtime(self._written_at))
        return f" What came until {until} is in it."

    # --- a file that somebody removed -----------------------------------------------------------

    def _begin_anew(self) -> None:
        """Open what has the name now: what is written to a removed file is lost with it."""
        self.close()
        try:
            self.open()
        except Locked:
            self._must_reopen = True
            raise
        self.removals += 1

    # --- rotation -------------------------------------------------------------------------------

    def _is_time_to_rotate(self) -> bool:
        size, age, _ = self._rotation
        if self._began is None:
            return False  # there is nothing in it
        if age is not None and self._clock() - self._began >= age:
            return True
        return size is not None and self._content_bytes() >= size

    def _content_bytes(self) -> int:
        """Return how large the file is once the log is in it; the log alone is larger than that."""
        (pages,) = self._guarded(lambda database: database.execute("PRAGMA page_count").fetchone())
        (each,) = self._guarded(lambda database: database.execute("PRAGMA page_size").fetchone())
        return int(pages * each)

    def _rotate(self) -> None:
        """Put the file aside; wait with it while somebody reads it."""
        if self._database is None or not _made_one_file(self._database):
            return
        self._database.close()
        self._database = None
        try:
            self.path.rename(self._aside())
            self._drop_oldest()
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be put aside: {reason(error)}.") from None
        self._open()
        self.rotations += 1

    def _aside(self) -> Path:
        """Return a name after those that are there, also where the clock was set back meanwhile.

        By their names the oldest are dropped.
        """
        began = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._began))
        for moment, number, _ in _rotated(self.path)[-1:]:
            if moment >= began:
                return self._free_name(moment, number + 1)
        return self._free_name(began)

    def _free_name(self, middle: str, number: int = 0) -> Path:
        while True:
            more = f"-{number}" if number else ""
            aside = self.path.with_name(f"{self.path.stem}.{middle}{more}{self.path.suffix}")
            if not aside.exists():
                return aside
            number += 1

    def _drop_oldest(self) -> None:
        keep = self._rotation.keep
        if keep is None:
            return
        for file in rotated(self.path)[:-keep]:
            file.unlink()

    def _beside(self, end: str) -> Path:
        return self.path.with_name(self.path.name + end)


def _read_recorded(
    database: sqlite3.Connection,
) -> list[tuple[tuple[str, str | None, int | None], Recorded]]:
    spans = database.execute(_RECORDED).fetchall()
    newest = {(address, unique_id): number for number, address, unique_id, *_ in sorted(spans)}
    found = []
    for number, address, unique_id, boot_id, uptime_s, event in spans:
        gap = None
        if uptime_s is not None and newest[address, unique_id] == number:  # it may go on
            gap = _unread_gap(database, number, uptime_s)
        found.append(((address, unique_id, boot_id), Recorded(uptime_s, event, gap)))
    return found


def _unread_gap(
    database: sqlite3.Connection, span: int, uptime_s: float
) -> tuple[float, float] | None:
    """Return the last gap of a boot, of which its board may still know; None where it was read.

    It was not where the recording ended before all of it had come.
    """
    oldest_ms = (uptime_s - _REMEMBERED_S) * 1000
    after_s, after_interval_s = uptime_s, 0.0
    for begin_s, interval_s in database.execute(_SAMPLES, (span, oldest_ms)):
        if interval_s and is_gap(after_s - begin_s, max(interval_s, after_interval_s)):
            times = (span, after_s * 1000, begin_s * 1000)
            was_read = database.execute(_HISTORY, times).fetchone() is not None
            return None if was_read else (begin_s, after_s)
        after_s, after_interval_s = begin_s, interval_s
    return None


def _made_one_file(database: sqlite3.Connection) -> bool:
    """Put the log into the file, which needs no other then; False while somebody reads it.

    False, too, where there is no room to: the log beside the file keeps what is in it.
    """
    try:
        database.execute("PRAGMA busy_timeout = 0")
        (mode,) = database.execute("PRAGMA journal_mode = DELETE").fetchone()
        database.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")
    except (sqlite3.Error, UnicodeDecodeError):  # the text of an error may quote a damaged schema
        return False
    return bool(mode == "delete")


def rotated(path: Path) -> list[Path]:
    """Return the files that were put aside for a recording, oldest first."""
    return [file for *_, file in _rotated(path)]


def _rotated(path: Path) -> list[tuple[str, int, Path]]:
    """Return the moment and number in the name of each file that was put aside, and the file."""
    moment = r"\.(\d{8}T\d{6}Z)(?:-(\d+))?"
    name = re.compile(re.escape(path.stem) + moment + re.escape(path.suffix))
    found = [(name.fullmatch(file.name), file) for file in path.parent.iterdir()]
    return sorted((match[1], int(match[2] or 0), file) for match, file in found if match)


# --- the lock -------------------------------------------------------------------------------------


class FileLock:
    """Holds `FILE-lock` until release(); the system lets go of it if the process is killed.

    Not the recording itself: a second open() and close() of that would drop SQLite's own locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-lock")
        self._file: int | None = None
        if fcntl is None:
            return
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close()
            raise RecordingError(f"Another boardwarden is recording to {path}.") from None
        except OSError as error:
            self._close()
            raise RecordingError(f"{path} cannot be written: {reason(error)}.") from None

    def release(self) -> None:
        """Release the lock."""
        if self._file is not None:
            if file_id(self._path) == file_id(self._file):  # else it is another recorder's
                self._path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def file_id(file: Path | int) -> tuple[int, int] | None:
    """Return what tells a file from others, of its name or descriptor; None if it is not there."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
