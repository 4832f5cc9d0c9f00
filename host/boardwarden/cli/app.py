"""The command line's words and options; `commands` has what they do."""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import Annotated

import typer
from typer.models import CommandInfo

from boardwarden._program import run

from . import (
    commands,
    deploy_app,
    grant_app,
    policy_app,
    record_app,
    serve_app,
    terminal,
    watch_app,
)
from .options import BoardOption, JsonOption, given

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

PeriodOption = Annotated[
    float, typer.Option("--period", metavar="SECONDS", min=1, help="How far to look back.")
]


def main() -> None:
    """Run the command line; docs/host.md has its exit statuses."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a board prints must not stop us
    # Typer would guess the shell and take no name: `--show-completion bash` is to work anywhere.
    os.environ.setdefault("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
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


@app.command()
def status(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show the board's state now."""
    run(commands.status(given(board), as_json))


@app.command()
def trends(
    board: BoardOption = "", period: PeriodOption = 60.0, as_json: JsonOption = False
) -> None:
    """Show where memory, storage and load are going, from the board's own history."""
    run(commands.trends(given(board), period, as_json))


@app.command()
def capabilities(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show what the board can measure, and why it cannot measure the rest."""
    run(commands.capabilities(given(board), as_json))


@app.command()
def console(board: BoardOption = "", as_json: JsonOption = False) -> None:
    """Show what the application prints, until Ctrl-C."""
    run(commands.console(given(board), as_json))


_PARTS = (grant_app, serve_app, policy_app, deploy_app, watch_app, record_app)
for command in (command for part in _PARTS for command in part.COMMANDS):
    app.command()(command)

# How `boardwarden --help` orders them: what a new user looks for first comes first.
_PANELS = {
    "Begin": ("boards", "doctor", "deploy"),
    "Look": ("watch", "status", "top", "trends", "events", "console", "capabilities"),
    "Leases and operations": ("leases", "ops", "sessions", "alloc", "release", "cancel"),
    "Limits and policy": ("limits", "thresholds", "policy", "apply"),
    "Record and export": ("record", "plot", "replay", "serve"),
}
_ORDER = [(panel, name) for panel, names in _PANELS.items() for name in names]


def _place(info: CommandInfo) -> int:
    name: str = getattr(info.callback, "__name__", "")
    return [each for _, each in _ORDER].index(name)


app.registered_commands.sort(key=_place)
for command_info in app.registered_commands:
    command_info.rich_help_panel = _ORDER[_place(command_info)][0]
