"""How a command ends: its exit status, and never a traceback for what a user can meet."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn

from boardwarden.errors import BoardError

FAILED = 2  # as for a usage error
INTERRUPTED = 128 + 2  # as a shell reports SIGINT
PIPE_CLOSED = 128 + 13  # and SIGPIPE


def run(command: Coroutine[Any, Any, None]) -> None:
    """Run a command to its end; exit with the status that tells how it went."""
    try:
        asyncio.run(command)
        sys.stdout.flush()
    except BoardError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`). Python would complain at exit as it
        # flushes what is left: give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)


def fail(sentence: str) -> NoReturn:
    """Print one sentence to standard error and exit with status 2."""
    print(f"boardwarden: {sentence}", file=sys.stderr)
    sys.exit(FAILED)
