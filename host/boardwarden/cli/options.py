"""Options that commands share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from boardwarden.kinds import Priority
from boardwarden.transport.address import FORMS

from . import parse
from .complete import addresses, one_of
from .outcome import fail

ENVIRONMENT = "BOARDWARDEN_BOARD"

BoardOption = Annotated[
    str,
    typer.Option(
        "--board",
        envvar=ENVIRONMENT,
        metavar="ADDRESS",
        help=FORMS,
        show_default=False,
        autocompletion=addresses,
    ),
]
BoardsOption = Annotated[
    list[str],
    typer.Option(
        "--board",
        metavar="ADDRESS",
        help=f"{FORMS}; may be repeated. Else {ENVIRONMENT}.",
        show_default=False,
        autocompletion=addresses,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
PriorityOption = Annotated[
    str,
    typer.Option(
        "--priority",
        metavar="LEVEL",
        help="low, normal, high or critical.",
        autocompletion=one_of(parse.words(Priority)),
    ),
]


def given(board: str, how: str = "--board") -> str:
    """Return the address, or say how to give one."""
    if not board:
        fail(f"Which board? Give {how} or set {ENVIRONMENT}: {FORMS}.")
    return board


def all_given(boards: Sequence[str]) -> list[str]:
    """Return the addresses, else the one of the environment, or say how to give one."""
    return list(boards) or [given(os.environ.get(ENVIRONMENT, ""))]
