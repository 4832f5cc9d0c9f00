"""`boardwarden record` as a process, of real boards: killed, interrupted, with no room left."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_process import (
    LIMIT_S,
    CommandOnTerminal,
    TerminalBoard,
    finish,
    line_of,
    notice_of,
    run,
    start,
)
from free_ports import free_port
from places import APPS

from boardwarden.recording.reading import Recording, Span
from boardwarden.testing import FakeBoard
from boardwarden.transport import transport_for
from boardwarden.transport.base import Transport

pytestmark = pytest.mark.usefixtures("no_leftovers")

SWINGS = f"sim:{APPS / 'swings.py'}"
LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
runpy.run_module("boardwarden", run_name="__main__")
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def spans(path: Path) -> list[Span]:
    with Recording(path) as recording:
        return recording.spans()


async def until_recorded(path: Path, enough: Callable[[list[Span]], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not (path.exists() and _is_made(path) and enough(spans(path))):
        assert time.monotonic() < deadline, "it was not recorded in time"
        await asyncio.sleep(0.05)


def _is_made(path: Path) -> bool:
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return bool(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.OperationalError:  # it is being made
        return False
    finally:
        database.close()


def samples(found: list[Span]) -> int:
    return sum(span.samples for span in found)


def newest(path: Path) -> float:
    """Return when the newest sample came that a killed recorder would leave."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return float(database.execute("SELECT max(at) FROM sample").fetchone()[0])
    finally:
        database.close()


async def watch_ages(path: Path, seconds: float) -> float:
    """Return the greatest age of the newest sample in the file, over some time."""
    deadline, oldest = time.monotonic() + seconds, 0.0
    while time.monotonic() < deadline:
        oldest = max(oldest, time.time() - newest(path))
        await asyncio.sleep(0.01)
    return oldest


async def test_sigkill_loses_at_most_a_second_and_the_recording_can_be_continued(
    path: Path,
) -> None:
    lost_s = []
    for turn in range(3):
        before = samples(spans(path)) if turn else 0
        process = await start("record", str(path), "--board", SWINGS, "--interval", "0.02")
        await until_recorded(path, lambda found, least=before + 20: samples(found) > least)  # type: ignore[misc]
        lost_s.append(await watch_ages(path, 2.0))  # had it been killed at the worst moment
        kept = newest(path)
        process.kill()
        await finish(process)
        ended_at = time.time()
        database = sqlite3.connect(path)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        assert kept <= newest(path) <= ended_at
        assert samples(spans(path)) > before + 20
    assert min(lost_s) < 1.0  # where the machine had time for the recorder
    assert len(spans(path)) == 3  # each was another boot


async def test_several_boards_are_recorded_for_a_time_into_one_file(path: Path) -> None:
    boards = ("--board", "sim", "--board", SWINGS)
    done = await run("record", str(path), *boards, "--for", "2s", "--json")
    begun, ended = [json.loads(line) for line in done.out.splitlines()]
    assert begun == {"recording": str(path), "boards": ["sim", SWINGS]}
    assert ended["samples"] == samples(spans(path))
    assert {span.address: span.samples > 0 for span in spans(path)} == {"sim": True, SWINGS: True}
    assert done.status == 0

    listed = await run("record", str(path), "--list")
    assert listed.out.splitlines()[0].split()[:2] == ["BOARD", "BOOT"]
    assert all(len(line) <= 80 for line in listed.out.splitlines())
    listed = await run("record", str(path), "--list", "--json")
    rows = [json.loads(line) for line in listed.out.splitlines()]
    assert [row["samples"] for row in rows] == [span.samples for span in spans(path)]


async def test_a_restarted_board_begins_a_new_span(path: Path) -> None:
    process = await start("record", str(path), "--board", SWINGS)
    await until_recorded(path, lambda found: samples(found) > 5)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), signal.SIGKILL)
    await until_recorded(path, lambda found: len(found) == 2 and found[1].samples > 5)
    _, lost, found, told = [await notice_of(process) for _ in range(4)]
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert done.status == 130
    assert "link lost" in lost
    assert "connected" in found
    assert told.endswith(": the board restarted: nobody knows why")
    assert done.out.startswith(f"{path}: ")
    with Recording(path) as recording:
        first, second = recording.spans()
        assert [link.state for link in recording.links(first)] == ["up", "lost"]
        assert [link.state for link in recording.links(second)] == ["up", "stopped"]
    assert list(path.parent.iterdir()) == [path]


