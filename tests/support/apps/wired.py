"""Uses a line of its own, which the environment names, as a board would use a UART."""

import asyncio
import os

import warden

LINE = open(os.getenv("LINE"), "r+b", 0)  # noqa: SIM115, open as long as the board runs


async def main():
    warden.start(interval_ms=100, budget_permille=1000, link=LINE)
    while True:
        print("the other line is the application's")
        await asyncio.sleep_ms(100)


asyncio.run(main())
