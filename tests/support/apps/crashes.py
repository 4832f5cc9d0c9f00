"""Ends a task, a metered task, a thread and a callback by an exception; runs on itself."""

import asyncio

import warden


async def measure():
    raise OSError(5)


async def sensor():
    await measure()


def reader(word):
    return int(word)


def on_lease(event):
    return event.name


async def main():
    warden.start(interval_ms=100)
    warden.exceptions()
    warden.on("lease", on_lease)
    asyncio.create_task(sensor())  # noqa: RUF006, nobody awaits it
    warden.spawn(sensor(), "uploader")
    warden.thread(reader, ("x",), "reader")
    warden.allocate(warden.MEMORY, 100, "me").release()
    while True:
        await asyncio.sleep_ms(100)


asyncio.run(main())