async def test_a_missing_board_is_recorded_once_it_appears(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    late = f"tcp://127.0.0.1:{port}"
    asked = ("record", str(path), "--board", late, "--board", "sim", "--interval", "0.1")
    process = await start(*asked)
    await until_recorded(path, lambda found: samples(found) > 5)
    monkeypatch.setenv("PORT", str(port))
    board = transport_for(f"sim:{APPS / 'serves.py'}")
    await board.open()
    try:
        reading = asyncio.create_task(drained(board))
        await until_recorded(path, lambda found: late in {each.address for each in found})
        await until_recorded(path, lambda found: all(each.samples > 5 for each in found))
        process.send_signal(signal.SIGINT)
        done = await finish(process)
        reading.cancel()
    finally:
        await board.close()
    assert done.status == 130
    told = [line for line in done.err.splitlines() if late in line or "It is tried" in line]
    assert len(told) == 3, done.err  # what is recorded; that it is away, once; that it is there
    assert told[1].endswith(" It is tried again.")
    assert told[2] == f"boardwarden: {late}: connected"
    assert "of 2 boards" in done.out
    with Recording(path) as recording:
        (span,) = recording.spans([late])
        intervals = {sample.figures[0] for sample in recording.samples(span, ["interval_s"])}
        assert intervals == {0.1}


async def drained(board: Transport) -> None:
    while await board.read():
        pass


@pytest.mark.parametrize(
    ("boards", "why"),
    [
        (("/dev/ttyNOPE8", "/dev/ttyNOPE9"), "There is no port /dev/ttyNOPE8"),
        (("sim", "nonsense:7"), "'nonsense:7' is not a board address"),
    ],
)
async def test_an_error_that_waiting_cannot_mend_ends_record_at_once(
    path: Path, boards: tuple[str, ...], why: str
) -> None:
    words = [word for board in boards for word in ("--board", board)]
    done = await run("record", str(path), *words)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert why in done.err
    assert not path.exists()


async def test_a_second_recorder_of_a_file_opens_no_board(path: Path) -> None:
    board = TerminalBoard(FakeBoard())
    board.board.interval_s = 0.05
    try:
        first = await start("record", str(path), "--board", board.port)
        await until_recorded(path, lambda found: samples(found) > 2)
        done = await run("record", str(path), "--board", "/dev/ttyNOPE9")
        assert (done.status, done.err) == (
            2,
            f"boardwarden: Another boardwarden is recording to {path}.\n",
        )
        first.send_signal(signal.SIGINT)
        assert (await finish(first)).status == 130
    finally:
        board.close()


async def test_sigterm_closes_the_recording(path: Path) -> None:
    process = await start("record", str(path), "--board", "sim", "--json")
    await line_of(process)
    process.terminate()
    done = await finish(process)
    assert done.status == 0
    assert json.loads(done.out)["samples"] == samples(spans(path)) >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
async def test_a_full_disk_is_one_sentence_and_keeps_what_was_written(path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", LIMITED]
    asked = ("record", str(path), "--board", SWINGS, "--interval", "0.02")
    done = await run(*asked, command=command)
    assert done.status == 2
    assert done.err.splitlines()[-1].startswith(f"boardwarden: {path} cannot be written: ")
    assert "is in it." in done.err
    assert len(done.err.splitlines()) == 2
    kept = samples(spans(path))
    assert kept > 10
    assert (await run(*asked, "--for", "1s")).status == 0  # once there is room again
    assert samples(spans(path)) > kept


async def test_progress_is_shown_on_a_terminal_and_removed(path: Path) -> None:
    environment = {"TERM": "xterm", "COLUMNS": "40", "LINES": "24"}
    boards = ("--board", "sim", "--board", "/dev/ttyNOPE8")
    command = CommandOnTerminal("record", str(path), *boards, environment=environment)
    try:
        await command.until(b"samples")
        await command.until("NOPE8: is t…".encode())  # with room for a ^C in the same line
        command.interrupt()
        assert await command.status() == 130
        last = command.seen.decode().rstrip().splitlines()[-1]
        assert f"{path.name}: " in last, command.seen  # the summary is the last line
        assert command.seen.rindex(b"\x1b[?25h") > command.seen.rindex(b"\x1b[?25l")
    finally:
        await command.close()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--board", "/dev/none"), "/dev/none"),
        ((), "Which board?"),
        (("--board", "sim", "--for", "soon"), "--for must be a duration"),
        (("--board", "sim", "--rotate-size", "big"), "--rotate-size must be"),
        (("--board", "sim", "--interval", "0"), "--interval must be"),
        (("--board", "sim", "--keep", "2"), "--keep goes with"),
        (("--list",), "There is no recording"),
    ],
)
async def test_an_error_of_record_is_one_sentence(
    path: Path, arguments: tuple[str, ...], why: str
) -> None:
    done = await run("record", str(path), *arguments)
    assert done.status == 2
    assert len(done.err.splitlines()) == 1
    assert why in done.err
    assert not path.exists()
