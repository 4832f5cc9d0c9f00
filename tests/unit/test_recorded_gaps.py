"""A recording has what the board's own history has of times in which nothing came, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from remembering import figure, pass_s, remember
from virtual_time import until

from boardwarden import Board, Gap, HistorySlot, connect, plot_data
from boardwarden.cli import record
from boardwarden.models import Identity
from boardwarden.recording import recorder, schema
from boardwarden.recording.reading import LostEvents, Recording, Remembered
from boardwarden.recording.recorder import Follower, Recorder
from boardwarden.recording.store import Store
from boardwarden.testing import FakeBoard, FakeTransport
from warden_schema import ids

BEGIN_S = 100_000


@pytest.fixture(autouse=True)
def _commits_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "COMMIT_S", 0.05)


@pytest.fixture
def peer() -> FakeBoard:
    made = FakeBoard()
    made.values["uptime_s"] = BEGIN_S
    remember(made)
    return made


@contextlib.asynccontextmanager
async def recording(
    path: Path, transport: FakeTransport
) -> AsyncIterator[tuple[list[Gap], Follower]]:
    """Record a fake board while the block runs; yield the gaps that were written, and who does."""
    stop = asyncio.Event()
    gaps: list[Gap] = []
    store = Store(path)
    store.open()
    try:
        async with connect(transport) as board:
            recorder = Recorder(
                store, {"fake": board}, on_gap=lambda follower, gap: gaps.append(gap)
            )
            running = asyncio.create_task(recorder.run(stop))
            (follower,) = recorder.followers
            await until(lambda: follower.samples)
            yield gaps, follower
            await asyncio.sleep(0)  # what came last is with the follower
            stop.set()
            await running
    finally:
        store.close()


async def lose(transport: FakeTransport, peer: FakeBoard, seconds: int) -> None:
    """Have the link lost for so many seconds of the board."""
    opened = transport.opened
    transport.cut()
    pass_s(peer, seconds)
    await until(lambda: transport.opened > opened)


def reads_asked(peer: FakeBoard) -> int:
    """Return how many requests for its history a board has had."""
    return sum(operation == ids.HISTORY_READ for operation, _ in peer.done)


def retime(path: Path) -> None:
    """Give the rows the times that they would have, had the board's time passed here, too."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for table in ("sample", "history"):
            database.execute(f"UPDATE {table} SET at = 1e6 + uptime_ms / 1000.0")
        database.execute("UPDATE link SET at = 1e6 + ?", (BEGIN_S + 1,))
        database.execute("UPDATE span SET began = 1e6")
        database.commit()


def history(path: Path) -> dict[int | None, list[Remembered]]:
    """Return what the file has of the history of each boot."""
    with Recording(path) as read:
        return {span.boot_id: list(read.history(span)) for span in read.spans()}


def events(path: Path) -> dict[int | None, list[int]]:
    with Recording(path) as read:
        return {
            span.boot_id: [each.event.number for each in read.events(span)] for span in read.spans()
        }


def lost(path: Path) -> list[LostEvents]:
    with Recording(path) as read:
        return [each for span in read.spans() for each in read.lost_events(span)]


