"""The start line on a board: planned, shown, added, and taken out again."""

from __future__ import annotations

from dataclasses import dataclass

from boardwarden.errors import DeployError

from . import start_line
from .board import BoardFiles
from .talk import Talk


@dataclass(frozen=True)
class Edit:
    """A file in the board's root and what is to be in it; None: the file is to be removed."""

    name: str
    text: bytes | None


def plan(files: BoardFiles, name: str, talk: Talk) -> Edit | None:
    """Show the lines that would be added to a file and ask; None where the board has some already.

    Raises DeployError when the answer is no.
    """
    texts = {file: _read(files, file) for file in start_line.FILES}
    for file, text in texts.items():
        if text is not None and start_line.starts(text):
            talk.say(f"{file} starts the agent already: it stays as it is.")
            return None
    uses_asyncio = files.mentions(b"asyncio")
    before = texts[name]
    lines = start_line.block(uses_asyncio, before is None).decode().splitlines()
    where = "a new file" if before is None else f"at the top, before its {len(before)} bytes"
    talk.say(f"{name} on the board ({where}):")
    for line in lines:
        talk.say(f"  + {line}" if line else "  +")
    if not talk.confirm(f"Add these lines to {name}?"):
        raise DeployError("No start line was added, and nothing else done")
    return Edit(name, start_line.with_start(before, uses_asyncio))


def find(files: BoardFiles) -> list[Edit]:
    """Return what takes the start lines out; raise DeployError where that is not sure."""
    edits = []
    for name in start_line.FILES:
        text = _read(files, name)
        if text is None:
            continue
        try:
            rest = start_line.without_start(text)
        except ValueError as error:
            raise DeployError(
                f"{name} on the board is not as deploy left it: {error}; take them out yourself, "
                "then try again"
            ) from error
        if rest != text:
            edits.append(Edit(name, rest))
    return edits


def starts_agent(files: BoardFiles) -> bool:
    """Tell whether boot.py or main.py starts the agent."""
    texts = (_read(files, name) for name in start_line.FILES)
    return any(text is not None and start_line.starts(text) for text in texts)


def has_application(files: BoardFiles) -> bool:
    """Tell whether the board has a main.py."""
    return _read(files, "main.py") is not None


def carry_out(files: BoardFiles, edit: Edit) -> None:
    """Change the file in one step."""
    if edit.text is None:
        files.remove([f"{files.about.root}/{edit.name}"])
    else:
        files.replace(edit.name, edit.text)


def _read(files: BoardFiles, name: str) -> bytes | None:
    return files.read(f"{files.about.root}/{name}")
