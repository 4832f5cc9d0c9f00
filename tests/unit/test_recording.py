"""Recordings in this process: what is written, resumed, rotated, and refused."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from pathlib import Path

import pytest
from virtual_time import until

from boardwarden import connect, testing
from boardwarden.errors import RecordingError
from boardwarden.grants import Event
from boardwarden.models import Identity
from boardwarden.recording import recorder, schema
from boardwarden.recording.reading import Recording
from boardwarden.recording.recorder import Recorder
from boardwarden.recording.schema import FIGURES, Boot, Row
from boardwarden.recording.store import Rotation, Store, rotated
from warden_schema import ids

NONE = (None,) * len(FIGURES)
PROTOCOL = f"{ids.PROTOCOL_MAJOR}.{ids.PROTOCOL_MINOR}"


def boot(number: int = 1, address: str = "fake") -> Boot:
    return schema.boot(address, Identity(machine="a fake", boot_id=number))


def sample(second: int, of: Boot | None = None) -> Row:
    return Row(of or boot(), "sample", (second * 1000, 1000.0 + second, *NONE))


def event(number: int, of: Boot | None = None) -> Row:
    return schema.event(
        of or boot(), 1000.0, Event(number, "threshold", 1.0, "memory", "warn", 0.8)
    )


def written(path: Path, *given: Row, rotation: Rotation | None = None) -> Store:
    store = Store(path, rotation or Rotation())
    store.open()
    store.write(given)
    return store


def uptimes(path: Path) -> dict[int | None, list[float]]:
    """Return the uptimes of the samples, by boot id."""
    with Recording(path) as recording:
        return {
            span.boot_id: [found.uptime_s for found in recording.samples(span)]
            for span in recording.spans()
        }


@pytest.fixture(autouse=True)
def _commits_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "COMMIT_S", 0.05)


# --- the file -----------------------------------------------------------------------------------


def test_a_resumed_recording_stores_repeats_once(path: Path) -> None:
    written(path, sample(1), sample(2), event(0)).close()
    store = written(path, sample(2), sample(3), event(0), event(1), sample(1, boot(2)))
    assert store.written["sample"] == 2  # which were new
    store.close()
    assert uptimes(path) == {1: [1, 2, 3], 2: [1]}
    with Recording(path) as recording:
        (first, second) = recording.spans()
        numbers = [happened.event.number for happened in recording.events(first)]
        assert (numbers, first.samples, first.events) == ([0, 1], 3, 2)
        assert (second.samples, second.events) == (1, 0)
        assert next(recording.events(first)).event == Event(
            0, "threshold", 1.0, "memory", "warn", 0.8
        )


def test_a_recording_without_samples_is_removed(path: Path) -> None:
    store = Store(path)
    store.open()
    assert path.exists()
    store.close()
    assert not list(path.parent.iterdir())
    written(path, sample(1)).close()
    again = Store(path)
    again.open()
    again.close()
    assert uptimes(path) == {1: [1]}


def test_closing_leaves_one_file(path: Path) -> None:
    written(path, sample(1)).close()
    assert list(path.parent.iterdir()) == [path]


def test_a_reader_sees_one_consistent_moment_while_it_is_written(path: Path) -> None:
    store = written(path, sample(1))
    with Recording(path) as recording:
        (span,) = recording.spans()
        store.write([sample(2)])
        assert len(list(recording.samples(span))) == 1
    assert uptimes(path) == {1: [1, 2]}
    store.close()


def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    store = written(path, sample(1))
    broken = Row(boot(2), "sample", (1, object(), *NONE))  # type: ignore[arg-type]
    with pytest.raises(RecordingError, match=r"What came until .* is in it"):
        store.write([sample(2), sample(1, boot(2)), broken])
    store.write([sample(3)])
    store.close()
    assert uptimes(path) == {1: [1, 3]}


def test_a_second_recorder_of_a_file_is_refused(path: Path) -> None:
    store = written(path, sample(1))
    with pytest.raises(RecordingError, match="Another boardwarden is recording to"):
        Store(path).open()
    store.close()
    written(path).close()


def _text(path: Path) -> None:
    path.write_text("this is no database, but is long enough to be looked at as one " * 20)


def _other_program(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t(x)")
    database.close()


def _later_version(path: Path) -> None:
    written(path, sample(1)).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_text, "is damaged, or no recording"),
        (_other_program, "is not a recording of boardwarden"),
        (_later_version, "later boardwarden"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_and_unchanged(path: Path, make, why: str) -> None:  # type: ignore[no-untyped-def]
    make(path)
    before = path.read_bytes()
    with pytest.raises(RecordingError, match=why):
        Recording(path)
    with pytest.raises(RecordingError, match=why):
        Store(path).open()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_recording_raises_recording_error(path: Path) -> None:
    written(path, *(sample(second) for second in range(2000))).close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(RecordingError, match="is damaged"):
        uptimes(path)
    damaged = path.read_bytes()
    store = written(path, sample(5000))  # what can be had of it is not thrown away
    store.close()
    assert uptimes(path) == {1: [5000]}
    assert store.put_aside is not None
    assert store.put_aside.read_bytes() == damaged
    assert sorted(path.parent.iterdir()) == sorted([path, store.put_aside])


def test_a_recording_with_a_schema_that_is_no_utf_8_is_put_aside(path: Path) -> None:
    written(path, sample(1)).close()
    whole = path.read_bytes()
    for place in (whole.index(b"CREATE TABLE event") + 1, whole.index(b"event")):
        path.write_bytes(whole[:place] + b"\x87" + whole[place + 1 :])
        store = written(path, sample(5))
        store.close()
        assert store.put_aside is not None
        assert uptimes(path) == {1: [5]}


def test_a_file_of_something_else_with_such_a_schema_is_refused_in_a_sentence(path: Path) -> None:
    written(path, sample(1)).close()
    whole = path.read_bytes().replace(schema.APPLICATION_ID.to_bytes(4, "big"), b"else", 1)
    place = whole.index(b") WITHOUT ROWID")
    damaged = whole[:place] + b"\x87" + whole[place + 1 :]
    path.write_bytes(damaged)
    with pytest.raises(RecordingError, match="is damaged"):
        Store(path).open()
    assert path.read_bytes() == damaged
    assert list(path.parent.iterdir()) == [path]


def test_a_table_of_boots_is_read_by_the_names_of_its_columns(path: Path) -> None:
    written(path, sample(1)).close()
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"port TEXT, reset_cause", b"port TEXT, r,set_cause"))
    with pytest.raises(RecordingError, match="its table span is not as recorded"):
        Recording(path)
    path.write_bytes(whole.replace(b"protocol TEXT, began", b"protocol, x, began  "))
    with Recording(path) as recording, pytest.raises(RecordingError, match="a boot that makes no"):
        recording.spans()


def test_a_table_of_boots_that_has_lost_its_key_is_damaged(path: Path) -> None:
    written(path, sample(1)).close()
    text = path.read_bytes()
    path.write_bytes(
        text.replace(b"id INTEGER PRIMARY KEY, address", b"id INTEGER PRIMARX KEY, address")
    )
    with pytest.raises(RecordingError, match="a boot that makes no sense"):
        written(path, sample(5))


def test_later_tables_are_made_all_or_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(path, sample(1)).close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("DROP TABLE history; DROP TABLE lost_events;")
    first, *_ = schema.LATER_TABLES.values()
    monkeypatch.setattr(schema, "LATER_TABLES", {"history": first, "lost_events": "CREATE ;"})
    with pytest.raises(RecordingError):
        Store(path).open()
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    assert "history" not in names
    monkeypatch.undo()
    written(path, sample(2)).close()
    assert uptimes(path)[1][-1] == 2.0


@pytest.mark.parametrize("craft", ["'text'", "x'00'", "5000.5"])
def test_what_is_no_number_of_an_event_or_uptime_is_not_the_last(path: Path, craft: str) -> None:
    written(path, sample(1), event(3)).close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        places = "at, kind, uptime_s, subject, detail, value, missed"
        database.execute(
            f"INSERT INTO event(span, number, {places}) SELECT span, {craft}, {places} FROM event"
        )
        database.execute(
            f"INSERT INTO sample(span, uptime_ms, at) SELECT span, {craft}, at FROM sample"
        )
        database.commit()
    store = Store(path)
    store.open()
    store.close()
    assert tuple(store.recorded(boot())) == (1.0, 3, None)


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_an_event_of_a_number_that_no_board_sends_is_refused(path: Path, number: int) -> None:
    written(path, sample(1), event(3)).close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("UPDATE event SET number = ?", (number,))
        database.commit()
    with pytest.raises(RecordingError, match="makes no sense"):
        Store(path).open()


@pytest.mark.parametrize("craft", ["'text'", "1e308", "-1e308"])
def test_a_boot_that_began_at_no_time_is_not_the_first(path: Path, craft: str) -> None:
    written(path, sample(1)).close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"UPDATE span SET began = {craft}")
        database.commit()
    for size in (None, 1):
        written(path, sample(2), sample(2, boot(2)), rotation=Rotation(size, 3600.0)).close()
    assert len(rotated(path)) == 1


def test_a_locked_file_is_tried_again_and_what_came_meanwhile_is_written(path: Path) -> None:
    store = written(path, sample(1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(schema.Locked, match="is locked by another program"):
        store.write([sample(2)])
    other.execute("ROLLBACK")
    other.close()
    store.write([sample(2), sample(3)])
    store.close()
    assert uptimes(path) == {1: [1, 2, 3]}


@pytest.mark.parametrize("removed", ["a.db", "a.db*"])
def test_a_file_that_is_removed_while_it_is_recorded_is_begun_anew(
    path: Path, removed: str
) -> None:
    store = written(path, sample(1))
    for file in path.parent.glob(removed):
        file.unlink()
    store.write([sample(2)])
    path.rename(path.with_name("old.db"))  # as one rotates logs
    store.write([sample(3)])
    with pytest.raises(RecordingError, match="Another boardwarden"):
        Store(path).open()
    store.close()
    assert store.removals == 2
    assert uptimes(path.with_name("old.db")) == {1: [2]}
    assert uptimes(path) == {1: [3]}
    assert list(path.parent.glob("a.db-*")) == []


def test_what_replaces_a_recording_is_waited_for_while_it_is_locked(path: Path) -> None:
    store = written(path, sample(1))
    other = sqlite3.connect(path.with_name("b.db"), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    path.with_name("b.db").replace(path)
    with pytest.raises(schema.Locked):
        store.write([sample(2)])
    other.execute("ROLLBACK")
    other.close()
    store.write([sample(2)])
    store.close()
    assert uptimes(path) == {1: [2]}
    with pytest.raises(RecordingError, match="is closed"):
        store.write([sample(3)])


def test_what_is_another_recorders_is_not_taken_away(path: Path) -> None:
    store = Store(path)
    store.open()
    for file in path.parent.glob("a.db*"):
        file.unlink()
    other = written(path, sample(1))
    store.close()  # it has written nothing, and would take its own file away
    with pytest.raises(RecordingError, match="Another boardwarden"):
        Store(path).open()
    other.close()
    assert uptimes(path) == {1: [1]}


def test_a_missing_or_unwritable_path_raises_recording_error(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no folder"):
        Store(tmp_path / "none" / "a.db").open()
    with pytest.raises(RecordingError, match="cannot be written"):
        Store(tmp_path).open()
    with pytest.raises(RecordingError, match="There is no recording"):
        Recording(tmp_path / "a.db")


# --- rotation -----------------------------------------------------------------------------------


def test_rotation_by_size_keeps_all_rows_in_files_of_their_own(path: Path) -> None:
    store = written(path, rotation=Rotation(size_bytes=60_000))
    for begin in range(0, 3000, 10):
        store.write([sample(second) for second in range(begin, begin + 10)])
    store.close()
    aside = rotated(path)
    assert len(aside) == store.rotations >= 2
    assert all(60_000 <= file.stat().st_size < 80_000 for file in aside)  # not for its log
    found = [second for file in [*aside, path] for second in uptimes(file).get(1, [])]
    assert found == list(range(3000))
    assert sorted(path.parent.iterdir()) == sorted([*aside, path])  # no log beside any


def test_rotation_by_age_deletes_all_but_the_newest(path: Path) -> None:
    now = [1_000_000.0]
    store = Store(path, Rotation(age_s=60, keep=2), clock=lambda: now[0])
    store.open()
    for second in range(0, 300, 10):
        now[0] = 1_000_000.0 + second
        store.write([sample(second)])
    store.close()
    assert store.rotations == 4
    names = [file.name for file in rotated(path)]
    assert names == ["a.19700112T134900Z.db", "a.19700112T135010Z.db"]
    assert [uptimes(file)[1][0] for file in [*rotated(path), path]] == [140, 210, 280]


def test_files_that_began_in_one_second_are_deleted_in_the_order_in_which_they_were_put_aside(
    path: Path,
) -> None:
    store = Store(path, Rotation(size_bytes=1, keep=1), clock=lambda: 1_000_000.0)
    store.open()
    for uptime_s in (1, 2, 3):
        store.write([sample(uptime_s)])
        assert [uptimes(file) for file in rotated(path)] == [{1: [uptime_s]}]
    store.close()


def test_a_clock_that_was_set_back_has_no_newer_file_deleted_before_older_ones(path: Path) -> None:
    now = [1_000_000.0]
    for begin in (1_000_000.0, 100.0):  # the second start is one with no time
        now[0] = begin
        store = Store(path, Rotation(age_s=60, keep=2), clock=lambda: now[0])
        store.open()
        for _ in range(4):
            store.write([sample(int(now[0])), sample(int(now[0]) + 60)])
            now[0] += 60
            store.write([sample(int(now[0]))])
        store.close()
        found = [uptimes(file)[1][0] for file in rotated(path)]
        assert found == [begin + 120, begin + 180]


def test_a_file_in_use_is_rotated_after_its_reader_closes(path: Path) -> None:
    store = written(path, sample(1), rotation=Rotation(size_bytes=1_000_000))
    with Recording(path) as recording:
        (span,) = recording.spans()
        store._rotation = Rotation(size_bytes=1)
        store.write([sample(2)])
        assert store.rotations == 0
        assert len(list(recording.samples(span))) == 1
    store.write([sample(3)])
    assert store.rotations == 1
    store.close()
    (aside,) = rotated(path)
    assert uptimes(aside) == {1: [1, 2, 3]}


# --- the recorder -------------------------------------------------------------------------------


class Recorded:
    """A fake board that is recorded to a file."""

    def __init__(self, path: Path, rotation: Rotation | None = None) -> None:
        self.fake = testing.FakeBoard()
        self.transport = testing.FakeTransport(self.fake)
        self.store = Store(path, rotation or Rotation())
        self.stop = asyncio.Event()

    async def __aenter__(self) -> Recorded:
        self._context = connect(self.transport)
        board = await self._context.__aenter__()
        self.board = board
        self.store.open()
        self.recorder = Recorder(self.store, {"fake": board})
        self._task = asyncio.create_task(self.recorder.run(self.stop))
        await until(lambda: self.recorder.followers[0].samples)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stop.set()
        try:
            await self._task
        finally:
            self.store.close()
            await self._context.__aexit__(None, None, None)


def changes(path: Path, what: str) -> list[tuple[int | None, object]]:
    with Recording(path) as recording:
        found = [change for span in recording.spans() for change in recording.changes(span)]
    return [(change.number, change.value) for change in found if change.what == what]


async def test_everything_a_board_sends_is_recorded(path: Path) -> None:
    async with Recorded(path) as recorded:
        fake = recorded.fake
        for _ in range(3):
            fake.sample(cpu_permille=250)  # in one piece
        fake.policy.put(ids.LEASE, 0, [7, 0, 8192, "ota", 2, 1, 60, 5000, False, None])
        fake.policy.put(ids.THRESHOLD, 0, [0, 750, 900, 650, 1000, 1, 2, 912])
        fake.policy.happen("threshold", 0, "critical", 912)
        await until(lambda: recorded.board.allocations and recorded.board.recent_events)
        fake.policy.drop(ids.LEASE, 0)
        fake.store(0, ["/", 4096, 512, 100, 90])
        await until(lambda: not recorded.board.allocations)
        await until(lambda: recorded.store.written["event"])
    assert uptimes(path) == {1: [10, 11, 12, 13]}
    with Recording(path) as recording:
        (span,) = recording.spans(["01020304"])  # by its unique id
        assert (span.address, span.machine, span.protocol) == ("fake", "fakeboard", PROTOCOL)
        *_, last = recording.samples(span, ["cpu", "used_bytes", "rssi_dbm", "faults"])
        assert last.figures == (0.25, 60_000, None, None)
        (happened,) = recording.events(span)
        assert (happened.event.subject, happened.event.value) == ("memory", 0.912)
        assert [link.state for link in recording.links(span)] == ["up", "stopped"]
    granted, gone = changes(path, "lease")
    assert granted[0] == 7
    assert granted[1]["owner"] == "ota"  # type: ignore[index]
    assert gone == (7, None)
    assert changes(path, "thresholds")[-1][1][0]["critical"] == 0.9  # type: ignore[index]
    assert changes(path, "storage")[-1][1][0]["used_bytes"] == 412 * 4096  # type: ignore[index]
    assert len(changes(path, "capabilities")) == 1


async def test_a_link_that_is_lost_and_a_restart_are_recorded(path: Path) -> None:
    async with Recorded(path) as recorded:
        recorded.fake.sample()
        recorded.transport.cut()
        await until(lambda: recorded.transport.opened == 2)
        await until(lambda: recorded.board.connected)
        recorded.fake.sample()
        recorded.transport.cut()
        recorded.fake.restart()
        await until(lambda: recorded.board.status.board.boot_id == 2)
        recorded.fake.sample()
        await until(lambda: recorded.store.written["sample"] == 5)
    assert uptimes(path) == {1: [10, 11, 12], 2: [0, 1]}
    with Recording(path) as recording:
        first, second = recording.spans()
        states = [link.state for link in recording.links(first)]
        assert states == ["up", "lost", "up", "lost"]
        assert [link.state for link in recording.links(second)] == ["up", "stopped"]


async def test_samples_that_come_before_the_id_of_a_new_boot_are_recorded_as_of_that(
    path: Path,
) -> None:
    """As where another host subscribes at once: a board sends all hosts the same stream."""
    async with Recorded(path) as recorded:
        fake, seq = recorded.fake, recorded.fake.seq
        fake.sample()
        fake.restart()
        fake.host_id, fake.seq = 77, seq + 5
        fake.sample()
        fake.values.update(uptime_s=0, uptime_ms=500)
        fake.sample()
        await until(lambda: recorded.board.status.board.boot_id == 2)
        await until(lambda: recorded.store.written["sample"] == 4)
    assert uptimes(path) == {1: [10, 11], 2: [1, 1.5]}


async def test_resets_and_exceptions_are_recorded_whole_once_a_boot(path: Path) -> None:
    first = [1, "pwron", 3, 1, 11, None, None, None, None, None, None, None]
    crash = [2, "wdt", 0, 1, 12, 4000, "sync", 51_200, None, 4, 0, None]
    text = b"main.py:9 main\nOSError: [Errno 5] EIO\n"
    async with Recorded(path) as recorded:
        assert recorded.board.resets == ()  # most boards keep none: then there is no row
        crash_lists = recorded.fake.policy.crash_lists
        crash_lists[ids.RESTART] = [first, crash]
        crash_lists[ids.EXCEPTION] = [[1, 3, None, 2, None, text]]
        for boot in (2, 3):
            recorded.transport.cut()
            recorded.fake.restart()
            await until(lambda number=boot: recorded.board.status.board.boot_id == number)
            await until(lambda number=boot: recorded.board.restart_count == number - 1)
    with Recording(path) as recording:
        for span in recording.spans()[1:]:
            values = [row.value for row in recording.changes(span) if row.what == "resets"]
            assert [[each["cause"] for each in value] for value in values] == [["pwron", "wdt"]]
            values = [row.value for row in recording.changes(span) if row.what == "exceptions"]
            assert [value[0]["error"] for value in values] == ["OSError: [Errno 5] EIO"]
    assert len(changes(path, "resets")) == 2


async def test_each_rotated_file_has_the_state_of_its_board(path: Path) -> None:
    async with Recorded(path, Rotation(size_bytes=1)) as recorded:
        recorded.fake.policy.put(ids.LEASE, 0, [7, 0, 8192, "ota", 2, 1, 60, 5000, False, None])
        await until(lambda: recorded.store.rotations >= 1)
        recorded.fake.sample()
        await until(lambda: recorded.store.rotations >= 2)
    for file in rotated(path)[1:]:
        assert changes(file, "capabilities")
        assert [number for number, _ in changes(file, "lease")] == [7]


async def test_a_lock_delays_what_is_recorded_and_loses_nothing(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    async with Recorded(path) as recorded:
        recorded.fake.sample()
        await until(lambda: recorded.store.written["sample"] >= 1)
        other.execute("BEGIN IMMEDIATE")
        recorded.fake.sample()
        await until(lambda: recorded.recorder.locked != "")
        recorded.fake.sample()
        other.execute("ROLLBACK")
        await until(lambda: recorded.recorder.locked == "")
    other.close()
    (found,) = uptimes(path).values()
    assert found == [10, 11, 12, 13]


async def test_a_lock_at_the_end_is_waited_for_no_longer_than_a_second(path: Path) -> None:
    """It says what is missing: who presses Ctrl-C does not wait for another program."""
    recorded = Recorded(path)
    await recorded.__aenter__()
    await until(lambda: recorded.store.written["sample"] >= 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    recorded.fake.sample()
    (busy_ms,) = recorded.store._database.execute("PRAGMA busy_timeout").fetchone()
    tries, write = [], recorded.store.write
    recorded.store.write = lambda rows: (tries.append(rows), write(rows))
    with pytest.raises(RecordingError, match=r"is locked by another program. \d+ rows are not"):
        await recorded.__aexit__()
    assert tries
    assert len(tries) * busy_ms <= 1000
    other.close()


async def test_a_host_clock_that_jumps_moves_nothing_in_a_recording(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumped = 0.0
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jumped)
    async with Recorded(path) as recorded:
        (follower,) = recorded.recorder.followers
        for jump in (-3600.0, 3600.0, 0.0):
            jumped = jump
            before = follower.samples
            recorded.fake.sample()
            await until(lambda before=before: follower.samples > before)
    with Recording(path) as recording:
        (span,) = recording.spans()
        times = [found.at for found in recording.samples(span)]
        assert times == sorted(times)
        assert span.ended - span.began < 60
        assert all(abs(change.at - real()) < 60 for change in recording.changes(span))


async def test_a_file_that_is_removed_has_the_state_of_its_board_again(path: Path) -> None:
    async with Recorded(path) as recorded:
        recorded.fake.sample()
        await until(lambda: recorded.store.written["sample"] > 1)
        path.unlink()
        recorded.fake.sample()
        await until(lambda: recorded.store.removals == 1)
        written_rows = recorded.store.written["change"]
        await until(lambda: recorded.store.written["change"] > written_rows)
    with Recording(path) as recording:
        (span,) = recording.spans()
        assert span.samples == 1
        assert {"capabilities", "limits"} <= {each.what for each in recording.changes(span)}


async def test_a_write_error_ends_the_recording(path: Path) -> None:
    recorded = Recorded(path)
    await recorded.__aenter__()
    recorded.store.close()
    recorded.fake.sample()
    with pytest.raises(RecordingError, match="is closed"):
        await recorded.__aexit__()
