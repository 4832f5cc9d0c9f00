"""Asks before something is changed, while the connection to the board lives on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading

from .outcome import Failure

_YES = (b"y", b"yes")


async def confirm(question: str) -> bool:
    """Ask on the terminal; raise Failure where there is none.

    The answer is read by a thread that Ctrl-C does not wait for: the board needs its keepalives.
    """
    if not sys.stdin.isatty():
        raise Failure(f"{question} There is no terminal to ask on: answer with --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def give(line: bytes) -> None:
        if not answer.done():
            answer.set_result(line)

    def read() -> None:
        # Not sys.stdin, which would be locked when the interpreter ends.
        line = os.read(sys.stdin.fileno(), 256)
        if not loop.is_closed():
            loop.call_soon_threadsafe(give, line)

    threading.Thread(target=read, daemon=True).start()
    try:
        return (await answer).strip().lower() in _YES
    except asyncio.CancelledError:
        print(file=sys.stderr, flush=True)  # Ctrl-C leaves the terminal at the begin of a line
        raise
