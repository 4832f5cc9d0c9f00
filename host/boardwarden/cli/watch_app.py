"""The words and options of `boardwarden watch`."""

from __future__ import annotations

from boardwarden._program import run

from . import watch as watching
from .options import BoardsOption, JsonOption, all_given


def watch(board: BoardsOption = [], as_json: JsonOption = False) -> None:  # noqa: B006  Typer's way
    """Show one or several boards live, in the terminal; q ends it.

    The keys are shown at the bottom.
    Where standard output is no terminal, each sample is a line.
    """
    run(watching.watch(all_given(board), as_json))


COMMANDS = (watch,)
