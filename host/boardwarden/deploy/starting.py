"""The start line on a board: planned, shown, added, and taken out again; and waiting for its agent.

What the user wrote in main.py or boot.py is never touched.
"""

from __future__ import annotations

import ast
import asyncio
import itertools
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from boardwarden.board import connect
from boardwarden.errors import AtPrompt, ConnectError, DeployError, VersionMismatch
from boardwarden.models import Identity

from .board import BoardFiles
from .reporter import Reporter

FILES = ("main.py", "boot.py")
_BEGIN = "# boardwarden: begin (`boardwarden deploy --remove` takes this out"
_MADE = ", and the file with it)\n"
_THERE = ")\n"
_END = "# boardwarden: end\n"
_IMPORTS = re.compile(rb"^[ \t]*(?:import|from)[ \t]+warden\b", re.MULTILINE)
_STARTS = re.compile(rb"^[^#\n]*\bwarden\.start\(", re.MULTILINE)
_TRY_S = 3.0
_PROMPT_S = 6.0  # after that a board at its prompt has ended its start
_RETRY_PAUSE_S = 0.2  # a port may go and come back while a board starts


def block(uses_asyncio: bool, made: bool, watching: bool) -> bytes:
    """Return the lines that start the agent, whatever happens to it.

    uses_asyncio: the application does, so it is imported first, and the agent runs as a task of
    it; made: there was no such file before; watching: it only measures.
    """
    asyncio = "    import asyncio  # first: then the agent runs as one of its tasks\n"
    return (
        _BEGIN
        + (_MADE if made else _THERE)
        + "try:\n"
        + (asyncio if uses_asyncio else "")
        + "    import warden\n\n"
        + f"    warden.start({'protect=False' if watching else ''})\n"
        + "except Exception as error:  # what follows runs all the same\n"
        + '    print("boardwarden:", error)\n'
        + _END
    ).encode()


_BLOCKS = tuple(block(*given) for given in itertools.product((False, True), repeat=3))


def with_start(text: bytes | None, uses_asyncio: bool, watching: bool = False) -> bytes:
    """Return a file with the start lines at its top; None stands for a file that is not there."""
    return block(uses_asyncio, text is None, watching) + (text or b"")


def without_start(text: bytes) -> bytes | None:
    """Return a file as it was before with_start(); None: it was not there.

    Raises ValueError where the lines were changed since, and are not known for sure.
    """
    for lines in _BLOCKS:
        if lines in text:
            rest = text.replace(lines, b"", 1)
            return None if not rest and _MADE.encode() in lines else rest
    if _BEGIN.encode() in text:
        raise ValueError("its lines between `# boardwarden: begin` and `end` were changed")
    return text


def starts(text: bytes) -> bool:
    """Return whether a file starts the agent, by our lines or the user's."""
    return _STARTS.search(text) is not None


def watches(text: bytes) -> bool:
    """Return whether a file that starts the agent has it watch only: start(protect=False)."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    started = [call for call in calls if ast.unparse(call.func) == "warden.start"]
    given = [word.value for call in started for word in call.keywords if word.arg == "protect"]
    return any(isinstance(value, ast.Constant) and not value.value for value in given)


@dataclass(frozen=True)
class Edit:
    """A file in the board's root and what is to be in it; None: the file is to be removed."""

    name: str
    text: bytes | None


@dataclass(frozen=True)
class StartLine:
    """The file that starts the agent, and whether it has it watch only."""

    name: str
    watching: bool


def start_line(files: BoardFiles) -> StartLine | None:
    """Return which of boot.py and main.py starts the agent; None if neither does."""
    for name in FILES:
        text = _read(files, name)
        if text is not None and starts(text):
            return StartLine(name, watches(text))
    return None


def plan(files: BoardFiles, name: str, watching: bool, reporter: Reporter) -> Edit:
    """Show the lines that would be added to a file, and ask.

    Raises DeployError when the answer is no.
    """
    uses_asyncio = files.mentions(b"asyncio")
    before = _read(files, name)
    lines = block(uses_asyncio, before is None, watching).decode().splitlines()
    where = "a new file" if before is None else f"at the top, before its {len(before)} bytes"
    reporter.say(f"{name} on the board ({where}):")
    for line in lines:
        reporter.say(f"  + {line}" if line else "  +")
    if not reporter.confirm(f"Add these lines to {name}?"):
        raise DeployError("No start line was added, and nothing else done")
    return Edit(name, with_start(before, uses_asyncio, watching))


def find(files: BoardFiles) -> list[Edit]:
    """Return the edits that remove the start lines; raise DeployError if they were changed."""
    edits = []
    for name in FILES:
        text = _read(files, name)
        if text is None:
            continue
        try:
            rest = without_start(text)
        except ValueError as error:
            raise DeployError(
                f"{name} on the board is not as deploy left it: {error}; take them out yourself, "
                "then try again"
            ) from error
        if rest != text:
            edits.append(Edit(name, rest))
    return edits


def importers(files: BoardFiles) -> list[str]:
    """Return which of main.py and boot.py import the agent by lines of their own."""
    texts = {name: _read(files, name) for name in FILES}
    return [name for name, text in texts.items() if text is not None and _IMPORTS.search(text)]


def has_application(files: BoardFiles) -> bool:
    """Return whether the board has a main.py."""
    return _read(files, "main.py") is not None


def carry_out(files: BoardFiles, edit: Edit) -> None:
    """Change the file in one step."""
    if edit.text is None:
        files.remove([f"{files.about.root}/{edit.name}"])
    else:
        files.replace(edit.name, edit.text)


def _read(files: BoardFiles, name: str) -> bytes | None:
    return files.read(f"{files.about.root}/{name}")


async def hello(
    address: str, timeout: float, waited: Callable[[float], None] = lambda elapsed: None
) -> Identity:
    """Return who answers at an address; raise the last ConnectError when nobody does in time."""
    begin = time.monotonic()
    while True:
        waited(time.monotonic() - begin)
        try:
            async with connect(address, timeout=_TRY_S) as board:
                return board.status.board
        except VersionMismatch:
            raise
        except ConnectError as error:
            limit = min(_PROMPT_S, timeout) if isinstance(error, AtPrompt) else timeout
            if time.monotonic() - begin >= limit:
                raise
        await asyncio.sleep(_RETRY_PAUSE_S)
