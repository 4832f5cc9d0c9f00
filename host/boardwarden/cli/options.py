"""Options that commands share, and what the shell offers to complete them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from boardwarden._program import checked, fail
from boardwarden.transport.address import FORMS

from . import parse


def addresses(incomplete: str) -> list[str]:
    """Return "sim" and this machine's serial ports that begin with what was typed."""
    from boardwarden.transport.serial_port import listed

    known = ["sim", *(str(port.device) for port in listed())]
    return [address for address in known if address.startswith(incomplete)]


def one_of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a completion for words."""
    known = tuple(words)

    def offer(incomplete: str) -> list[str]:
        return [each for each in known if each.startswith(incomplete)]

    return offer


ENVIRONMENT = "BOARDWARDEN_BOARD"

BoardOption = Annotated[
    str,
    typer.Option(
        "--board",
        envvar=ENVIRONMENT,
        metavar="ADDRESS",
        help=f"{FORMS}. Else the only USB serial port.",
        show_default=False,
        autocompletion=addresses,
    ),
]
BoardsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--board",
        metavar="ADDRESS",
        help=f"{FORMS}; may be repeated. Else {ENVIRONMENT}, or the only USB serial port.",
        autocompletion=addresses,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]


def given(board: str, how: str = "--board", forms: str = FORMS) -> str:
    """Return the address, else that of the only USB serial port, else exit with a sentence.

    forms: how an address may be written that the command takes.

    Built-in ports do not count: many machines have some, and a board is hardly ever there.
    """
    if board:
        return board
    from boardwarden.doctor.boards import serial_ports

    found = [port for port in serial_ports() if port.usb_id]
    if len(found) != 1:
        names = ", ".join(port.lasting_name or port.address for port in found)
        here = f" Boards may be at {names}." if found else ""
        fail(f"Which board? Give {how} or set {ENVIRONMENT}: {forms}.{here}")
    return found[0].address


def all_given(boards: Sequence[str] | None) -> list[str]:
    """Return the addresses, or the one in the environment, or exit."""
    return list(boards or [given(os.environ.get(ENVIRONMENT, ""))])


def check_word(of: str, word: str, allowed: Sequence[str]) -> None:
    """Exit with a sentence if an argument's or option's word is none of those it takes."""
    if word not in allowed:
        fail(f"{of} takes {', '.join(allowed[:-1])} or {allowed[-1]}, not {word}.")


def require(command: str, module: str, library: str, extra: str) -> None:
    """Import a module that a command needs, or exit with the extra to install."""
    try:
        importlib.import_module(module)
    except ImportError:
        fail(f"{command} needs {library}: pip install 'boardwarden[{extra}]'.")


YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Answer yes to every question.")]


def _named(path: Path) -> Path:
    """Return a recording's path; exit if no file can have it, as "/" and ".": it has no name."""
    if not path.name:
        fail(f"{path} is a folder; FILE is the name of a recording.")
    return path


# readable=False: who opens the file says in our words why it cannot be read.
FileArgument = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="The recording.", readable=False, callback=_named),
]

ChosenOption = Annotated[
    list[str] | None,
    typer.Option("--board", metavar="ADDRESS", help="Only this board; may be repeated."),
]
SinceOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help='From this time on: "2024-05-31 12:00", or 12:00 of today.'),
]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time.")]
LastOption = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Only the last 10m, 2h or 1d.")
]


Times = tuple[float | None, float | None, float | None]


def window(since: str | None, until: str | None, last: str | None) -> Times:
    """Return --since and --until as moments and --last as a duration."""
    if since is not None and last is not None:
        fail("--last goes with --until, not with --since.")
    begin = None if since is None else checked(parse.moment, "--since", since)
    end = None if until is None else checked(parse.moment, "--until", until)
    if begin is not None and end is not None and begin >= end:
        fail("--since must be before --until.")
    return begin, end, None if last is None else checked(parse.duration, "--last", last)
