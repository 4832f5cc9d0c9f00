# An application that begins again whenever Ctrl-C has ended it, and prints a dot then. When a line
# comes on stdin it looks whether the agent still runs by itself, and prints what it found.
import asyncio
import select
import sys

import warden
from warden.running import get_runner

poller = select.poll()
poller.register(sys.stdin, select.POLLIN)
interrupts = 0


async def rest():
    await asyncio.sleep_ms(50)


async def main():
    warden.start(interval_ms=20, budget_permille=1000, link=False)
    while not poller.poll(0):
        with warden.operation("op", memory=100, timeout_ms=50):
            warden.allocate(warden.MEMORY, 10, ttl_ms=50).release()
        warden.allocate(warden.MEMORY, 10, ttl_ms=5)
        await asyncio.sleep_ms(1)


def begin_again():
    global interrupts
    while True:
        try:
            return asyncio.run(main())
        except KeyboardInterrupt:
            interrupts += 1
            asyncio.new_event_loop()
            print(".", end="")


warden.start(interval_ms=20, budget_permille=1000, link=False)
asyncio.run(rest())
print("ready")
while True:
    try:
        begin_again()
        break
    except KeyboardInterrupt:  # it came between two runs
        print(".", end="")

agent = get_runner().agent


async def look():
    lease = warden.allocate(warden.MEMORY, 10, ttl_ms=300)
    uptimes = set()
    for _ in range(250):  # longer than an operation that must stop has time for that
        await asyncio.sleep_ms(10)
        uptimes.add(tuple(agent.sample.figures[:2]))
    return len(uptimes), lease.active


samples, active = asyncio.run(look())
status = warden.status()
# Ctrl-C may have come before the application had its handle. What it stands for ends in its time.
left = [agent.policy.operations.places, len(warden.allocations())]
locked = agent.threads.locked()
print()
print([interrupts, samples, active, status["running"], status["faults"], left, locked])
