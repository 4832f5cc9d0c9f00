"""`python -m boardwarden.demo`: a simulated board with a faulty application, watched live.

On a terminal it redraws until Ctrl-C; in a pipe it prints a line a second for ten seconds. The
environment variable DEMO_SECONDS sets how long, for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys

from .board import connect
from .cli.follow import draw, print_lines, settled
from .cli.outcome import fail, run
from .cli.output import print_line
from .cli.text import percent, size
from .models import Status
from .transport.sim import board_files

_APPLICATION = "busy_leak.py"
_PIPE_SECONDS = 10.0


def main() -> None:
    """Run the demo; exit status 0 at the end of its time, 130 after Ctrl-C."""
    run(_demo(_seconds()))


async def _demo(seconds: float | None) -> None:
    application = board_files()[-1] / _APPLICATION
    async with connect(f"sim:{application}") as board:
        print_line(_introduction(await settled(board)))
        following = draw(board, _APPLICATION) if sys.stdout.isatty() else print_lines(board)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(following, seconds)


def _introduction(status: Status) -> str:
    cost = status.overhead
    return (
        f"A simulated board runs {_APPLICATION}; "
        f"its agent takes {percent(cost.cpu)} of the core, {size(cost.bytes_per_s)}/s."
    )


def _seconds() -> float | None:
    """Return how long to run; None is until interrupted."""
    given = os.environ.get("DEMO_SECONDS")
    if not given:
        return None if sys.stdout.isatty() else _PIPE_SECONDS
    try:
        return float(given)
    except ValueError:
        fail(f"DEMO_SECONDS must be a number of seconds, not {given!r}.")


if __name__ == "__main__":
    main()
