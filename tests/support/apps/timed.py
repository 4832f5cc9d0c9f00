"""Eight rounds, in each of which a figure crosses its levels, and two operations have a time.

One is over its time. The other is of low priority: pressure ends it, or one of high priority does.
"""

import asyncio
import gc

import warden

CHUNK = 10_000
kept = []
tasks = []


def begin(coro):
    tasks.append(asyncio.create_task(coro))


def give_back(level):
    if level == 2:
        del kept[120:]


async def work(name, priority, timeout_ms, ms, stops=True):
    try:
        async with warden.operation(name, priority=priority, timeout_ms=timeout_ms):
            try:
                await asyncio.sleep_ms(ms)
            except asyncio.CancelledError:
                if stops:
                    raise
                await asyncio.sleep_ms(2200)
    except (asyncio.CancelledError, warden.Denied):
        pass


def lend(owner):
    try:
        return warden.allocate(warden.MEMORY, 1000, owner=owner, ttl_ms=30)
    except warden.Denied:
        return None


async def keep(chunks, ms):
    while len(kept) < chunks:
        kept.append(bytearray(CHUNK))
    del kept[chunks:]
    gc.collect()
    await asyncio.sleep_ms(ms)


async def wait():
    await asyncio.sleep_ms(150)


async def round_of(number):
    tasks.clear()
    begin(work("over", warden.NORMAL, 150, 400))
    begin(work("low", warden.LOW, 5000, 560))
    if number % 2:
        begin(work("urgent", warden.HIGH, 100, 40))
    await keep(80, 300)
    lend("short")
    for _ in range(12):
        begin(wait())
    await keep(150, 300)
    begin(work("late", warden.NORMAL, 100, 10))
    await keep(0, 300)
    begin(work("brief", warden.NORMAL, 100, 0))
    await asyncio.sleep_ms(20)


async def main():
    warden.start(interval_ms=50, budget_permille=1000, max_operations=2)
    warden.on_trim(give_back)
    warden.threshold("memory")
    warden.threshold("tasks", 8, None, 6)
    warden.threshold("live_bytes", 600_000, 1_200_000, 300_000, 60, warden.PROTECT)
    await asyncio.sleep_ms(1000)
    for number in range(8):
        await round_of(number)
    begin(work("stuck", warden.NORMAL, 100, 200, False))
    while True:
        await asyncio.sleep_ms(1000)


asyncio.run(main())
