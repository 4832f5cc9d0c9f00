"""Files that were damaged, or made to do harm: each ends in a sentence, within seconds."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import campaign
import pytest

from boardwarden import plot_data, policy_file
from boardwarden.board import Board
from boardwarden.crashes import Frame
from boardwarden.errors import PolicyError, RecordingError
from boardwarden.grants import Event
from boardwarden.history import HistorySlot, Statistics
from boardwarden.models import Identity
from boardwarden.policy import Policy
from boardwarden.recording import schema
from boardwarden.recording.reading import Recording
from boardwarden.recording.recorder import Follower
from boardwarden.recording.schema import FIGURES
from boardwarden.recording.store import Store
from boardwarden.render import tables
from boardwarden.replaying.replay import replay
from boardwarden.testing import FakeBoard, FakeTransport

_NASTY = (None, "text", b"\x00", 2**63 - 1, 1e308, "[" * 5000, '["x"]')
_WRONG = (None, "text", -1, 2**70, [], {}, True)
_LEASE = {
    "id": 1,
    "resource": "memory",
    "amount": 100,
    "owner": "a",
    "priority": "normal",
    "session": None,
    "granted_s": 1,
    "committed": False,
    "mount": None,
    "remaining_s": 5.0,
}
_STORAGE = {"mount": "/", "total_bytes": 9, "used_bytes": 5, "available_bytes": 4, "usage": 0.5}
_MEMORY = {"metric": "memory", "warn": 0.7, "critical": 0.8, "clear": 0.6, "hold_s": 0, "action": 1}


def _boot() -> schema.Boot:
    return schema.boot("fake", Identity(machine="a fake", boot_id=1))


def _event(number: int) -> Event:
    return Event(number, "threshold", 2.0, "memory", "warn", 0.8, boot_id=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a recording with something in each table."""
    path = tmp_path / "a.db"
    boot = _boot()
    figures = [1000 if name.endswith("bytes") else 0.5 for name in FIGURES]
    store = Store(path)
    store.open()
    store.write(
        [
            *(
                schema.Row(boot, "sample", (at * 1000, 1000.0 + at, *figures))
                for at in (0, 1, 2, 3, 90)
            ),
            schema.event(boot, 1002.0, _event(0)),
            schema.lost_events(boot, 1002.0, 1, 2),
            schema.history(boot, 1020.0, HistorySlot(20.0, 60.0, *[Statistics(1.0, 2.0, 3.0)] * 4)),
            schema.change(boot, 1000.5, "storage", None, [_STORAGE]),
            schema.change(boot, 1000.5, "limits", None, {"max_operations": 4}),
            schema.change(boot, 1000.5, "thresholds", None, [_MEMORY]),
            schema.change(boot, 1001.0, "lease", 1, _LEASE),
            schema.link(boot, 1000.0, "up"),
        ]
    )
    store.close()
    return path


@contextlib.contextmanager
def _changed(path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path)
    with database:
        yield database
    database.close()


def _read_all(path: Path) -> None:
    """Do what `record`, its --list, `plot` and `replay` do with a file; RecordingError is fine."""
    with contextlib.suppress(RecordingError):
        _append(path)
    for use in (_listed, plot_data.read, lambda recording: replay(recording, Policy())):
        with contextlib.suppress(RecordingError), Recording(path) as recording:
            use(recording)


def _append(path: Path) -> None:
    """Record the board's next event into the file; there is one, whatever is in it."""
    store = Store(path)
    try:
        store.open()
        rows: list[schema.Row] = []
        board = Board(FakeTransport(FakeBoard()))
        follower = Follower("fake", board, rows.append, recorded=store.recorded)
        follower._boot = follower._boot_of(1).boot = _boot()
        follower._write_event(_event(100))
        assert rows
        store.write(rows)
    finally:
        store.close()


def _listed(recording: Recording) -> None:
    for span in recording.spans():
        list(recording.links(span))
        json.dumps(span.to_dict())


def test_a_recording_with_any_value_in_any_place_is_read_or_refused(path: Path) -> None:
    whole = path.read_bytes()
    _read_all(path)
    with Recording(path) as recording:  # it is a good one
        drawn = plot_data.read(recording)
    assert (drawn.samples, drawn.slots, len(drawn.events)) == (5, 1, 2)
    places = [
        (table, row[1])
        for table in ("span", "sample", "event", "change", "link", *schema.LATER_TABLES)
        for row in sqlite3.connect(path).execute(f"PRAGMA table_info({table})")
        if row[1] not in FIGURES or row[1] in ("live_bytes", "interval_s")
    ]
    assert len(places) > 45
    for number, (table, column) in enumerate(places):
        # Else two in each place, so that each value comes to each kind of place.
        found = _NASTY if campaign.WHOLE else (_NASTY[number % 7], _NASTY[(number + 3) % 7])
        for value in found:
            path.write_bytes(whole)
            with contextlib.suppress(sqlite3.Error), _changed(path) as database:
                rows = "rowid" if table in ("span", "change", "link") else "span"
                database.execute(f"UPDATE {table} SET {column} = ? WHERE {rows} > 0", (value,))
            _read_all(path)


