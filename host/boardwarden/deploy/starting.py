"""The start line on a board: planned, shown, added, and taken out again; and waiting for its agent.

What the user wrote in main.py or boot.py is never touched. Lines at the top of a file start the
agent. So that what ends main.py is kept, and a safe boot can leave it out, somebody has to run it
by `warden.run()`: main.py is copied to own/main.py, byte by byte, and becomes a few lines that do.

Why so: MicroPython runs boot.py, then main.py, by itself, and has no hook for what ends them.
Lines of boot.py that ran main.py would have it run again after them, and on stm32 before there is a
USB port for Ctrl-C. Lines at the top of main.py that ran the rest of it would have it twice in
memory, as it is compiled as a whole before, and could end only by an exception. In a file of its
own it is `__main__` all the same, keeps its line numbers, and its names are there at the REPL.
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
from boardwarden.errors import AtPrompt, ConnectError, DeployError, NoAgent, VersionMismatch
from boardwarden.models import Identity

from .board import BoardFiles
from .user import Reporter

FILES = ("main.py", "boot.py")
OWN = "own/main.py"  # the user's main.py, where lines that run it have its place
_BEGIN = "# boardwarden: begin (`boardwarden deploy --remove` takes this out"
_MADE = ", and the file with it)\n"
_THERE = ")\n"
_END = "# boardwarden: end\n"
_IMPORTS = re.compile(rb"^[ \t]*(?:import|from)[ \t]+warden\b", re.MULTILINE)
_STARTS = re.compile(rb"^[^#\n]*\bwarden\.start\(", re.MULTILINE)
_LOOP = (
    "it runs in the application's loop of asyncio, by a machine.Timer where the port has one, or "
    "by warden.poll() in a loop"
)
_HELLO_S = 15.0
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


def runner(uses_asyncio: bool) -> bytes:
    """Return the main.py that starts the agent and has it run the user's, whatever happens to it.

    In a safe boot the agent waits before that. Ctrl-C, and what ends the user's, passes through.
    """
    asyncio = "    import asyncio  # first: then the agent runs as one of its tasks\n"
    return (
        f"# boardwarden: begin (`boardwarden deploy --remove` has {OWN} here again)\n"
        f"# Your main.py is {OWN}, as it was: edit that.\n"
        "try:\n"
        + (asyncio if uses_asyncio else "")
        + "    import warden\n\n"
        + "    warden.safe_mode()  # first: then a stored policy is not in force\n"
        + "    warden.start()\n"
        + "except Exception as error:  # your main.py runs all the same\n"
        + '    print("boardwarden:", error)\n'
        + f'    exec(open("{OWN}").read())\n'
        + "else:\n"
        + f'    warden.run("{OWN}")  # and keeps what ends it\n'
        + _END
    ).encode()


_RUNNERS = (runner(False), runner(True))


def with_start(text: bytes | None, uses_asyncio: bool, watching: bool = False) -> bytes:
    """Return a file with the start lines at its top; None stands for a file that is not there."""
    return block(uses_asyncio, text is None, watching) + (text or b"")


def without_start(text: bytes) -> bytes | None:
    """Return a file as it was before with_start(); None: it was not there, or is runner().

    Raises ValueError where the lines were changed since, and are not known for sure.
    """
    if text in _RUNNERS:
        return None
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
    """A file in the board's root and what is to be in it; None: the file is to be removed.

    said: what is said when that is done; None: nothing.
    """

    name: str
    text: bytes | None
    said: str | None = None


@dataclass(frozen=True)
class StartLine:
    """The file that starts the agent; has it watch only; has it run the application."""

    name: str
    watching: bool
    runs: bool


def start_line(files: BoardFiles) -> StartLine | None:
    """Return which of boot.py and main.py starts the agent; None if neither does."""
    for name in FILES:
        text = _read(files, name)
        if text is not None and starts(text):
            return StartLine(name, watches(text), b"warden.run(" in text)
    return None


def plan(files: BoardFiles, name: str, watching: bool, reporter: Reporter) -> list[Edit]:
    """Show what would be added to a file, and ask; return the edits, in their order.

    Raises DeployError when the answer is no.
    """
    edits, question = show(files, name, watching, reporter)
    if not reporter.confirm(question):
        raise DeployError("No start line was added, and nothing else done")
    return edits


def show(
    files: BoardFiles, name: str, watching: bool, reporter: Reporter
) -> tuple[list[Edit], str]:
    """Show what would be added to a file; return the edits, and the question to ask before."""
    uses_asyncio = files.mentions(b"asyncio")
    before = _read(files, name)
    if runs(files, name, watching):
        assert before is not None
        edits = [Edit(OWN, before), Edit(name, runner(uses_asyncio))]
        reporter.say(f"{name} on the board becomes {OWN}, its {len(before)} bytes as they are, and")
        reporter.say(f"{name} is to be:")
        shown = edits[1].text
        question = f"Have {name} start the agent, and run {OWN}?"
        if _read(files, OWN) not in (None, before):
            question = f"Replace {OWN}, which is there with something else? {question}"
    else:
        edits = [Edit(name, with_start(before, uses_asyncio, watching))]
        where = "a new file" if before is None else f"at the top, before its {len(before)} bytes"
        reporter.say(f"{name} on the board ({where}):")
        shown = block(uses_asyncio, before is None, watching)
        question = f"Add these lines to {name}?"
    for line in (shown or b"").decode().splitlines():
        reporter.say(f"  + {line}" if line else "  +")
    if name == "boot.py" and has_application(files):
        reporter.say(
            "What ends main.py is not kept then, and no boot is a safe one: MicroPython runs it "
            "after boot.py. `--start main.py` has that."
        )
    return edits, question


def runs(files: BoardFiles, name: str, watching: bool) -> bool:
    """Return whether the start line for a file has the agent run the application, too.

    Not where it only watches: then there is nothing that could tell a host of it.
    """
    return name == "main.py" and not watching and has_application(files)


def find(files: BoardFiles) -> list[Edit]:
    """Return the edits that remove the start lines; raise DeployError if they were changed."""
    edits = []
    own = _read(files, OWN)
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
        if text in _RUNNERS:
            rest = own
        if rest != text:
            said = f"{name} is as it was." if rest is not None else f"{name} is gone."
            edits.append(Edit(name, rest, said))
        if name == "main.py" and own is not None:
            if rest == own:
                edits.append(Edit(OWN, None))
            else:
                said = f"{OWN} stays: it is not what is in {name}, which somebody has replaced."
                edits.append(Edit(OWN, own, said))
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
    folder, _, _ = f"{files.about.root}/{edit.name}".rpartition("/")
    if edit.text is None:
        files.remove([f"{files.about.root}/{edit.name}"])
        if edit.name == OWN:
            files.remove_empty([folder])
    elif edit.text != _read(files, edit.name):
        if edit.name == OWN:
            files.make_folder(folder)
        files.replace(edit.name, edit.text)


def _read(files: BoardFiles, name: str) -> bytes | None:
    return files.read(f"{files.about.root}/{name}")


def await_hello(address: str, reporter: Reporter) -> None:
    """Wait until the agent answers; a board at its prompt has it, and nothing that runs it."""

    def waited(elapsed: float) -> None:
        reporter.step("waiting for the agent", round(elapsed * 10), round(_HELLO_S * 10))

    try:
        identity = asyncio.run(_hello(address, waited))
    except NoAgent as error:
        raise DeployError(f"The agent is on the board, but nothing runs it: {_LOOP}.") from error
    except AtPrompt:
        reporter.say(
            f"The agent is on the board, which is at its prompt, where nothing runs it: {_LOOP}."
        )
        return
    except ConnectError as error:
        raise DeployError(
            f"The agent is on the board, but does not answer: {error} "
            f"`boardwarden doctor {address}` says more."
        ) from error
    reporter.say(f"The agent {identity.agent or ''} answers at {address}.")


async def _hello(address: str, waited: Callable[[float], None]) -> Identity:
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
            limit = _PROMPT_S if isinstance(error, AtPrompt) else _HELLO_S
            if time.monotonic() - begin >= limit:
                raise
        await asyncio.sleep(_RETRY_PAUSE_S)
