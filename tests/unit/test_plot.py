"""Pictures of recordings: what is drawn, broken and marked; and the command."""

from __future__ import annotations

import itertools
import json
import math
import struct
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cli_process import COMMAND, kill_started, run

from boardwarden import plot_data
from boardwarden.errors import RecordingError
from boardwarden.grants import Event
from boardwarden.history import HistorySlot, Statistics
from boardwarden.models import Identity
from boardwarden.plot_data import MAX_POINTS, METRICS, Band, Drawn, Line, read
from boardwarden.plot_picture import draw, figure, scale
from boardwarden.recording import schema
from boardwarden.recording.reading import Recording, Remembered
from boardwarden.recording.schema import FIGURES, Boot, Row
from boardwarden.recording.store import Store

NOON = datetime(2024, 5, 31, 12, tzinfo=timezone.utc).timestamp()
MEMORY = {"total_bytes": 200_000, "used_bytes": 90_000, "live_bytes": 50_000, "interval_s": 1.0}
STORAGE = {"mount": "/", "usage": 0.25}
WATCHED = {"metric": "memory", "warn": 0.75, "critical": 0.9}


def boot(number: int = 1, address: str = "sim") -> Boot:
    return schema.boot(address, Identity(boot_id=number))


def sample(second: float, of: Boot | None = None, **figures: float) -> Row:
    values = {**MEMORY, "cpu": 0.5, **figures}
    got = tuple(values.get(name) for name in FIGURES)
    return Row(of or boot(), "sample", (round(second * 1000), NOON + second, *got))


def recorded(path: Path, *given: Row) -> Recording:
    store = Store(path, clock=lambda: NOON)
    store.open()
    store.write(given)
    store.close()
    return Recording(path)


@pytest.fixture(autouse=True)
async def _ended():  # type: ignore[no-untyped-def]
    yield
    await kill_started()


def some(path: Path) -> Recording:
    """Return a recording with a lost link, a restart, a storage that fills, and events."""
    first, second = boot(1), boot(2)
    return recorded(
        path,
        schema.change(first, NOON, "storage", None, [STORAGE]),
        schema.change(first, NOON, "thresholds", None, [WATCHED]),
        *(sample(at) for at in range(10)),
        schema.link(first, NOON + 9.3, "lost"),
        schema.link(first, NOON + 10.8, "up"),
        *(sample(at) for at in range(11, 20)),
        schema.change(first, NOON + 15, "storage", None, [{**STORAGE, "usage": 0.5}]),
        schema.event(first, NOON + 5, Event(0, "threshold", 5.0, "memory", "critical", 0.95)),
        schema.event(first, NOON + 6, Event(1, "operation", 6.0, 7, "began")),
        schema.change(second, NOON + 40, "thresholds", None, [WATCHED]),
        *(sample(at, second) for at in range(40, 50)),
    )


def test_lines_are_broken_where_samples_are_missing(path: Path) -> None:
    drawn = read(some(path), ["cpu"])
    first, second = drawn.panels["cpu"]
    assert [len(piece) for piece in first.pieces] == [10, 9]
    assert [len(piece) for piece in second.pieces] == [10]
    gaps = [(gap.begin - NOON, gap.end - NOON) for gap in drawn.gaps]
    assert gaps == [(9, 11), (19, 40)]
    assert [restart.at - NOON for restart in drawn.restarts] == [40]
    (panel, events) = figure(drawn, "").axes
    breaks = [math.isnan(y) for y in panel.lines[0].get_ydata()]
    assert breaks == [*[False] * 10, True, *[False] * 9, True]
    assert panel.get_ylabel() == "CPU (%)"
    assert max(y for y in panel.lines[0].get_ydata() if not math.isnan(y)) == 50
    assert len(panel.patches) == 2  # grey
    names = {text.get_text() for text in events.get_yticklabels()}
    assert names == {"threshold memory critical (1)", "operation began (1)"}


def test_a_time_gap_breaks_the_line_but_a_slow_interval_does_not(path: Path) -> None:
    slow = [sample(at, interval_s=10.0) for at in (100, 110, 120)]
    drawn = read(recorded(path, sample(1), sample(2), sample(9), sample(10), *slow), ["memory"])
    assert [(gap.begin - NOON, gap.end - NOON) for gap in drawn.gaps] == [(2, 9), (10, 100)]


