"""Keeps a third and two thirds of its heap by turns; a threshold watches, and a host may."""

import asyncio

import warden

CHUNK = 10_000


async def main():
    warden.start(interval_ms=50, budget_permille=1000)
    warden.threshold("memory")
    warden.threshold("live_bytes", 600_000, 1_200_000, 300_000, 120)
    kept = []
    while True:
        for chunks in (0, 40, 90, 150, 60):
            del kept[chunks:]
            while len(kept) < chunks:
                kept.append(bytearray(CHUNK))
            await asyncio.sleep_ms(350)


asyncio.run(main())
