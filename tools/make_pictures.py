"""Draw the pictures of the documentation: the live view of a simulated board at work.

    python tools/make_pictures.py

It takes half a minute: so much of the board's life is in the picture.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from boardwarden.tui.app import WatchApp
from boardwarden.tui.feed import Feed

REPO = Path(__file__).resolve().parent.parent
APPLICATION = REPO / "tools" / "pictures" / "tracker.py"
PICTURE = REPO / "docs" / "pictures" / "watch.svg"
_SIZE = (112, 38)
_FIGURES_S = 32.0
_BETWEEN_S = 0.25
_MOST_S = 90.0


async def picture() -> str:
    """Return the live view as SVG, taken while there is something to see."""
    feed = Feed(f"sim:{APPLICATION}", f"sim:{APPLICATION.name}")
    app = WatchApp([feed])
    app.title = "boardwarden watch"
    try:
        await feed.open()
        async with app.run_test(size=_SIZE) as pilot:
            waited = 0.0
            while waited < _FIGURES_S or not (_is_busy(feed) or waited > _MOST_S):
                await pilot.pause(_BETWEEN_S)
                waited += _BETWEEN_S
            app.show()
            await pilot.pause()
            return app.export_screenshot()
    finally:
        await feed.close()


def _is_busy(feed: Feed) -> bool:
    """Tell whether two operations are half-way."""
    board = feed.board
    return board is not None and sum(0.2 < (op.progress or 0) < 0.9 for op in board.operations) > 1


def lasting(svg: str) -> str:
    """Return the picture without what differs each time and shows nothing."""
    return re.sub(r"terminal-\d+", "terminal", svg)


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(lasting(asyncio.run(picture())), encoding="utf-8")
    print(PICTURE.relative_to(REPO))
