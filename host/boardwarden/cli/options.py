"""Options that commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from boardwarden.transport.address import FORMS

from .outcome import fail

ENVIRONMENT = "BOARDWARDEN_BOARD"

BoardOption = Annotated[
    str,
    typer.Option("--board", envvar=ENVIRONMENT, metavar="ADDRESS", help=FORMS, show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
PriorityOption = Annotated[
    str, typer.Option("--priority", metavar="LEVEL", help="low, normal, high or critical.")
]


def given(board: str) -> str:
    """Return the address, or say how to give one."""
    if not board:
        fail(f"Which board? Give --board or set {ENVIRONMENT}: {FORMS}.")
    return board
