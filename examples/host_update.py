"""Sends a file to a board that runs receiver.py, once the board has room for it.

Before a byte is sent the board grants an operation, the memory that the transfer takes there and
the room for the file. If it refuses, it says when to ask again, and this program waits that long.
It uses the API without asyncio, `boardwarden.open()`.

    python examples/host_update.py sim:examples/receiver.py 127.0.0.1:8770 FILE
    python examples/host_update.py /dev/ttyACM0 192.0.2.7:8770 FILE
"""

from __future__ import annotations

import argparse
import hashlib
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import boardwarden
from boardwarden import Priority, ResourceType

TRANSFER_BYTES = 16 * 1024  # of the board's heap
PATIENCE_S = 60.0


def granted(stack: ExitStack, ask: Callable[[], AbstractContextManager[object]]) -> None:
    """Enter what `ask` returns once the board grants it; raise Denied if that takes too long."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            stack.enter_context(ask())
            return
        except boardwarden.Denied as error:
            pause = error.retry_after_s
            if pause is None or time.monotonic() + pause > until:
                raise  # nobody knows when, or too late
            print(error, "Waiting.", flush=True)
            time.sleep(pause)


def endpoint(text: str) -> tuple[str, int]:
    """Return what a socket takes of "host:port"; ValueError for anything else."""
    host, _, port = text.rpartition(":")
    return host, int(port)


def send(receiver: tuple[str, int], data: bytes) -> str:
    """Send size, SHA-256 and bytes; return what the receiver answers."""
    with socket.create_connection(receiver, timeout=30.0) as line:
        line.sendall(f"{len(data)} {hashlib.sha256(data).hexdigest()}\n".encode() + data)
        return line.makefile().readline().strip()


def main() -> int:
    """Return the exit status: 0 if the board has the file."""
    parser = argparse.ArgumentParser(description="Send a file to a board that runs receiver.py.")
    parser.add_argument("board", help="where its agent is, such as /dev/ttyACM0")
    parser.add_argument("receiver", type=endpoint, help="where receiver.py listens, host:port")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    try:
        data = given.file.read_bytes()
        with boardwarden.open(given.board) as board, ExitStack() as stack:
            granted(stack, lambda: board.operation("update", memory=TRANSFER_BYTES, timeout=120.0))
            room = (ResourceType.STORAGE, len(data), "update", Priority.NORMAL, 120.0)
            granted(stack, lambda: board.lease(*room))
            print(f"granted: sending {len(data)} bytes", flush=True)
            answer = send(given.receiver, data)
    except (boardwarden.BoardError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"the board says: {answer}")
    return 0 if answer == "ok" else 2


if __name__ == "__main__":
    sys.exit(main())
