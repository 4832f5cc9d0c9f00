"""The command line: its commands, in groups."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated, Any

import typer
import typer.core

from boardwarden._program import checked_output

from . import terminal
from .alloc import alloc
from .crashes import crashes, safe
from .deploy import deploy
from .doctor import boards, doctor
from .grants import cancel, leases, ops, release, sessions
from .limits import limits, thresholds
from .look import capabilities, console, events, status, trends
from .plot import plot
from .policy import apply, policy
from .record import record
from .replay import replay
from .serve import serve
from .top import top
from .watch import watch


class Command(typer.core.TyperCommand):
    """A command whose help shows no value for a flag, which takes none."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options and arguments, `--help` among them."""
        return _without_bool(super().get_params(ctx))


class Group(typer.core.TyperGroup):
    """All commands; for the options before them, as Command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, `--help` among them."""
        return _without_bool(super().get_params(ctx))


def _without_bool(params: list[Any]) -> list[Any]:
    for each in params:
        if getattr(each, "is_flag", False):
            each.metavar = ""  # else Typer writes <bool>
    return params


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; docs/host.md has its exit statuses."""
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="replace")  # a board's name must not stop us
    # Typer would guess the shell and take no name: `--show-completion bash` is to work anywhere.
    os.environ.setdefault("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    with checked_output():
        app(prog_name="boardwarden")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"boardwarden {version('boardwarden')}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
]


VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Log on standard error what happens to links.")
]


@app.callback()
def options(version: VersionOption = False, verbose: VerboseOption = False) -> None:
    """Shows how a MicroPython board is doing, without slowing it down."""
    if verbose:
        terminal.show_logs(logging.DEBUG)


# In the order in which `boardwarden --help` has them: what a new user looks for first comes first.
PANELS = {
    "Begin": (boards, doctor, deploy),
    "Look": (watch, status, top, trends, events, crashes, console, capabilities),
    "Leases and operations": (leases, ops, sessions, alloc, release, cancel),
    "Limits and policy": (limits, thresholds, policy, apply, safe),
    "Record and export": (record, plot, replay, serve),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel, cls=Command)(command)
