"""Fake boards for tests of the live view, which tell the same each time."""

import asyncio
import contextlib

from boardwarden.testing import FakeBoard, FakeTransport
from boardwarden.tui.app import WatchApp
from boardwarden.tui.feed import Feed
from warden_schema import ids

LIMIT_S = 60.0
HOURS_MS = 2 * 3600_000 + 3 * 60_000 + 30_000  # "2 h 3 min", for half a minute to come
SAMPLES = 40


def busy_board():
    """Return a board that has something of everything."""
    board = FakeBoard()
    board.answer[ids.HISTORY_READ] = lambda arguments: (ids.OK, [0, 1, 1, b""])  # it just began
    board.values.update(threads=2, largest_free_block_bytes=110_000, total_bytes=240_000)
    policy = board.policy
    policy.used = True
    policy.tables[ids.LEASE] = {
        0: [7, 0, 8192, "upload", 1, None, 5, HOURS_MS, True, None],
        1: [8, 2, 250, "map", 0, None, 5, HOURS_MS, False, None],
    }
    policy.tables[ids.OPERATION] = {
        0: [3, "upload", 2, 1, 420, "positions", None, 5, HOURS_MS, 8192, None],
        1: [4, "map", 0, 2, 0, "", None, 5, HOURS_MS, None, "preempted"],
        2: [5, "report", 1, 0, 0, "", None, 5, HOURS_MS, None, None],
    }
    policy.tables[ids.THRESHOLD] = {
        0: [0, 750, 900, 650, 1000, 1, 2, 912],
        1: [5, 30, 200, 10, 0, 0, 0, None],
    }
    policy.tables[ids.METER] = {
        0: [1, "position [x]", 0, 2, 12, 1, 40, None],
        1: [2, "map", 0, 0, 180, 45, 4, 8],
        2: [3, "reader", 1, 1, None, None, None, None],
    }
    policy.crash_lists[ids.RESTART] = [
        [1, "pwron", 3, 2, 11, None, None, None, None, None, None, None],
        [2, "wdt", 0, 1, 12, 4000, "upload", 51_200, 30_720, 84, 1, None],
    ]
    text = b"main.py:91 main\nlib/net.py:40 send\nOSError: [Errno 5] EIO\n"
    policy.crash_lists[ids.EXCEPTION] = [[1, 0, "position [x]", 2, 9, text]]
    return board


class SteadyFeed(Feed):
    """A feed that shows the same latency each time."""

    @property
    def connected(self):
        """Return whether its board is there."""
        return self.board is not None and self.board.connected

    async def _measure(self, board):
        self.latency_s = 0.012


def feed_of(board, name="/dev/ttyACM0"):
    """Return the feed of a fake board, and the way to it."""
    transport = FakeTransport(board, name)
    return SteadyFeed(transport, name), transport


async def until(pilot, true):
    """Wait until something is true of the app; fail after LIMIT_S."""

    async def look():
        while not true():
            pilot.app.show()
            await pilot.pause(0.01)

    await asyncio.wait_for(look(), LIMIT_S)
    pilot.app.show()
    for _ in range(3):  # a table has its columns' widths once it was idle, and is laid out then
        await pilot.pause()


async def sample(feed, board, **values):
    """Have a board take a sample; wait until the feed has it, which is drawn later."""
    board.sample(**values)
    while feed.track.last("uptime", 1) != [board.values["uptime_s"]]:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def live(pilot, feed, board, samples=SAMPLES):
    """Have a board take samples in which memory fills, is collected, and fills again."""
    await until(pilot, lambda: feed.connected)
    for number in range(samples):
        live_bytes = 50_000 + 1500 * number
        garbage = 8000 * (number % 8)
        await sample(
            feed,
            board,
            live_bytes=live_bytes,
            free_bytes=240_000 - live_bytes - garbage,
            largest_free_block_bytes=110_000 - 1000 * number,
            cpu_permille=100 + 150 * (number % 3),
            loop_lag_worst_ms=45 if number % 5 == 0 else 9,
        )
    await until(pilot, lambda: True)


@contextlib.asynccontextmanager
async def watching(*feeds, size=(80, 24)):
    """Run the live view of some feeds; give its pilot."""
    app = WatchApp(feeds)
    try:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: all(feed.board or feed.problem for feed in feeds))
            yield pilot
    finally:
        for feed in feeds:
            await feed.close()


def screen(app):
    """Return the lines that are on the screen."""
    return [
        "".join(segment.text for segment in strip)
        for strip in app.screen._compositor.render_strips()
    ]


def text(app):
    """Return all that is on the screen."""
    return "\n".join(screen(app))
