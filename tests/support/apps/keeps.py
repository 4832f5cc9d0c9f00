"""Keeps 300 KB more as soon as it is asked to: when it sees the file `keep` appear."""

import asyncio
import os

import warden


async def main():
    warden.start(interval_ms=200, budget_permille=1000)
    kept = None
    while True:
        if kept is None and "keep" in os.listdir():
            kept = [bytearray(3000) for _ in range(100)]
            print("kept", len(kept))
        await asyncio.sleep_ms(20)


asyncio.run(main())
