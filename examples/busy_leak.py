"""An application with faults to see: it works 30 ms in every 100, litters, and forgets to forget.

The demo runs it: CPU settles at 30 %, used memory climbs until a collection, and what each
collection leaves grows by 20 KB a second. After a minute it lets go and starts over.
"""

import asyncio
import time

import warden

PERIOD_MS = 100
BUSY_MS = 30
LITTER_BYTES = 60_000
LEAK_BYTES = 2_000
TURNS = 600


def work(ms):
    """Keep the core busy for so many milliseconds."""
    start = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < ms:
        pass


async def main():
    """Work, litter and leak, and say so every five seconds."""
    warden.start()
    kept = []
    next_ms = time.ticks_ms()
    while True:
        bytearray(LITTER_BYTES)
        kept.append(bytearray(LEAK_BYTES))
        work(BUSY_MS)
        if len(kept) % 50 == 0:
            print(f"worked {len(kept)} times, ≈ {BUSY_MS} ms each ⚙")
        if len(kept) == TURNS:
            kept.clear()
        next_ms = time.ticks_add(next_ms, PERIOD_MS)
        await asyncio.sleep_ms(max(0, time.ticks_diff(next_ms, time.ticks_ms())))


asyncio.run(main())