async def test_a_loss_is_filled_with_the_boards_own_figures_at_their_times(
    path: Path, peer: FakeBoard
) -> None:
    transport = FakeTransport(peer)
    async with recording(path, transport) as (gaps, _):
        await lose(transport, peer, 3000)
        await until(lambda: gaps)
    (found,) = history(path).values()
    assert [each.slot for each in found] == list(gaps[0].slots)
    minutes = [each for each in found if each.slot.step_s == 60]
    assert len(minutes) in (49, 50)
    first = minutes[0].slot
    number = int(first.begin_s // 60)
    told = [figure(0, statistic, number) for statistic in range(3)]
    assert [first.memory.min, first.memory.mean, first.memory.max] == told
    with Recording(path) as read:
        (span,) = read.spans()
        assert span.history_slots == len(found)
        begin, end = read.samples(span)
        for each in found:
            ago_s = end.uptime_s - each.slot.begin_s
            assert each.at == pytest.approx(end.at - ago_s, abs=0.01)
    assert begin.uptime_s == BEGIN_S
    retime(path)
    with Recording(path) as read:
        drawn = plot_data.read(read, ["live_bytes", "used_bytes"])
    assert drawn.gaps == []
    assert drawn.slots == len(found)
    (live,) = drawn.panels["live_bytes"]
    assert len(live.bands) == len(minutes)
    assert [figure for _, figure in live.pieces[0]][:1] == [told[1]]
    (used,) = drawn.panels["used_bytes"]  # of which the board has no history
    assert not used.bands


async def test_a_recording_that_is_continued_is_filled_and_has_each_event_once(
    path: Path, peer: FakeBoard, capsys: pytest.CaptureFixture[str]
) -> None:
    transport = FakeTransport(peer)
    for _ in range(3):
        peer.policy.happen("threshold", 0, "warn", 800)
    async with recording(path, transport):
        pass
    for _ in range(20):  # four of them are overwritten
        peer.policy.happen("threshold", 0, "clear", 500)
    pass_s(peer, 1200)
    async with recording(path, transport) as (gaps, _):
        await until(lambda: gaps)
    reads = reads_asked(peer)
    async with recording(path, transport) as (gaps, follower):  # at once: nothing is missing
        await follower.board.ping()  # is asked after what the follower begins with
    assert reads_asked(peer) == reads
    assert not gaps
    (found,) = history(path).values()
    starts = [each.slot.begin_s for each in found]
    assert starts == sorted(set(starts))
    assert starts[0] <= BEGIN_S
    assert found[-1].slot.begin_s + found[-1].slot.step_s == BEGIN_S + 1200
    assert events(path) == {1: [0, 1, 2, *range(7, 23)]}
    assert [(each.first, each.number) for each in lost(path)] == [(3, 4)]
    with Recording(path) as read:
        (span,) = read.spans()
    assert span.lost_events == 4
    record._list(path, as_json=False)
    assert "19, 4 lost" in capsys.readouterr().out
    record._list(path, as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert (listed["lost_events"], listed["history_slots"]) == (4, len(found))


async def test_a_gap_that_was_not_read_before_the_recording_ended_is_read_at_the_next_start(
    path: Path, peer: FakeBoard
) -> None:
    transport = FakeTransport(peer)
    answers = dict(peer.answer)

    def fall_silent(arguments: list[Any]) -> tuple[int, Any]:
        peer.mute = True
        return ids.OK, None

    peer.answer[ids.HISTORY_READ] = fall_silent
    async with recording(path, transport) as (gaps, follower):
        await lose(transport, peer, 3000)
        await until(lambda: peer.mute and follower.samples == 2)
    assert not gaps
    peer.mute = False
    peer.answer.update(answers)
    assert history(path) == {1: []}
    reads = reads_asked(peer)
    async with recording(path, transport) as (gaps, _):
        await until(lambda: gaps)
    assert [(gap.begin_s, gap.end_s) for gap in gaps] == [(BEGIN_S, BEGIN_S + 3000)]
    assert len(history(path)[1]) == len(gaps[0].slots) > 40
    assert reads_asked(peer) > reads
    reads = reads_asked(peer)
    async with recording(path, transport) as (gaps, follower):  # at once: nothing is missing
        await follower.board.ping()
    assert reads_asked(peer) == reads


async def test_events_of_a_boot_that_nobody_saw_begin_are_lost_from_its_first_on(
    path: Path, peer: FakeBoard
) -> None:
    transport = FakeTransport(peer)
    peer.policy.happen("threshold", 0, "warn", 800)
    async with recording(path, transport) as (gaps, _):
        transport.cut()
        peer.restart()
        for _ in range(18):
            peer.policy.happen("threshold", 0, "clear", 500)
        pass_s(peer, 600)
        await until(lambda: transport.opened == 2)
        await until(lambda: peer.events_from == 0)  # it knows that it is another boot, and has them
        peer.policy.happen("threshold", 0, "warn", 800)
        peer.sample()
        await lose(transport, peer, 300)
        await until(lambda: gaps)
    assert events(path) == {1: [0], 2: list(range(2, 19))}
    assert [(each.first, each.number) for each in lost(path)] == [(0, 2)]
    assert [gap.boot_id for gap in gaps] == [2]
    assert not history(path)[1]


async def test_what_the_board_did_not_measure_stays_a_gap(path: Path, peer: FakeBoard) -> None:
    remember(peer, BEGIN_S + 1800)
    transport = FakeTransport(peer)
    async with recording(path, transport) as (gaps, follower):
        await lose(transport, peer, 3000)
        await until(lambda: gaps)
        reads, samples = reads_asked(peer), follower.samples
        peer.sample()
        await until(lambda: follower.samples > samples)
        await follower.board.ping()
        assert reads_asked(peer) == reads
    retime(path)
    with Recording(path) as read:
        drawn = plot_data.read(read, ["cpu"])
    (gap,) = drawn.gaps
    assert gap.begin == 1e6 + BEGIN_S
    assert 1700 < gap.end - gap.begin < 1861
    (line,) = drawn.panels["cpu"]
    times = [at for piece in line.pieces for at, _ in piece]
    assert times == sorted(times)


def test_a_recording_from_before_is_read_and_appended_to(path: Path) -> None:
    boot = schema.boot("fake", Identity(boot_id=1))
    store = Store(path)
    store.open()
    store.write([schema.link(boot, 5.0, "up")])
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("DROP TABLE history; DROP TABLE lost_events;")
    assert history(path) == {1: []}
    assert lost(path) == []
    store = Store(path)
    store.open()
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    assert {"history", "lost_events"} <= names
    assert history(path) == {1: []}


async def test_what_is_recorded_of_a_gap_or_why_nothing_is_printed_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    follower = Follower("fake", Board(FakeTransport(FakeBoard())), lambda row: None)
    progress = record.RecordProgress(Path("a.db"), [])
    slot = HistorySlot(60.0, 60.0)
    for gap in (
        Gap(1, 60.0, 180.0, (slot, slot)),
        Gap(1, 60.0, 180.0, why="It said \x1b[2J."),
        Gap(1, 60.0, 180.0),
    ):
        progress.show_gap(follower, gap)
    lines = capsys.readouterr().err.splitlines()
    begin = "boardwarden: fake: nothing came for 2 min"
    assert lines[0] == f"{begin}: 2 slots of the board's own history are recorded"
    assert lines[1].startswith(f"{begin}, and no history of it is recorded: It said ")
    assert "\x1b" not in lines[1]
    assert lines[2].endswith("The board measured nothing then.")


async def test_an_event_that_comes_with_the_next_boot_is_of_its_own(
    path: Path, peer: FakeBoard
) -> None:
    transport = FakeTransport(peer)
    async with recording(path, transport) as (_, follower):
        for _ in range(3):
            peer.policy.happen("threshold", 0, "warn", 800)
        host_id = peer.host_id
        peer.restart()
        peer._subscribe(peer.version[0], host_id)
        peer.policy.happen("threshold", 0, "clear", 500)  # all of it is read at once
        await until(lambda: follower.events == 4)
        await until(lambda: peer.events_from is not None)
        await follower.board.ping()  # nothing comes of it twice
    assert events(path) == {1: [0, 1, 2], 2: [0]}
    assert lost(path) == []
