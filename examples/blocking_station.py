"""A station whose display task blocks the loop: drawing takes too long, and everything else waits.

A threshold on the longest step says that the loop is late, and the meters say who keeps it from
running: `boardwarden top --board sim:examples/blocking_station.py` names the display.
"""

import asyncio
import time

import warden


async def measure(readings):
    """Take a reading every 50 ms, as far as the others let it."""
    while True:
        readings.append(21.5)  # your sensor
        del readings[:-100]
        await asyncio.sleep_ms(50)


async def upload(readings):
    """Send the readings every two seconds, in an operation that says how far it is."""
    while True:
        async with warden.operation("upload", memory=4096) as op:
            for part in range(20):
                op.progress(1000 * part // 20)
                await asyncio.sleep_ms(100)
        await asyncio.sleep_ms(2000)


async def draw():
    """Draw the display in one go, up to a second without a single await."""
    took_ms = 300
    while True:
        time.sleep_ms(took_ms)  # your driver, which waits for each pixel
        print(f"drawn in {took_ms} ms")
        took_ms = took_ms + 100 if took_ms < 900 else 300
        await asyncio.sleep_ms(300)


async def main():
    """Start the agent and the tasks, each with a name for its meter."""
    warden.start(interval_ms=1000, budget_permille=50)
    warden.threshold("loop_lag_worst", 200, 700, 120)  # ms
    readings = []
    warden.spawn(measure(readings), name="sensor", priority=warden.HIGH)
    warden.spawn(upload(readings), name="upload")
    await warden.spawn(draw(), name="display", priority=warden.LOW)


asyncio.run(main())
