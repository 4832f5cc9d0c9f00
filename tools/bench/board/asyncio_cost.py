"""What an asyncio application pays for the agent: a step, a wake-up, a task, an HTTP request.

In front is put STEPS: None for no agent, else what `start(steps=…)` is given; and REQUESTS, so many
to a server that is never without one, beside an agent that samples once a second: `http_load`. Of
the others no garbage is collected meanwhile, and no sample taken. Prints `= NAME TICKS BYTES`, of
one each.
"""

import asyncio
import gc

from _asyncio_board import Connection
from meter import now, passed, tell

_ROUNDS = 3
_TIMES = 10
_REQUEST = b"GET /status HTTP/1.1\r\nHost: board\r\nAccept: */*\r\n\r\n"


async def step(times):
    for _ in range(times):
        await asyncio.sleep_ms(0)


async def read(times):
    stream = asyncio.StreamReader(Connection(bytes(times)))
    for _ in range(times):
        await stream.readexactly(1)


async def wake(times):
    """Two tasks that wake each other: so often each of them."""
    ping, pong = asyncio.Event(), asyncio.Event()

    async def answer():
        for _ in range(times):
            await ping.wait()
            ping.clear()
            pong.set()

    other = asyncio.create_task(answer())
    for _ in range(times):
        ping.set()
        await pong.wait()
        pong.clear()
    await other


async def nothing():
    pass


async def task(times):
    for _ in range(times):
        await asyncio.create_task(nothing())


async def answer(stream):
    """Read a request, and answer it, as small servers do."""
    line = await stream.readline()
    while await stream.readline() != b"\r\n":
        pass
    method, path, _ = line.split()
    body = b'{"path": "%s", "ok": true}' % path
    stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    stream.write(body)
    await stream.drain()
    await stream.wait_closed()


async def http(times, handle=answer):
    for _ in range(times):
        await asyncio.create_task(handle(asyncio.StreamReader(Connection(_REQUEST))))


async def microdot_http(times):
    await http(times, lambda stream: app.handle_request(stream, stream))


async def taken(work, times):
    """Ticks and bytes of work(times).

    Of few times: a look for free memory gets longer with what was not collected.
    """
    gc.collect()
    before = gc.mem_alloc()
    began = now()
    await work(times)
    ticks = passed(began)
    return ticks, gc.mem_alloc() - before


async def after_poll():
    """Wait until the agent has just polled: it does so four times a second."""
    if STEPS is not None:
        polled_ms = load.polled_ms
        while load.polled_ms == polled_ms:
            await asyncio.sleep_ms(1)


async def listen():
    await asyncio.StreamReader(Connection(None)).read(1)


async def sleep():
    await asyncio.sleep_ms(3_600_000)


async def main():
    asyncio.create_task(listen())  # noqa: RUF006, neither ends
    asyncio.create_task(sleep())  # noqa: RUF006
    for name, work in ROWS:
        await taken(work, 2)
        ticks = count = 0
        for _ in range(_ROUNDS):
            await after_poll()
            few = await taken(work, 2)
            many = await taken(work, 2 + _TIMES)
            ticks += many[0] - few[0]
            count += many[1] - few[1]
        tell(name, ticks // (_ROUNDS * _TIMES), count // (_ROUNDS * _TIMES))
    if REQUESTS:
        gc.enable()
        if STEPS is not None:
            warden.start_monitoring(1000)
        ticks, _ = await taken(http, REQUESTS)
        tell("http_load", ticks // REQUESTS)


ROWS = [("step", step), ("read", read), ("wake", wake), ("task", task), ("http", http)]
try:
    from microdot import Microdot
except ImportError:
    pass
else:
    app = Microdot()
    app.route("/status")(lambda request: {"path": request.path, "ok": True})
    ROWS.append(("microdot", microdot_http))
if STEPS is not None:
    import warden

    warden.start(600_000, link=Connection(None), protect=False, steps=STEPS)
    load = warden.running_agent().load
asyncio.run(main())
if STEPS is not None:
    tell("faults", 0, warden.running_agent().faults)