def test_a_time_without_samples_is_a_gap_however_many_events_it_has(path: Path) -> None:
    """At the end of a boot, and a whole boot: its sampling was stopped, or nobody had the time."""

    def events(of: Boot, begin: int) -> list[Row]:
        times = range(begin, begin + 20)
        return [
            schema.event(of, NOON + at, Event(at, "lease", float(at), 1, "expired")) for at in times
        ]

    began = itertools.chain([NOON], itertools.repeat(NOON + 38))
    store = Store(path, clock=began.__next__)
    store.open()
    store.write([*(sample(at) for at in range(3)), *events(boot(), 3)])
    store.write(events(boot(2), 40))
    store.close()
    drawn = read(Recording(path), ["cpu"])
    gaps = [(gap.begin - NOON, gap.end - NOON) for gap in drawn.gaps]
    assert gaps == [(2, 22), (38, 59)]
    assert drawn.window[1] == NOON + 59
    assert len(drawn.events) == 40
    assert read(Recording(path), ["cpu"], window=(NOON, NOON + 2)).gaps == []


def test_threshold_levels_are_drawn_in_the_panels_unit(path: Path) -> None:
    drawn = read(some(path))
    assert list(drawn.panels) == ["memory", "cpu", "storage"]  # no loop lag was told
    assert [(level.name, level.value) for level in drawn.levels["memory"]] == [
        ("warn", 150_000),
        ("critical", 180_000),
    ]
    assert [line.name for line in drawn.panels["memory"]][:3] == ["heap", "used", "live"]


def test_storage_is_drawn_level_until_it_changes(path: Path) -> None:
    line, *_ = read(some(path), ["storage"]).panels["storage"]
    points = [(at - NOON, usage) for at, usage in line.pieces[1]]
    assert points == [(11, 0.25), (15, 0.25), (15, 0.5), (19, 0.5)]


def test_the_boards_history_of_storage_is_of_its_first_mount_though_that_has_no_usage(
    path: Path,
) -> None:
    slot = HistorySlot(0.0, 60.0, storage=Statistics(10.0, 20.0, 30.0))
    mounts = [
        {"mount": "/", "usage": None, "total_bytes": None},
        {"mount": "/sd", "usage": 0.5, "total_bytes": 100},
    ]
    given = [
        schema.change(boot(), NOON, "storage", None, mounts),
        *(sample(at) for at in (0, 60)),
        schema.history(boot(), NOON, slot),
    ]
    with recorded(path, *given) as recording:
        (sd,) = read(recording, ["storage"]).panels["storage"]
    assert (sd.name, sd.bands) == ("/sd", ())
    assert {figure for piece in sd.pieces for _, figure in piece} == {0.5}
    mounts[0]["usage"], mounts[0]["total_bytes"] = 0.1, 40
    later = schema.change(boot(), NOON + 60, "storage", None, mounts)
    with recorded(path, later) as recording:
        root, sd = sorted(read(recording, ["storage"]).panels["storage"])
    assert [band.greatest for band in root.bands] == [30 / 40]
    assert not sd.bands


def test_a_gap_is_looked_for_in_the_history_of_its_own_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps = 100
    given = []
    for number in range(gaps):
        begin = 6000 * number
        given += [sample(begin), sample(begin + 3000)]
        for minute in range(begin, begin + 3000, 60):
            slot = HistorySlot(minute, 60.0, Statistics(1.0, 2.0, 3.0))
            given.append(schema.history(boot(), NOON + minute, slot))
    looked_at = 0

    def end(remembered: Remembered) -> float:
        nonlocal looked_at
        looked_at += 1
        return remembered.at + remembered.slot.step_s

    monkeypatch.setattr(plot_data, "_end", end)
    drawn = read(recorded(path, *given), ["live_bytes"])
    assert drawn.slots == 50 * gaps
    assert looked_at < 10 * drawn.slots


