"""`python -m boardwarden` and the command `boardwarden`: makes Ctrl-C quiet, imports the rest."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line; docs/host.md has its exit statuses."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _quit)
    from .cli.app import main as run

    run()


def _quit(number: int, frame: object) -> None:
    """End at once: no command has begun, so there is nothing to clean up."""
    os._exit(128 + number)  # as a shell reports it


if __name__ == "__main__":
    main()
