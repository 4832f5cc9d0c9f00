"""Runs until there is a file named `end`."""

import asyncio
import os

import warden


async def main():
    warden.start(interval_ms=200)
    while "end" not in os.listdir("."):
        await asyncio.sleep_ms(20)


asyncio.run(main())