def test_a_window_of_time_and_some_boards_can_be_chosen(path: Path) -> None:
    other = boot(9, "tcp://b:1")
    recording = recorded(path, *(sample(at) for at in range(10)), sample(3, other))
    drawn = read(recording, ["cpu"], window=(NOON + 2, NOON + 4))
    assert (drawn.samples, drawn.boards) == (4, ["sim", "tcp://b:1"])
    panel = figure(drawn, "").axes[0]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["sim", "tcp://b:1"]
    assert read(recording, addresses=["tcp://b:1"]).samples == 1
    with pytest.raises(RecordingError, match=r"There is no board x in .*; there are: sim, tcp"):
        read(recording, addresses=["x"])
    with pytest.raises(RecordingError, match=r"no samples in that time; .* goes from 2024-05-31"):
        read(recording, window=(0, 1))
    with pytest.raises(RecordingError, match=r"No board in .* has rssi_dbm"):
        read(recording, ["rssi_dbm"])


def test_a_thinned_line_keeps_its_minima_and_maxima(path: Path) -> None:
    spikes = {7_777: 1.0, 15_001: 0.0}
    given = (sample(at, cpu=spikes.get(at, 0.5)) for at in range(20_000))
    (line,) = read(recorded(path, *given), ["cpu"]).panels["cpu"]
    (piece,) = line.pieces
    assert len(piece) <= MAX_POINTS
    assert {y for _, y in piece} == {0.0, 0.5, 1.0}
    assert piece == sorted(piece)


def test_every_metric_can_be_drawn_in_its_unit(path: Path) -> None:
    figures = dict.fromkeys(FIGURES, 1.0)
    recording = recorded(path, schema.change(boot(), NOON, "storage", None, [STORAGE]),
                         sample(1, **figures), sample(2, **figures))  # fmt: skip
    drawn = read(recording, list(METRICS))
    assert len(figure(drawn, "all").axes) == len(METRICS)
    assert scale("bytes", [2_000_000]).unit == "MB"
    assert scale("bytes", [999]) == (1.0, "B")
    assert scale("s", [0.02]) == (1000.0, "ms")
    assert scale("s", [2]).unit == "s"
    assert scale("bytes/s", [5000]).unit == "KB/s"
    assert scale("", []) == (1.0, "")


def test_a_picture_has_the_format_of_its_suffix(path: Path) -> None:
    drawn = read(some(path))
    png = draw(drawn, "a title", "png")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert 1000 <= width <= 1400
    assert height > 600
    svg = draw(drawn, "a title", "svg")
    for text in ("a title", "memory (KB)", "CPU (%)", "dotted: a restart", "grey: nothing"):
        assert text in svg.decode()


def test_a_single_sample_is_drawn_as_a_point(path: Path) -> None:
    change = schema.change(boot(), NOON, "storage", None, [STORAGE])
    made = figure(read(recorded(path, change, sample(1))), "one")
    for panel in made.axes:
        dots = [line for line in panel.get_lines() if line.get_marker() == "."]
        assert dots, panel.get_ylabel()
        assert all(line.get_xdata()[0] == (NOON + 1) / 86_400 for line in dots)


def test_a_restart_is_marked_with_its_cause_and_red_if_it_was_not_expected(path: Path) -> None:
    lists = [
        [{"cause": "pwron", "expected": True, "boot": 1}],
        [{"cause": "pwron", "expected": True, "boot": 1}, {"cause": "wdt", "expected": False}],
    ]
    lists += [lists[1], [{"cause": "hard", "expected": True, "boot": 9}], []]
    rows = [
        row
        for number, kept in enumerate(lists)
        for row in (
            schema.change(boot(number), NOON + 20 * number, "resets", None, kept),
            *(sample(at, boot(number)) for at in range(20 * number, 20 * number + 5)),
        )
    ]
    drawn = read(recorded(path, *rows), ["cpu"])
    assert [(each.at - NOON, each.cause, each.expected) for each in drawn.restarts] == [
        *((20, "wdt", False), (40, None, None), (60, "hard", True), (80, None, None)),
    ]
    made = figure(drawn, "restarts")
    assert [text.get_text() for text in made.axes[0].texts] == [" wdt", " hard"]
    lines = [each for each in made.axes[0].lines if each.get_linestyle() == ":"]
    assert [each.get_color() for each in lines] == ["#d62728", "black", "black", "black"]
    assert "red: unexpected" in made.axes[0].get_xlabel()


