"""Reads a recording: its spans and what each contains. Never waits for the recorder."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from boardwarden._paths import absence
from boardwarden.errors import RecordingError
from boardwarden.grants import Event
from boardwarden.history import HistorySlot, Statistics
from boardwarden.models import Model
from warden_schema import ids

from .schema import (
    COLUMNS,
    FIGURES,
    HISTORY,
    HISTORY_FIGURES,
    LAST_AT,
    LATER_TABLES,
    WITH_ID,
    check,
    connect,
    explained,
)

_SPANS = """
SELECT {columns},
    max(s.began, coalesce((SELECT max(at) FROM sample WHERE span = s.id), 0),
        coalesce((SELECT max(at) FROM link WHERE span = s.id), 0),
        coalesce((SELECT max(at) FROM event WHERE span = s.id), 0)),
    (SELECT count(*) FROM sample WHERE span = s.id),
    (SELECT count(*) FROM event WHERE span = s.id), {later}
FROM span AS s ORDER BY s.began, s.id
"""
_LATER = """
    (SELECT coalesce(sum(count), 0) FROM lost_events WHERE span = s.id),
    (SELECT count(*) FROM history WHERE span = s.id)
"""
_FOREVER = (float("-inf"), float("inf"))
_MAX = 2**63  # of a figure, in size: a picture of more has no scale
# What the rows of a change may have that is drawn: a name, and figures.
_ROWS = {"storage": ("mount", "usage"), "thresholds": ("metric", "warn", "critical")}
Window = tuple[float, float]  # from, to: seconds since the epoch


@dataclass(frozen=True)
class Span(Model):
    """What is recorded of one boot of a board; times are seconds since the epoch."""

    id: int = 0
    address: str = ""
    unique_id: str | None = None
    boot_id: int | None = None
    machine: str | None = None
    firmware: str | None = None
    port: str | None = None
    reset_cause: str | None = None
    protocol: str | None = None
    began: float = 0.0
    ended: float = 0.0
    samples: int = 0
    events: int = 0
    lost_events: int = 0
    history_slots: int = 0


class Sample(NamedTuple):
    """Figures at a moment, in the order of `columns`."""

    at: float
    uptime_s: float
    figures: tuple[Any, ...]


class Happened(NamedTuple):
    """An event, and when it was by the host's clock."""

    at: float
    event: Event


class Remembered(NamedTuple):
    """A slot of the board's own history, and when it began by the host's clock."""

    at: float
    slot: HistorySlot


class LostEvents(NamedTuple):
    """The numbers of events that were lost, from `first` on, before one that was at `at`."""

    at: float
    first: int
    number: int


class Change(NamedTuple):
    """A change: `what` (its row `number`) is `value` from then on; None: it is gone."""

    at: float
    what: str
    number: int | None
    value: Any


class LinkChange(NamedTuple):
    """A change of the link: "up", "lost", or the recording "stopped"."""

    at: float
    state: str


