"""What the live view looks like; renew with pytest --snapshot-update, and look at the pictures."""

from __future__ import annotations

import pytest

pytest.importorskip("textual")

from tui_boards import busy_board, feed_of, live, sample, until

from boardwarden.errors import PortMissing
from boardwarden.tui import feed as feeds
from boardwarden.tui.app import WatchApp


@pytest.fixture(autouse=True)
def _never_old(monkeypatch):
    """Seconds may pass before a picture is taken, on a busy machine."""
    monkeypatch.setattr(feeds, "old_figures", lambda board: "")


@pytest.fixture
def board():
    """Return a board that has something of everything."""
    return busy_board()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_board(board, snap_compare, size):
    feed, _ = feed_of(board)

    async def look(pilot):
        await live(pilot, feed, board)
        board.policy.happen("threshold", 0, "critical", 912)
        board.policy.happen("lease", 6, "expired", 4096)
        board.print("uploaded 40 positions\nuploading 41 …\n")
        await sample(feed, board)
        await until(pilot, lambda: feed.console.end and feed.events.end > 1 and feed.board.meters)

    assert snap_compare(WatchApp([feed]), terminal_size=size, run_before=look)


@pytest.mark.parametrize("panel", ["2", "3", "4", "5", "6", "8"])
def test_each_panel(board, snap_compare, panel):
    feed, _ = feed_of(board)

    async def look(pilot):
        await live(pilot, feed, board, 3)
        board.policy.happen("threshold", 0, "critical", 912)
        board.print("uploaded 40 positions\n\x1b[31muploading\x1b[0m [b]41[/b] …\n")
        await sample(feed, board)
        await until(pilot, lambda: feed.console.end and feed.events.end and feed.board.meters)
        await pilot.press(panel)
        await until(pilot, lambda: True)

    assert snap_compare(WatchApp([feed]), run_before=look)


def test_the_link_is_lost(board, snap_compare, monkeypatch):
    since = "link lost; the last sample came at 12:03:04, 14 s ago"
    monkeypatch.setattr(feeds, "link_state", lambda board: since)
    feed, transport = feed_of(board)

    async def look(pilot):
        await live(pilot, feed, board)
        transport.refuse = PortMissing("There is no port.")
        transport.cut()
        await until(pilot, lambda: not feed.connected)

    assert snap_compare(WatchApp([feed]), run_before=look)


def test_two_boards(board, snap_compare):
    (first, _), other = feed_of(board), busy_board()
    other.policy.used = False
    other.values.update(largest_free_block_bytes=None, cpu_permille=None)
    other.capabilities = bytes([0, 0, 2, 3, *[0] * 10])
    second, _ = feed_of(other, "tcp://192.0.2.7:8765")

    async def look(pilot):
        await live(pilot, first, board)
        await until(pilot, lambda: second.connected)
        await pilot.press("n")
        await until(pilot, lambda: True)

    assert snap_compare(WatchApp([first, second]), run_before=look)


def test_in_no_colour(board, snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    feed, _ = feed_of(board)
    app = WatchApp([feed])

    async def look(pilot):
        await live(pilot, feed, board)
        await pilot.press("4")
        await until(pilot, lambda: True)

    assert snap_compare(app, run_before=look)


def test_a_question(board, snap_compare):
    feed, _ = feed_of(board)

    async def look(pilot):
        await live(pilot, feed, board, 3)
        await pilot.press("x")
        await until(pilot, lambda: len(pilot.app.screen_stack) > 1)

    assert snap_compare(WatchApp([feed]), run_before=look)
