"""Grants itself one thing of each kind, is denied one, and meters tasks and a thread.

Then it prints "granted". It listens for a host on the port that the environment names.
"""

import asyncio
import os
import time

import warden


async def spin():
    began = time.ticks_ms()
    while True:
        while time.ticks_diff(time.ticks_ms(), began) < 30:
            pass
        began = time.ticks_add(began, 100)
        await asyncio.sleep_ms(max(0, time.ticks_diff(began, time.ticks_ms())))


async def sleep():
    while True:
        await asyncio.sleep_ms(50)


def read():
    while True:
        time.sleep_ms(50)


async def main():
    link = warden.TcpServer(int(os.getenv("PORT")), "127.0.0.1", control=True)
    warden.start(interval_ms=200, budget_permille=1000, link=link)
    session = warden.session("application", memory=65_536, operations=2)
    lease = warden.allocate(warden.MEMORY, 8192, owner="application", ttl_ms=None, session=session)
    op = warden.begin("application", session=session)
    op.progress(420, "half")
    try:
        warden.allocate(warden.MEMORY, 1 << 29)
    except warden.Denied as error:
        print("denied:", error.reason)
    tasks = [warden.spawn(spin(), name="spinner"), warden.spawn(sleep(), name="sleeper")]
    warden.thread(read, name="reader")
    print("granted")
    await asyncio.sleep(3600)
    return lease, op, tasks


asyncio.run(main())
