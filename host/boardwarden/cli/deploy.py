"""`boardwarden deploy`: puts the agent on a board, or takes it off."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boardwarden._program import (
    FAILED,
    fail,
    print_json,
    print_line,
    print_table,
    reported,
)
from boardwarden.render.text import size
from boardwarden.transport.address import SERIAL_FORMS, is_serial

from .options import ENVIRONMENT, JsonOption, YesOption, check_word, given, one_of, require
from .terminal import TerminalReporter

if TYPE_CHECKING:
    from boardwarden.deploy.choosing import Option, Plan

PortArgument = Annotated[
    str,
    typer.Argument(
        metavar="PORT",
        envvar=ENVIRONMENT,
        show_default=False,
        help=f"Such as {SERIAL_FORMS}. Else the only USB serial port.",
    ),
]
_STARTS = ("main.py", "boot.py")
_WAYS = ("files", "romfs", "bytecode")
# What the table of --plan calls them.
_LABELS = {
    "files": "files",
    "bytecode": "files, bytecode only",
    "romfs": "ROMFS",
    "frozen": "frozen",
}


def deploy(
    port: PortArgument = "",
    start: Annotated[
        str, typer.Option(metavar="FILE", help="Have main.py or boot.py start the agent.")
    ] = "",
    way: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="WAY",
            help="files, bytecode or romfs. Else the best that fits.",
            autocompletion=one_of(_WAYS),
        ),
    ] = "",
    force: Annotated[
        bool,
        typer.Option("--force", help="Install the agent even if it leaves too little of the heap."),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Only show what the agent takes and what would be done.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the agent's files and the start line.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put the agent on a board over its serial port, and start it.

    Says first how much of the board's memory the agent takes. Compiles the agent for the board,
    copies the files that differ, and verifies them. The program on the board is stopped, and
    started again by a soft reset.

    --start shows what it would add to the file, and asks. With main.py it moves the present one to
    own/main.py and has the agent run that: crashes are recorded, and three in a row end in safe
    mode.
    """
    if start:
        check_word("--start", start, _STARTS)
    if way:
        check_word("--as", way, _WAYS)
    if start and remove:
        fail("--remove takes the start line out too, so it goes without --start.")
    if remove and (way or force or plan):
        fail("--remove goes without --as, --force and --plan.")
    port = given(port, "PORT", SERIAL_FORMS)
    if not is_serial(port):
        fail(f"{port} is no serial port: deploy goes through the REPL on one.")
    require("boardwarden deploy", "mpremote", "mpremote", "deploy")
    from boardwarden.deploy import deploying

    with reported(), _Reporter(yes, silent=as_json) as reporter:
        wishes = deploying.Wishes(way, force)
        if remove:
            deploying.remove(port, reporter)
            done: dict[str, Any] = {"removed": True}
        elif plan:
            found = deploying.plan(port, reporter, wishes, start)
            done = found.to_dict()
            if not as_json:
                _print_plan(found)
        else:
            done = {**deploying.deploy(port, start, reporter, wishes).to_dict(), "deployed": True}
        if as_json:
            print_json(done)
        if plan and found.choice is None:
            sys.stdout.flush()
            raise typer.Exit(FAILED)


class _Reporter(TerminalReporter):
    """Says nothing where JSON is printed; asks all the same."""

    def __init__(self, yes: bool, silent: bool) -> None:
        super().__init__(yes)
        self._silent = silent

    def say(self, text: str) -> None:
        if not self._silent:
            super().say(text)


def _print_plan(plan: Plan) -> None:
    """Print what each way takes, and what would be done."""
    free = size(plan.heap_free_bytes)
    states = list(dict.fromkeys(option.state for option in plan.options))
    ways = list(dict.fromkeys(option.way for option in plan.options))
    by = {(option.way, option.state): option for option in plan.options}
    rows = [[_LABELS[way], *(_cell(by[way, state]) for state in states)] for way in ways]
    if "frozen" not in ways and plan.frozen:
        rows.append(["frozen into firmware", *(size(plan.frozen.get(state)) for state in states)])
    print_table([f"of {free} of heap", *states], rows, "")
    if plan.choice is None:
        print_line(f"{plan.refused}.")
        return
    print_line(f"It would be {_LABELS[plan.choice.way]}, {plan.choice.state}.")
    for question in plan.questions:
        print_line(f"It would ask: {question}")
    if plan.copies_files:
        disk = "" if plan.choice.way == "romfs" else _disk(plan)
        print_line(f"It would write {size(plan.copies_bytes)}{disk}.")
    elif plan.copies_files == 0:
        print_line("It is there: nothing would be copied.")


def _disk(plan: Plan) -> str:
    free = plan.disk_free_bytes
    return f" of the {size(free)} of disk that are free" if free is not None else ""


def _cell(option: Option) -> str:
    if option.takes_bytes is None:
        return "not known"
    verdict = "" if option.fits else ": too much"
    return f"{size(option.takes_bytes)}{verdict}"
