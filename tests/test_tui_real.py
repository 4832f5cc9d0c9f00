"""The live view of a real agent: MicroPython's unix port over a real pseudo-terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("textual")

from tui_boards import text, until, watching

from boardwarden.tui.feed import Feed

TRACKER = Path(__file__).resolve().parent.parent / "tools" / "pictures" / "tracker.py"


async def test_a_board_at_work_is_seen_and_asked():
    feed = Feed(f"sim:{TRACKER}", ping_s=0.2)
    async with watching(feed, size=(120, 40)) as pilot:
        app = pilot.app
        await until(pilot, lambda: "map blocks the loop for" in text(app))
        await until(pilot, lambda: "upload" in text(app) and "176 KB" in text(app))
        await until(pilot, lambda: "loop_lag_worst  WARN" in text(app))
        await until(pilot, lambda: feed.latency_s is not None and feed.events.end > 3)
        await pilot.press("plus")
        await until(pilot, lambda: feed.board.status.wanted_interval_s == 0.2)
        leases = {lease.id for lease in feed.board.allocations if lease.owner == "tiles"}
        await pilot.press("2")
        table = app.query_one("#leases")
        await until(pilot, lambda: table.chosen is not None)
        while int(table.chosen) not in leases:
            await pilot.press("down")
            await until(pilot, lambda: True)
        await pilot.press("x", "y")
        await until(pilot, lambda: not leases & {each.id for each in feed.board.allocations})
        await until(pilot, lambda: "has ended." in " ".join(n.message for n in app._notifications))
