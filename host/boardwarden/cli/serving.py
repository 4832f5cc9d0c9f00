"""`boardwarden serve`: what the exporters need of a command."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence

from boardwarden._program import Failure, print_line

from . import terminal


async def serve(addresses: Sequence[str], host: str, port: int, collector: str | None) -> None:
    """Serve until Ctrl-C, or SIGTERM, as a service is ended; then exit status 0."""
    from boardwarden.serve.service import serve as serve_boards

    terminal.show_logs(logging.INFO)

    def serving(url: str) -> None:
        print_line(f"serving {', '.join(addresses)} at {url}")

    task = asyncio.ensure_future(serve_boards(addresses, (host, port), collector, serving))
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:  # Ctrl-C
        task.cancel()
        await asyncio.wait([task])
        raise
    if not task.cancelled():
        try:
            task.result()
        except OSError as error:
            reason = error.strerror or error
            raise Failure(f"Cannot listen on {host}:{port}: {reason}.") from None
