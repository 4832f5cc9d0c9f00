"""Listens for a host on the port that the environment names; its own line is left alone."""

import asyncio
import os

import warden


async def main():
    warden.start(
        interval_ms=100,
        budget_permille=1000,
        link=warden.TcpServer(int(os.getenv("PORT")), "127.0.0.1", control=True),
    )
    print("listening")
    while True:
        await asyncio.sleep_ms(100)


asyncio.run(main())