class Recording:
    """The file at `path`, to be read; a context manager. Raises RecordingError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if problem := absence(path, "recording"):
            raise RecordingError(problem)
        self._database: sqlite3.Connection | None = None
        with self._explained():
            self._database = connect(path, "mode=ro")
            check(self._database, path)
            self._later = self._check_tables()
            # One view of a file that may grow meanwhile.
            self._database.execute("BEGIN")

    def _check_tables(self) -> bool:
        """Raise RecordingError unless each table is one, with its columns: a view may never end.

        Returns whether there are those that an older recording does not have.
        """
        sql = (
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name = ?"
        )
        names = {name for (name,) in self._rows("SELECT name FROM sqlite_master")}
        later = not names.isdisjoint(LATER_TABLES)
        for table, columns in COLUMNS.items():
            if table in LATER_TABLES and not later:
                continue
            found = {row[1] for row in self._rows(f"PRAGMA table_xinfo({table})") if not row[6]}
            wanted = ("id", *columns) if table in WITH_ID else columns
            if list(self._rows(sql, table)) != [(1,)] or not found.issuperset(wanted):
                raise self._damaged(f"its table {table} is not as recorded")
        return later

    def _damaged(self, what: str) -> RecordingError:
        return RecordingError(f"{self.path} is damaged ({what}).")

    def _check(self, sound: bool, what: str) -> None:
        if not sound:
            raise self._damaged(f"{what} that makes no sense")

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def spans(self, addresses: Sequence[str] = ()) -> list[Span]:
        """Return the spans, in the order they began; of these boards only, if any are named.

        A board is named by its address or its unique id.
        """
        columns = ", ".join(f"s.{name}" for name in ("id", *COLUMNS["span"]))
        sql = _SPANS.format(columns=columns, later=_LATER if self._later else "0, 0")
        found = [Span(*row) for row in self._rows(sql)]
        for span in found:
            texts = (span.unique_id, span.machine, span.firmware, span.port, span.reset_cause)
            sound = all(isinstance(text, (str, NoneType)) for text in (*texts, span.protocol))
            sound = sound and isinstance(span.address, str) and _is_int_or_none(span.boot_id)
            self._check(sound and _is_time(span.began) and _is_time(span.ended), "a boot")
        for address in addresses:
            if not any(address in (span.address, span.unique_id) for span in found):
                known = ", ".join(sorted({span.address for span in found})) or "none"
                raise RecordingError(
                    f"There is no board {address} in {self.path}; there are: {known}."
                )
        return [
            span
            for span in found
            if not addresses or span.address in addresses or span.unique_id in addresses
        ]

    def window(
        self,
        since: float | None,
        until: float | None,
        last_s: float | None,
        addresses: Sequence[str] = (),
    ) -> Window:
        """Return the window from `since`, or of `last_s` seconds, up to `until` or the end."""
        if last_s is not None:
            if until is None:
                until = max((span.ended for span in self.spans(addresses)), default=0.0)
            since = until - last_s
        begin, end = _FOREVER
        return (begin if since is None else since, end if until is None else until)

    def samples(
        self, span: Span, columns: Sequence[str] = tuple(FIGURES), window: Window = _FOREVER
    ) -> Iterator[Sample]:
        """Yield the samples of a span in a window of time, oldest first."""
        names = "".join(f", {name}" for name in columns)
        sql = f"SELECT at, uptime_ms{names} FROM sample WHERE span = ? AND at BETWEEN ? AND ?"
        for at, uptime_ms, *figures in self._rows(sql + " ORDER BY uptime_ms", span.id, *window):
            sound = _is_time(at) and _is_number(uptime_ms) and all(map(_is_number_or_none, figures))
            self._check(sound, "a sample")
            yield Sample(at, uptime_ms / 1000, tuple(figures))

    def events(self, span: Span, window: Window = _FOREVER) -> Iterator[Happened]:
        """Yield the events of a span in a window of time, in their order."""
        sql = (
            "SELECT at, number, kind, uptime_s, subject, detail, value, missed FROM event "
            "WHERE span = ? AND at BETWEEN ? AND ? ORDER BY number"
        )
        for at, *fields in self._rows(sql, span.id, *window):
            number, kind, uptime_s, subject, detail, value, missed = fields
            sound = _is_time(at) and _is_number(number) and isinstance(kind, str)
            sound = sound and _is_number(uptime_s) and _is_number(missed)
            sound = sound and isinstance(subject, (int, str, NoneType))
            sound = sound and isinstance(detail, (str, NoneType)) and _is_number_or_none(value)
            self._check(sound, "an event")
            yield Happened(at, Event(*fields))

    def history(self, span: Span, window: Window = _FOREVER) -> Iterator[Remembered]:
        """Yield what the board remembered of times without samples, by when it began."""
        sql = (
            f"SELECT at, uptime_ms, step_ms, {', '.join(HISTORY_FIGURES)} FROM history "
            "WHERE span = ? AND at BETWEEN ? AND ? ORDER BY uptime_ms, step_ms"
        )
        for at, uptime_ms, step_ms, *figures in self._later_rows(sql, span.id, *window):
            sound = _is_time(at) and _is_number(uptime_ms) and _is_number(step_ms)
            sound = sound and step_ms > 0 and all(map(_is_number_or_none, figures))
            self._check(sound, "a slot of a history")
            each = len(ids.STATISTICS)
            known = [Statistics(*figures[i : i + each]) for i in range(0, len(figures), each)]
            metrics = dict(zip(HISTORY.values(), known, strict=True))
            yield Remembered(at, HistorySlot(uptime_ms / 1000, step_ms / 1000, **metrics))

    def lost_events(self, span: Span, window: Window = _FOREVER) -> Iterator[LostEvents]:
        """Yield which events of a span were lost, in their order."""
        sql = (
            "SELECT at, number, count FROM lost_events "
            "WHERE span = ? AND at BETWEEN ? AND ? ORDER BY number"
        )
        for at, number, count in self._later_rows(sql, span.id, *window):
            sound = _is_time(at) and _is_number(number) and _is_number(count) and count > 0
            self._check(sound, "lost events")
            yield LostEvents(at, number, count)

    def changes(self, span: Span) -> Iterator[Change]:
        """Yield the changes of a span, in their order."""
        sql = "SELECT at, what, number, value FROM change WHERE span = ? ORDER BY id"
        for at, what, number, value in self._rows(sql, span.id):
            self._check(_is_time(at) and _is_int_or_none(number), "a change")
            with self._explained():
                found = None if value is None else json.loads(value)
            self._check(_is_sound(what, found), f"a change of {what}")
            yield Change(at, what, number, found)

    def links(self, span: Span) -> Iterator[LinkChange]:
        """Yield when the link of a span was lost and found, in their order."""
        sql = "SELECT at, state FROM link WHERE span = ? ORDER BY id"
        for at, state in self._rows(sql, span.id):
            self._check(_is_time(at), "a link")
            yield LinkChange(at, state)

    def _rows(self, sql: str, *values: object) -> Iterator[tuple[Any, ...]]:
        if self._database is None:
            raise RecordingError(f"{self.path} is closed.")
        with self._explained():
            yield from self._database.execute(sql, values)

    def _later_rows(self, sql: str, *values: object) -> Iterator[tuple[Any, ...]]:
        return self._rows(sql, *values) if self._later else iter(())

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self.close()
            raise explained(error, self.path, "read") from None
        except (ValueError, TypeError, RecursionError, OverflowError) as error:  # json, too
            raise self._damaged(str(error)) from None


# --- whether what a file says makes sense ---------------------------------------------------------


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and -_MAX <= value <= _MAX


def _is_number_or_none(value: object) -> bool:
    return value is None or _is_number(value)


def _is_int_or_none(value: object) -> bool:
    return isinstance(value, (int, NoneType))


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < LAST_AT


def _is_sound(what: Any, value: Any) -> bool:
    """Return whether the value of a change has the shape that is recorded."""
    if what not in _ROWS:
        return isinstance(what, str) and isinstance(value, (dict, list, NoneType))
    name, *figures = _ROWS[what]
    return isinstance(value, list) and all(
        isinstance(row, dict)
        and isinstance(row.get(name), (str, NoneType))
        and all(_is_number_or_none(row.get(key)) for key in figures)
        for row in value
    )
