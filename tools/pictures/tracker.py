"""A tracker on a vehicle: the application in the picture of `boardwarden watch`.

It has something of everything that the live view shows: operations with progress, leases, metered
tasks of which one blocks the loop, a threshold that is crossed, and memory that fills and is freed.
"""

import asyncio
import time

import warden

_ROUTE_BYTES = 6000


class Tracker:
    """Positions wait in `route` until an upload takes them away."""

    def __init__(self):
        self.route = []
        self.fixes = 0

    async def follow_position(self):
        """Take a fix ten times a second; what its text leaves behind is garbage."""
        while True:
            self.fixes += 1
            sentence = "$GPGGA,%09d,4807.038,N,01131.000,E*47" % self.fixes
            self.route.append(bytearray(_ROUTE_BYTES))
            for _ in range(40):
                sentence = sentence[1:] + sentence[0]
            await asyncio.sleep_ms(100)

    async def draw_map(self):
        """Draw, which keeps all others waiting: not one await in it."""
        while True:
            async with warden.operation("map", priority=warden.LOW):
                time.sleep_ms(45)
            await asyncio.sleep_ms(250)

    async def upload(self):
        """Send the route in pieces, and say how far it is."""
        while True:
            async with warden.operation("upload", memory=32_000, timeout_ms=30_000) as op:
                pieces = len(self.route)
                for piece in range(pieces):
                    op.check()
                    op.progress(1000 * piece // pieces)
                    await asyncio.sleep_ms(60)
                del self.route[:pieces]
            print("uploaded", pieces, "positions")
            await asyncio.sleep_ms(2500)

    async def fetch_tiles(self):
        """Fetch a map of the next region into a buffer that the board granted."""
        while True:
            with warden.allocate(warden.MEMORY, 180_000, owner="tiles", ttl_ms=90_000) as lease:
                async with warden.operation("tiles", priority=warden.HIGH) as op:
                    lease.commit()
                    for percent in range(100):
                        op.progress(10 * percent)
                        await asyncio.sleep_ms(80)
            print("next region is here")
            await asyncio.sleep_ms(1500)


async def main():
    """Do all of it at once."""
    tracker = Tracker()
    warden.start(interval_ms=250, budget_permille=50)
    warden.threshold("loop_lag_worst", 30, 200, 10, 0, warden.TELL)
    warden.threshold("memory", 600, 850, 500, 0, warden.PROTECT)
    tasks = [
        warden.spawn(tracker.follow_position(), name="position", priority=warden.HIGH),
        warden.spawn(tracker.draw_map(), name="map", priority=warden.LOW),
        warden.spawn(tracker.upload(), name="upload"),
        warden.spawn(tracker.fetch_tiles(), name="tiles"),
    ]
    await asyncio.gather(*tasks)


asyncio.run(main())
