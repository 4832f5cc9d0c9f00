"""Receives a file over TCP, such as an update, and puts it in place only if it is complete.

The board's own work goes on meanwhile. The sender first asks the agent, over the agent's own link,
for an operation and for room: see host_update.py.

    python examples/host_update.py sim:examples/receiver.py 127.0.0.1:8770 FILE
"""

import asyncio
import hashlib
import os

import warden

PORT = 8770
NEW, PLACE = "update.new", "update.bin"


async def receive(reader, writer):
    """Read a line with size and SHA-256, then the bytes; answer how it went."""
    try:
        words = (await reader.readline()).decode().split()
        digest = await store(reader, int(words[0]))
        if digest == words[1]:
            os.rename(NEW, PLACE)
            answer = "ok"
        else:
            os.remove(NEW)
            answer = "damaged"
    except (IndexError, ValueError):
        answer = "not understood"
    except OSError as error:
        answer = f"not stored, error {error.errno}"
    print("update:", answer)
    writer.write(answer + "\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def store(reader, size):
    """Write that many bytes to a file of their own; return their SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with open(NEW, "wb") as file:  # noqa: ASYNC230, MicroPython has no other
        while size > 0:
            chunk = await reader.read(min(size, 4096))
            if not chunk:
                break  # the sender is gone: the digest will tell
            file.write(chunk)
            digest.update(chunk)
            size -= len(chunk)
    return digest.digest().hex()


async def main(port=PORT):
    warden.start()
    await asyncio.start_server(receive, "0.0.0.0", port)
    print("waiting for updates on port", port)
    while True:
        await asyncio.sleep_ms(200)  # your work


if __name__ == "__main__":
    asyncio.run(main())
