"""The words and options of `boardwarden watch`."""

from __future__ import annotations

from . import watch as watching
from .options import BoardsOption, JsonOption, all_given
from .outcome import run


def watch(board: BoardsOption = [], as_json: JsonOption = False) -> None:  # noqa: B006  Typer's way
    """Show how one or several boards are doing, live; keys are at the bottom. q ends it."""
    run(watching.watch(all_given(board), as_json))


COMMANDS = (watch,)
