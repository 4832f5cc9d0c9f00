"""Has an agent that only measures."""

import asyncio

import warden


async def main():
    warden.start(interval_ms=100, budget_permille=1000, protect=False)
    while True:
        await asyncio.sleep_ms(50)


asyncio.run(main())
