"""A small sensor station: the application of the simulated board when you name none.

It wakes every 100 ms, keeps the last readings, and prints one line every five seconds.
"""

import asyncio
import math

import warden

READINGS = 60


async def measure(readings):
    """Take a reading every 100 ms; a real station would ask its sensor here."""
    turn = 0
    while True:
        readings.append(21.5 + 3 * math.sin(turn / 40))
        if len(readings) > READINGS:
            readings.pop(0)
        turn += 1
        await asyncio.sleep_ms(100)


async def report(readings):
    """Print the mean of the readings every five seconds."""
    while True:
        await asyncio.sleep_ms(5000)
        mean = sum(readings) / len(readings)
        print(f"mean of the last {len(readings)} readings: {mean:.1f} °C")


async def main():
    """Start the agent and both tasks."""
    warden.start()
    readings = []
    await asyncio.gather(measure(readings), report(readings))


asyncio.run(main())
