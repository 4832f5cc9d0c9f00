"""Serves hosts over TCP, and keeps in the file `held` what they hold: leases and operations."""

import asyncio
import os

import warden


def note():
    try:
        with open("held.tmp", "w") as file:
            file.write(f"{len(warden.allocations())} {len(warden.operations())}")
        os.rename("held.tmp", "held")
    except OSError:  # the disk is full
        pass


async def main():
    warden.start(
        interval_ms=100,
        budget_permille=1000,
        link=warden.TcpServer(int(os.getenv("PORT")), "127.0.0.1", control=True),
    )
    print("listening")
    while True:
        note()
        await asyncio.sleep_ms(100)


asyncio.run(main())
