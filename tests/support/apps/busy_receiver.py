"""examples/receiver.py on a board whose places are all taken, until somebody was denied one."""

import asyncio
import os
import sys

import warden

sys.path.append(os.getenv("EXAMPLES"))

import receiver

ROOM_MS = 3000  # which the one that ends first has left, when it is asked


async def hold_all_places():
    denied = asyncio.Event()
    warden.on("denied", lambda event: denied.set())
    held = [warden.begin("busy") for _ in range(3)]
    last = warden.begin("busy", timeout_ms=ROOM_MS)
    while not denied.is_set():
        await asyncio.sleep_ms(50)
        last.complete()
        last = warden.begin("busy", timeout_ms=ROOM_MS)
    held.append(last)
    for op in held:
        op.complete()


async def main():
    warden.start()
    tasks = [receiver.main(int(os.getenv("PORT")))]
    if os.getenv("BUSY"):
        tasks.append(hold_all_places())
    await asyncio.gather(*tasks)


asyncio.run(main())