def test_a_mount_of_a_part_of_a_byte_has_no_share(path: Path) -> None:
    with _changed(path) as database:
        text = json.dumps([{**_STORAGE, "total_bytes": 5e-324}])
        database.execute("UPDATE change SET value = ? WHERE what = 'storage'", (text,))
    with Recording(path) as recording:
        drawn = plot_data.read(recording, ["storage"])
    assert drawn.slots == 1
    assert not drawn.panels["storage"][0].bands


@pytest.mark.parametrize(
    "craft",
    [
        "UPDATE span SET began = 253370764799.0",  # a picture of it ended after the last year
        "INSERT INTO lost_events VALUES (1, 7, 1002.0, -7)",
    ],
)
def test_times_and_counts_that_make_no_sense_are_refused(path: Path, craft: str) -> None:
    with _changed(path) as database:
        database.execute(craft)
    with Recording(path) as recording, pytest.raises(RecordingError, match="makes no sense"):
        plot_data.read(recording)


def test_the_values_of_changes_may_have_any_shape(path: Path) -> None:
    whole = path.read_bytes()
    with Recording(path) as recording:
        (span,) = recording.spans()
        changes = [(change.what, change.value) for change in recording.changes(span)]
    for what, value in changes:
        rows = value if isinstance(value, list) else [value]
        for key in rows[0]:
            for wrong in _WRONG if campaign.WHOLE else _WRONG[len(key) % 2 :: 2]:
                path.write_bytes(whole)
                row = {**rows[0], key: wrong}
                text = json.dumps([row] if isinstance(value, list) else row)
                with _changed(path) as database:
                    database.execute("UPDATE change SET value = ? WHERE what = ?", (text, what))
                _read_all(path)


@pytest.mark.parametrize(
    "craft",
    [
        "DROP TABLE sample; CREATE VIEW sample AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL "
        "SELECT x + 1 FROM n) SELECT 1 AS span, x AS uptime_ms, 1.0 AS at, {figures} FROM n",
        "DROP TABLE link; CREATE TABLE link(id, span, at, state AS (zeroblob(900000000)))",
        "DROP TABLE event",
        "ALTER TABLE sample DROP COLUMN live_bytes",
    ],
)
def test_tables_that_are_none_are_refused(path: Path, craft: str) -> None:
    figures = ", ".join(f"x AS {name}" for name in FIGURES)
    with _changed(path) as database:
        database.executescript(craft.format(figures=figures))
    with pytest.raises(RecordingError, match="is damaged"):
        Recording(path)


def _deep(path: Path) -> None:
    path.write_text("interval = " + "[" * 100_000)


def _digits(path: Path) -> None:
    path.write_text("interval = " + "9" * 100_000)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [_deep, _digits, _endless, _folder])
def test_a_policy_file_that_is_none_is_one_sentence(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "warden.toml")
    with pytest.raises(PolicyError) as caught:
        policy_file.load(tmp_path / "warden.toml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "1e400", '"1e999 s"', '"nan s"', "true"])
def test_a_policys_figures_are_finite(value: str) -> None:
    for key in ("interval", "budget", "limits.overrun", "session.a.memory"):
        with pytest.raises(PolicyError):
            policy_file.loads(f"{key} = {value}\n")


# --- what a board says of its files ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("main.py", "the = 1"),
        ("/flash/main.py", "the = 1"),
        ("../secret.txt", None),
        ("lib/../../secret.txt", None),
        ("m*.py", None),
        ("**/*", None),
        ("[m]ain.py", None),
        ("main.py\0", None),
        ("a/" * 90, None),
        ("\N{REPLACEMENT CHARACTER}" * 100, None),
        ("x" * 300 + "/main.py", "the = 1"),
    ],
)
def test_a_frame_names_a_file_of_the_folder_or_none(
    tmp_path: Path, file: str, line: str | None
) -> None:
    (tmp_path / "secret.txt").write_text("password\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("the = 1\n")
    assert tables._source_line(tmp_path / "app", Frame(file, 1, "f")) == line


def test_a_line_of_a_program_is_counted_as_micropython_counts(tmp_path: Path) -> None:
    text = "# \f section\r\ns = '\N{LINE SEPARATOR}'\r\nraise OSError(5)\r\n"
    (tmp_path / "main.py").write_bytes(text.encode())
    assert tables._source_line(tmp_path, Frame("main.py", 3, "f")) == "raise OSError(5)"