def test_labels_of_close_levels_do_not_overlap(path: Path) -> None:
    made = figure(read(some(path), ["memory"]), "levels")
    found = {text.get_text(): text.get_va() for text in made.axes[0].texts}
    assert found == {"warn": "top", "critical": "bottom"}


# --- the command --------------------------------------------------------------------------------


async def test_the_command_draws_the_last_minutes_of_a_recording(path: Path) -> None:
    some(path).close()
    done = await run("plot", str(path), "--last", "5s", "--metric", "loop-lag-worst")
    assert (done.status, done.err) == (
        2,
        f"boardwarden: No board in {path} has loop_lag_worst in that time.\n",
    )
    out = path.with_suffix(".svg")
    asked = ("--last", "15s", "--until", "2024-05-31T12:00:45Z", "--metric", "cpu")
    done = await run("plot", str(path), *asked, "-o", str(out), "--json")
    assert done.status == 0
    told = json.loads(done.out)
    assert told["since"].startswith("2024-05-31T12:00:40")
    assert told["samples"] == 6
    assert told["metrics"] == ["cpu"]
    assert out.read_bytes().startswith(b"<?xml")
    done = await run("plot", str(path))
    assert done.out.startswith(str(path.with_suffix(".png")))
    assert "1 board, 29 samples, 2 events, 2 gaps, over 49 s" in done.out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--out", "a.pdf"), "must be a .png or .svg"),
        (("--metric", "speed"), "There is no metric 'speed' to draw; there are memory, cpu"),
        (("--since", "tomorrow"), "--since must be a moment"),
        (("--since", "13:00", "--until", "12:00"), "--since must be before --until"),
        (("--since", "13:00", "--last", "5m"), "--last goes with --until"),
        (("--last", "-5"), "--last must be a duration"),
        (("--board", "x"), "There is no board x"),
        (("--out", "/none/a.png"), "/none/a.png cannot be written: no such file or directory."),
    ],
)
async def test_an_error_of_plot_is_one_sentence(
    path: Path, arguments: tuple[str, ...], why: str
) -> None:
    some(path).close()
    done = await run("plot", str(path), *arguments)
    assert done.status == 2
    assert why in done.err
    assert len(done.err.splitlines()) == 1


async def test_a_failed_write_leaves_the_previous_picture(path: Path) -> None:
    some(path).close()
    out = path.with_suffix(".png")
    out.write_bytes(b"the one before")
    # Blocks, as on a full disk; measuring its coverage would write a file as well.
    limit = 'unset COVERAGE_PROCESS_CONFIG; ulimit -f 8; exec "$0" "$@"'
    small = ["sh", "-c", limit, *COMMAND]
    done = await run("plot", str(path), command=small)
    assert (done.status, done.err) == (
        2,
        f"boardwarden: {out} cannot be written: file too large.\n",
    )
    assert out.read_bytes() == b"the one before"
    assert {file.name for file in path.parent.iterdir()} == {path.name, out.name}


async def test_a_time_without_a_date_is_local_and_of_today(path: Path) -> None:
    some(path).close()
    now = time.strftime("%Y-%m-%d 01:02:03", time.localtime())
    done = await run("plot", str(path), "--since", "1:02:03", "--until", f"{now[:10]}T23:59:59")
    assert "There are no samples in that time" in done.err


async def test_without_matplotlib_the_error_names_the_extra(path: Path, tmp_path: Path) -> None:
    some(path).close()
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not installed')")
    done = await run("plot", str(path), PYTHONPATH=str(tmp_path))
    assert done.status == 2
    assert "pip install 'boardwarden[plot]'" in done.err


def test_all_bands_of_a_line_are_drawn_at_once() -> None:
    bands = [Band(60.0 * at, 60.0 * at + 60, 1.0, 3.0) for at in range(0, 1000, 2)]
    line = Line("fake", "live", [[(0.0, 2.0), (60_000.0, 2.0)]], tuple(bands))
    drawn = Drawn((0.0, 60_000.0), ["fake"], {"live_bytes": [line]}, {}, [], [], [])
    (panel,) = figure(drawn, "title").axes
    (filled,) = panel.collections  # one by one, a thousand of them took a minute
    assert len(filled.get_paths()) == len(bands)
