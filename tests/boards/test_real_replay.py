"""A real board, and replays of its recording: with its own policy, and with stricter ones."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from cli_process import finish, line_of, start
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import APPS

from boardwarden import policy_file
from boardwarden.grants import Event
from boardwarden.recording.reading import Recording
from boardwarden.replaying.replay import Decision, Replayed, replay

BOARD = f"sim:{APPS / 'timed.py'}"
WARN, CRITICAL, CLEAR = 600_000, 1_200_000, 300_000  # the application's own, as are the rest
HOLD_MS, TASKS, OPERATIONS = 60, 8, 2


def policy(
    warn: int = WARN,
    critical: int = CRITICAL,
    hold_ms: int = HOLD_MS,
    tasks: int = TASKS,
    operations: int = OPERATIONS,
) -> str:
    return (
        f"[limits]\nmax_operations = {operations}\n"
        '[[threshold]]\nmetric = "memory"\noff = true\n'
        f'[[threshold]]\nmetric = "live_bytes"\nwarn = {warn}\ncritical = {critical}\n'
        f'clear = {min(warn, CLEAR)}\nhold = "{hold_ms} ms"\naction = "protect"\n'
        f'[[threshold]]\nmetric = "tasks"\nwarn = {tasks}\nclear = {min(tasks, 6)}\n'
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a recording that has each sample: a busy host reads too late for some of them."""
    while True:
        made = tmp_path_factory.mktemp("replay") / "a.db"
        asyncio.run(record(made))
        if not dropped_frames(made):
            return made


async def record(path: Path) -> None:
    """Record the application to its last event, whenever a busy machine comes to that."""
    process = await start("record", str(path), "--board", BOARD, "--json")
    await line_of(process)  # it has begun
    while not any(event.detail == "overdue" for event in events(path)):
        assert process.returncode is None
        await asyncio.sleep(0.2)
    process.send_signal(signal.SIGINT)
    finished = await finish(process)
    assert finished.status == 130, finished.err


def dropped_frames(path: Path) -> int:
    with sqlite3.connect(path) as database:
        (found,) = database.execute("SELECT max(dropped_frames) FROM sample").fetchone()
    database.close()
    return int(found)


def events(path: Path) -> list[Event]:
    with Recording(path) as recording:
        return [each.event for span in recording.spans() for each in recording.events(span)]


def replayed(path: Path, text: str) -> Replayed:
    with Recording(path) as recording:
        return replay(recording, policy_file.loads(text))


def without(path: Path, folder: Path, rows: str, change: str = "") -> Path:
    """Return a copy of a recording that lacks these rows, and has this change."""
    copy = folder / "lossy.db"
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as database:
        database.execute(f"DELETE FROM {rows}")
        database.execute(change)
    database.close()
    return copy


def one_by_one(decisions: list[Decision]) -> list[tuple[float, str, object, object, object]]:
    return sorted(
        (
            event.uptime_s,
            event.kind,
            str(event.subject),
            str(event.detail),
            str(event.value and float(event.value)),
        )
        for event in (decision.event for decision in decisions)
    )


def test_its_own_policy_gives_the_same_crossings_acts_and_ends(path: Path) -> None:
    found = replayed(path, policy())
    assert one_by_one(found.decisions) == one_by_one(found.recorded)
    assert found.would_s == pytest.approx(found.did_s)
    counts = Counter((each.event.kind, each.event.detail) for each in found.decisions)
    assert counts["threshold", "warn"] >= 8
    assert counts["operation", "timed out"] >= 8
    assert counts["operation", "timed out"] + counts["operation", "preempted"] >= 12
    assert counts["operation", "overdue"] == 1
    assert min(counts["collect", None], counts["trim", "give_back"]) >= 4
    assert min(counts["lease", "expired"], counts["denied", "pressure"]) >= 1


def test_samples_alone_give_the_same_crossings(path: Path, tmp_path: Path) -> None:
    """The board's code decides: it is not told what the board decided."""
    own = [each for each in replayed(path, policy()).recorded if each.event.kind == "threshold"]
    # A busy machine makes samples late; none of them is to be taken for one after a lost one.
    patient = "UPDATE sample SET interval_s = 5.0"
    found = replayed(without(path, tmp_path, "event WHERE true", patient), policy())
    crossings = [each for each in found.decisions if each.event.kind == "threshold"]
    assert not found.recorded
    assert one_by_one(crossings) == one_by_one(own)


@pytest.mark.parametrize("lost", ["uptime_ms % 7 < 4", "uptime_ms BETWEEN 3000 AND 3700"])
def test_samples_that_were_lost_do_not_change_that(path: Path, tmp_path: Path, lost: str) -> None:
    found = replayed(without(path, tmp_path, f"sample WHERE {lost}"), policy())
    assert one_by_one(found.decisions) == one_by_one(found.recorded)
    assert len(found.recorded) > 60


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    share=st.floats(0.2, 1.0),
    hold_ms=st.integers(0, HOLD_MS),
    tasks=st.integers(3, TASKS),
    operations=st.integers(1, OPERATIONS),
)
def test_a_stricter_policy_never_warns_or_refuses_less(
    path: Path, share: float, hold_ms: int, tasks: int, operations: int
) -> None:
    warn, critical = int(WARN * share), int(CRITICAL * share)
    found = replayed(path, policy(warn, critical, hold_ms, tasks, operations))
    for metric in ("live_bytes", "tasks"):
        own = [each.event for each in found.recorded if each.event.subject == metric]
        theirs = [each.event for each in found.decisions if each.event.subject == metric]
        for event in own:
            if event.kind == "threshold":
                assert level(theirs, event.uptime_s) >= level(own, event.uptime_s), event
    for what, seconds in found.did_s.items():
        assert found.would_s.get(what, 0.0) >= seconds - 0.001, what
    refused = [
        sum(each.event.kind == "denied" for each in of) for of in (found.decisions, found.recorded)
    ]
    assert refused[0] >= refused[1]


def level(events: list[Event], uptime_s: float) -> int:
    """Return the level after what happened at an uptime."""
    names = ("clear", "warn", "critical")
    past = [each for each in events if each.kind == "threshold" and each.uptime_s <= uptime_s]
    return names.index(str(past[-1].detail)) if past else 0
