"""The live view of a real agent: MicroPython's unix port over a real pseudo-terminal."""

from __future__ import annotations

import pytest
from free_ports import free_port
from places import APPS, REPO

pytest.importorskip("textual")

from tui_boards import text, until, watching

from boardwarden import connect
from boardwarden.transport import transport_for
from boardwarden.tui.feed import Feed

SERVES = APPS / "serves.py"
TRACKER = REPO / "tools" / "pictures" / "tracker.py"


async def test_the_graphs_begin_with_the_boards_history(monkeypatch):
    """The board ran alone, at another's interval; a host that comes sees what was before it."""
    port = free_port()
    monkeypatch.setenv("PORT", str(port))
    program = transport_for(f"sim:{SERVES}")
    await program.open()
    try:
        said = b""
        while b"listening\n" not in said:
            said += await program.read()
        async with connect(f"tcp://127.0.0.1:{port}") as board:
            await board.start_monitoring(0.5)
            while board.status.cpu.uptime_s < 4:
                await board.wait_sample()
        feed = Feed(f"tcp://127.0.0.1:{port}", "station")
        async with watching(feed) as pilot:
            came = len(feed.board.history.samples)
            await until(pilot, lambda: len(feed.track.last("live", 600)) >= came + 5)
            remembered = feed.track.last("live", 600)[:5]
            total = feed.board.status.memory.total_bytes
            assert all(live is not None and 0 < live < total for live in remembered)
            assert "the last" in text(pilot.app)
    finally:
        await program.close()


async def test_the_live_view_shows_and_controls_a_real_board():
    feed = Feed(f"sim:{TRACKER}", "tracker")
    async with watching(feed, size=(120, 40)) as pilot:
        app = pilot.app
        await until(pilot, lambda: "map blocks the loop for" in text(app))
        await until(pilot, lambda: "upload" in text(app) and "176 KB" in text(app))
        await until(pilot, lambda: "loop_lag_worst  WARN" in text(app))
        await until(pilot, lambda: feed.latency_s is not None and feed.events.end > 3)
        await pilot.press("plus")
        await until(pilot, lambda: feed.board.status.wanted_interval_s == 0.2)

        def tiles():
            return [str(each.id) for each in feed.board.allocations if each.owner == "tiles"]

        await pilot.press("2")
        table = app.query_one("#leases")
        ended = "none"
        # Again if the application ended it first, which makes another a moment later.
        while f"Lease {ended} has ended." not in " ".join(n.message for n in app._notifications):
            # For a moment there may be no lease at all, and nothing that is chosen.
            await until(pilot, lambda: tiles() and table.chosen is not None)
            if table.chosen in tiles():
                ended = table.chosen
                await pilot.press("x", "y")
                await until(pilot, lambda number=ended: number not in tiles())
            else:
                await pilot.press("down")
