"""Commands that show why a board restarted and what failed on it, and that end its safe mode."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boardwarden._paths import absence
from boardwarden._program import fail, print_json, print_line, run
from boardwarden.render.crashes import exception_lines, reset_lines

from .grants import dicts
from .options import BoardOption, JsonOption, given
from .terminal import answer, connect

_EMPTY = "no resets and no exceptions (kept where warden.run() runs the application)"


def crashes(
    board: BoardOption = "",
    source: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The board's programs, to show the lines that failed."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show why the board restarted, and which exceptions ended something, the newest first."""
    if source is not None and (problem := absence(source, "folder")):
        fail(f"--source: {problem}")
    run(_crashes(given(board), source, as_json))


def safe(
    board: BoardOption = "",
    leave: Annotated[
        bool, typer.Option("--leave", help="Have the board try its application again, now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell whether the board is in safe mode, where its application does not run."""
    run(_safe(given(board), leave, as_json))


async def _crashes(address: str, source: Path | None, as_json: bool) -> None:
    """Print resets, then exceptions."""
    async with connect(address) as board:
        resets, exceptions = board.resets, board.exceptions
    if as_json:
        print_json({"resets": dicts(resets), "exceptions": dicts(exceptions)})
        return
    for line in (*reset_lines(resets, source), *exception_lines(exceptions, source)):
        print_line(line)
    if not resets and not exceptions:
        print_line(_EMPTY)


async def _safe(address: str, leave: bool, as_json: bool) -> None:
    """Print whether the board is in safe mode, or end that."""
    async with connect(address) as board, answer():
        if leave:
            await board.leave_safe_mode()
            is_safe, text = False, "the board tries its application again"
        else:
            is_safe = await board.safe_mode()
            text = "in safe mode: the application does not run" if is_safe else "not in safe mode"
    if as_json:
        print_json({"safe": is_safe})
    else:
        print_line(text)
