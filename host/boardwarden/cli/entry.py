"""Where the command begins: Ctrl-C is quiet from here on, also while the rest is still loading."""

from __future__ import annotations

from boardwarden._program import quit_on_interrupt


def main() -> None:
    """Run the command line; docs/host.md has its exit statuses."""
    quit_on_interrupt()
    from .app import main as run

    run()
