"""An upload worker that gives way to alarms, resumes where it stopped, and ends cleanly.

The radio carries one thing at a time: one operation. Uploads are LOW, so an alarm, which is HIGH,
preempts them. When the radio is turned off the worker is cancelled, and the rest stays queued:

    boardwarden console --board sim:examples/uploader.py
    boardwarden watch --board sim:examples/uploader.py
"""

import asyncio

import warden

CHUNK_BYTES = 4096


class Upload:
    """Something to send, and how much of it has been sent."""

    def __init__(self, name, size):
        self.name = name
        self.size = size
        self.sent = 0


async def send(chunk):
    """Send some bytes: your network."""
    await asyncio.sleep_ms(20)


async def upload_all(waiting):
    """Send what is queued, one after the other, each as an operation that may be stopped."""
    while waiting:
        upload = waiting[0]
        op = None
        try:
            async with warden.operation(
                upload.name, priority=warden.LOW, memory=CHUNK_BYTES, wait_ms=5000
            ) as op:
                await send_rest(upload, op)
            waiting.pop(0)
        except warden.Denied as error:  # waited in vain, or memory is short
            print(f"{upload.name}: {error.reason}")
            await asyncio.sleep_ms(error.retry_after_ms or 500)
        except asyncio.CancelledError:
            if op is None or op.why is None:
                raise  # the task itself was cancelled, not only its operation
            print(f"{upload.name}: {op.why} at {upload.sent} bytes")


async def send_rest(upload, op):
    """Send the rest, and report progress."""
    if upload.sent:
        print(f"{upload.name}: goes on at {upload.sent} bytes")
    chunk = bytearray(CHUNK_BYTES)
    while upload.sent < upload.size:
        await send(chunk)
        upload.sent += CHUNK_BYTES
        op.progress(1000 * upload.sent // upload.size)
    print(f"{upload.name}: sent")


async def alarm():
    """Send an alarm: it gets the radio at once, even from an upload."""
    async with warden.operation("alarm", priority=warden.HIGH):
        await asyncio.sleep_ms(100)
        print("alarm sent")


async def main():
    warden.start(max_operations=1)
    waiting = []
    pictures = 0
    while True:
        pictures += 1
        waiting.append(Upload(f"picture {pictures}", 80 * CHUNK_BYTES))
        worker = warden.spawn(upload_all(waiting), name="uploader", priority=warden.LOW)
        for _ in range(2):  # that is how long the radio is on
            await asyncio.sleep_ms(500)
            await alarm()
        worker.cancel()
        try:
            await worker
        except asyncio.CancelledError:
            print(f"radio off, {waiting[0].sent} of {waiting[0].size} bytes are sent")
        print("operations and leases left:", warden.operations(), warden.allocations())
        await asyncio.sleep_ms(500)


asyncio.run(main())
