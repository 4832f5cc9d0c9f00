"""Options that commands share, what completes them in the shell, and how what is typed is read.

A parse_…() raises ValueError, with a sentence that says what is accepted.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from boardwarden import _quantities
from boardwarden._program import checked, fail
from boardwarden._quantities import THRESHOLD_METRICS
from boardwarden.models import ResourceType, enum_name
from boardwarden.render.text import duration as duration_text
from boardwarden.render.text import size as size_text
from boardwarden.transport.address import FORMS

E = TypeVar("E", bound=IntEnum)
T = TypeVar("T")
_ARGUMENTS = (
    *("max_operations", "operation_timeout", "memory_reserve", "overrun", "mount", "owner"),
    *("warn", "critical", "clear", "hold"),
)
_LONGEST_S = 3650 * 86_400.0  # ten years: that a board counts less is no matter of recordings
_LEAST_FILE_BYTES = 64 * 1024  # of a recording: one with a single sample has 40 KB
_CLOCK_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


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
    begin = None if since is None else checked(parse_moment, "--since", since)
    end = None if until is None else checked(parse_moment, "--until", until)
    if begin is not None and end is not None and begin >= end:
        fail("--since must be before --until.")
    return begin, end, duration_option("--last", last)


# --- what is typed --------------------------------------------------------------------------------


def words(kind: type[IntEnum]) -> list[str]:
    """Return the names of an enum's members as they are typed."""
    return [enum_name(each).replace("_", "-") for each in kind]


def parse_member(kind: type[E], what: str, text: str) -> E:
    """Return an enum's member by its name, as words() has it; `what` it is, for the error."""
    try:
        return kind[text.upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(words(kind))
        raise ValueError(f"There is no {what} {text!r}; there are {names}.") from None


def parse_amount(kind: ResourceType, text: str) -> float:
    """Return an amount: 8192, 8k or 1M bytes; of CPU time 0.25 or 25%."""
    if kind is ResourceType.CPU_TIME:
        return _quantities.fraction("The amount", text)
    return _quantities.size("The amount", text)


def parse_metric(text: str) -> str:
    """Return a threshold's metric."""
    name = text.replace("-", "_")
    if name not in THRESHOLD_METRICS:
        raise ValueError(f"There is no metric {text!r}; there are {', '.join(THRESHOLD_METRICS)}.")
    return name


def with_option_names(check: Callable[..., T], *given: object) -> T:
    """Return the result of a check; its ValueError names the option instead of the argument."""
    try:
        return check(*given)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        if name not in _ARGUMENTS:
            raise
        raise ValueError(f"--{name.replace('_', '-')} {rest}") from None


def parse_duration(name: str, text: str, least: float = 0.001, most: float = _LONGEST_S) -> float:
    """Return a duration in seconds that lies in a range: 500ms, 2s, 1m, 2h, 1d, 90."""
    length = _quantities.seconds(name, text)
    if not least <= length <= most:
        allowed = f"from {duration_text(least)} to {duration_text(most)}"
        raise ValueError(f"{name} must be {allowed}, not {text!r}.")
    return length


def duration_option(name: str, text: str | None, *allowed: float) -> float | None:
    """Return parse_duration() of an option, None where it is not given; exit if it is wrong."""
    return None if text is None else checked(parse_duration, name, text, *allowed)


def parse_file_size(name: str, text: str) -> int:
    """Return a size in bytes at which a recording is put aside."""
    size = _quantities.size(name, text)
    if size < _LEAST_FILE_BYTES:
        least = size_text(_LEAST_FILE_BYTES)
        raise ValueError(f"{name} must be at least {least}, such as 100M, not {text!r}.")
    return size


def parse_moment(name: str, text: str) -> float:
    """Return a moment in seconds since the epoch: 2024-05-31, "2024-05-31 12:00" or 12:00.

    Local time, unless it says which; a time alone is today's.
    """
    words = text.strip()
    if _CLOCK_TIME.fullmatch(words):
        words = f"{datetime.now():%Y-%m-%d} {words if words[1] != ':' else '0' + words}"
    try:
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", words)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f'{name} must be a moment, as 2024-05-31, "2024-05-31 12:00" or 12:00, not {text!r}.'
        ) from None
