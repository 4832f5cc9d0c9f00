"""Spins 30 ms in every 100, by the clock."""

import asyncio
import time

import warden


async def main():
    warden.start(interval_ms=1000)
    began = time.ticks_ms()
    while True:
        while time.ticks_diff(time.ticks_ms(), began) < 30:
            pass
        began = time.ticks_add(began, 100)
        await asyncio.sleep_ms(max(0, time.ticks_diff(began, time.ticks_ms())))


asyncio.run(main())
