"""What the live view draws and keeps, without a terminal."""

from __future__ import annotations

from types import SimpleNamespace

from boardwarden.grants import Operation
from boardwarden.history import Column, History
from boardwarden.models import Cpu, Memory, Status
from boardwarden.render.text import Printable
from boardwarden.tui.feed import Tail, Track, every
from boardwarden.tui.figures import Plot
from boardwarden.tui.panels import _done


def drawn(rows):
    """Return rows of styled characters as text."""
    return ["".join(char for char, _ in row) for row in rows]


def test_an_area_ends_at_the_right_and_reaches_as_high_as_its_figures():
    rows = drawn(Plot(6, 2, 16.0).area([0, None, 4, 8, 12, 16], "red"))
    assert rows == ["    ▄█", "▁ ▄███"]


def test_figures_above_the_top_are_drawn_at_the_top_and_a_missing_top_is_allowed():
    assert drawn(Plot(3, 1, 10.0).area([99], "red")) == ["  █"]
    assert drawn(Plot(3, 1, 0.0).area([99], "red")) == ["  ▁"]
    assert drawn(Plot(0, 1, 1.0).area([1], "red")) == [""]


def test_live_memory_is_solid_and_garbage_shaded():
    rows = drawn(Plot(2, 4, 32.0).memory([8, 12], [24, 16]))
    assert rows == ["  ", "░ ", "░▄", "██"]


def test_only_the_newest_figures_are_drawn():
    assert drawn(Plot(2, 1, 8.0).area([8, 8, 1, 8], "red")) == ["▁█"]


def test_an_interval_that_is_written_as_the_one_asked_for_is_not_said_to_be_over_budget():
    shown = [
        every(SimpleNamespace(status=Status(interval_s=actual, wanted_interval_s=1.0)))
        for actual in (1.0, 1.02, 1.1)
    ]
    over = "a sample every 1.1 s, 1 s is over budget"
    assert shown == ["a sample every 1 s", "a sample every 1 s", over]


def test_a_progress_bar_shows_its_fraction():
    done = [_done(Operation(progress=each)) for each in (None, 0.0, 0.5, 1.0, 7.0)]
    assert done == [
        "–",
        "░" * 10 + " 0 %",
        "█████░░░░░ 50 %",
        "█" * 10 + " 100 %",
        "█" * 10 + " 700 %",
    ]


def sample(uptime_s, used=1):
    """Return a status with a few figures."""
    return Status(memory=Memory(used_bytes=used), cpu=Cpu(uptime_s=uptime_s), interval_s=1.0)


def test_a_track_keeps_the_last_600_samples_and_its_gaps():
    track = Track()
    for number in range(700):
        track.add(sample(number, number))
    assert track.last("used", 3) == [697, 698, 699]
    assert len(track.last("used", 9999)) == 600
    assert track.span_s(11) == 10
    track.gap()
    track.gap()
    track.add(sample(0, 5))
    assert track.last("used", 3) == [699, None, 5]
    assert track.span_s(3) is None


def test_a_late_sample_leaves_a_gap():
    track = Track()
    for uptime_s in (1, 2, 4, 12, 13):
        track.add(sample(uptime_s, uptime_s))
    assert track.last("used", 9) == [1, 2, 4, None, 12, 13]
    assert track.span_s(6) == 12


def test_after_a_gap_the_figures_of_a_sample_still_stand_in_one_column():
    """Also where one of them was not known before it: live memory, until the first collection."""
    track = Track()
    for uptime_s in (1, 12):
        track.add(sample(uptime_s, uptime_s))
    assert (track.last("used", 3), track.last("live", 3)) == ([1, None, 12], [None] * 3)


def remembered(newest_s, *columns):
    """Return a history of these: a tier, a metric, a step in seconds and means, oldest first."""
    history = History()
    for tier, metric, step_s, means in columns:
        history.put(tier, metric, 1, Column(newest_s, step_s, means))
    return history


def test_a_track_begins_with_the_boards_history():
    track = Track()
    track.add(sample(100, 7))
    track.add(sample(101, 8))
    seconds = (0, 0, 1.0, (None, 98.0, 99.0, 100.0))
    minutes = (1, 0, 60.0, (60.0,))  # ends with the seconds, and reaches 20 s back from zero's 40
    track.recall(remembered(100.0, seconds, minutes, (0, 1, 1.0, (0.5,) * 4)), 1.0)
    assert track.last("live", 4) == [98.0, 99.0, None, None]
    assert track.last("live", 9)[:3] == [60.0, 60.0, 60.0]
    assert len(track.last("live", 999)) == 60 + 1
    assert track.last("used", 4) == [None, None, 7, 8]
    assert track.last("cpu", 3) == [0.5, None, None]
    assert track.span_s(999) == 60


def test_history_is_drawn_at_the_boards_interval():
    track = Track()
    track.add(sample(100))
    track.recall(remembered(100.0, (0, 0, 1.0, (97.0, 98.0, 99.0, 100.0))), 0.5)
    assert track.last("live", 9) == [97.0, 97.0, 98.0, 98.0, 99.0, 99.0, 100.0, None]


def test_empty_history_or_no_samples_leave_a_track_as_it_is():
    track = Track()
    track.recall(remembered(10.0, (0, 0, 1.0, (1.0,))), 1.0)
    assert track.last("uptime", 9) == []
    track.add(sample(10))
    for history, step_s in ((History(), 1.0), (remembered(10.0, (0, 0, 0.0, (1.0,))), 1.0)):
        track.recall(history, step_s)
    track.recall(remembered(10.0, (0, 0, 1.0, (1.0,))), 0.0)
    assert track.last("uptime", 9) == [10]


def test_a_full_track_drops_no_sample_for_history():
    track = Track()
    for number in range(600):
        track.add(sample(1000 + number, number))
    track.recall(remembered(1000.0, (0, 0, 1.0, (1.0,) * 60)), 1.0)
    assert track.last("used", 1) == [599]
    assert len(track.last("used", 9999)) == 600


def test_a_tail_keeps_its_end_and_positions():
    tail = Tail()
    tail.put("one ")
    place = tail.end
    tail.put("two ")
    assert (tail.since(0), tail.since(place), tail.since(tail.end)) == ("one two ", "two ", "")
    for _ in range(200):
        tail.put("x" * 1000)
    assert len(tail.since(0)) <= 65_536


def test_control_sequences_are_removed_however_the_text_is_cut():
    text = "a\x1b[1;31mb\x1b[0m\r\nc\rd\x1b]0;title\x07e\x00\tf\x1b7g"
    for cut in range(len(text)):
        printable = Printable()
        found = printable.feed(text[:cut]) + printable.feed(text[cut:])
        assert found == "ab\nc\nde\ufffd\tfg"
