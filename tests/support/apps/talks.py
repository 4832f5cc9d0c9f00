"""Prints two thousand numbered lines of UTF-8 while frames flow, in pieces of odd sizes."""

import asyncio
import sys

import warden

_LINE = "№ {} – grüße, 日本語, ☃, \U0001f40d\n"


async def main():
    warden.start(interval_ms=20, budget_permille=1000)
    for number in range(2000):
        line = _LINE.format(number)
        cut = number % len(line)
        sys.stdout.write(line[:cut])
        sys.stdout.write(line[cut:])
        if number % 7 == 0:
            await asyncio.sleep_ms(2)
    while True:
        await asyncio.sleep_ms(1000)


asyncio.run(main())
