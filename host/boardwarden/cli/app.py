"""The command line: its commands, in groups."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from boardwarden._program import checked_output, open_streams
from boardwarden._protocol.keys import KEY_ENVIRONMENT

from . import terminal

# In the order in which `boardwarden --help` has them: what a new user looks for first comes first.
# A command is the function of its name in the module beside it, which is imported when it is run.
PANELS = {
    "Begin": {
        "boards": "doctor",
        "doctor": "doctor",
        "deploy": "setup",
        "key": "setup",
        "broker-rules": "setup",
    },
    "Look": {
        "watch": "look",
        "status": "look",
        "top": "look",
        "trends": "look",
        "events": "look",
        "crashes": "look",
        "console": "look",
        "capabilities": "look",
    },
    "Leases and operations": {
        "leases": "grants",
        "ops": "grants",
        "sessions": "grants",
        "alloc": "grants",
        "release": "grants",
        "cancel": "grants",
    },
    "Limits and policy": {
        "limits": "grants",
        "thresholds": "grants",
        "policy": "policy",
        "apply": "policy",
        "safe": "look",
    },
    "Record and export": {
        "record": "record",
        "plot": "recordings",
        "replay": "recordings",
        "serve": "serve",
        "users": "serve",
    },
}
MODULES = {name: module for panel in PANELS.values() for name, module in panel.items()}


# They connect to no board: `key` writes keys at a serial port, the others read a recording.
_KEYLESS = ("key", "plot", "replay")


def function(name: str) -> Callable[..., None]:
    """Import the function of a command."""
    module = import_module(f".{MODULES[name]}", __package__)
    found: Callable[..., None] = getattr(module, name.replace("-", "_"))
    return found


def _flowing(run: Callable[..., None]) -> str:
    """Return a command's help: its docstring, of which the terminal breaks the lines."""
    paragraphs = (run.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


class Command(typer.core.TyperCommand):
    """A command whose help shows no value for a flag, and no braces around an argument."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return what follows the command's name in its usage: `FILE`, where Typer has `{FILE}`."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options and arguments, `--help` among them."""
        return _without_bool(super().get_params(ctx))


def _key_file() -> Any:
    """Return the option by which a command that has a board is given a key file."""
    return typer.core.TyperOption(
        param_decls=["--key-file"],
        metavar="FILE",
        help=f"The key for boards on a network. Else {KEY_ENVIRONMENT} names the file.",
        expose_value=False,
        callback=_use_key_file,
    )


def _use_key_file(context: Any, param: Any, place: str | None) -> None:
    """Have the connections of this command find the file where they look for it."""
    if place:
        os.environ[KEY_ENVIRONMENT] = place


class _Commands(Mapping[str, Any]):
    """Typer's commands by name, each made when it is asked for: a run needs one."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            panel = next((panel for panel in PANELS if name in PANELS[panel]), None)
            if panel is None:
                raise KeyError(name)
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            run = function(name)
            alone.command(rich_help_panel=panel, cls=Command, help=_flowing(run))(run)
            made = self._made[name] = typer.main.get_command(alone)
            if name not in _KEYLESS and any(each.name == "board" for each in made.params):
                made.params.append(_key_file())
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(MODULES)

    def __len__(self) -> int:
        return len(MODULES)


class Group(typer.core.TyperGroup):
    """All commands; for the options before them, as Command."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.commands: Any = _Commands()

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options, `--help` among them."""
        params = _without_bool(super().get_params(ctx))
        for each in params:
            if each.name in ("install_completion", "show_completion"):
                each.metavar = "SHELL"  # else Typer writes the names of all, in the place of help
        return params


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
    open_streams()
    # Typer would guess the shell and take no name: `--show-completion bash` is to work anywhere.
    os.environ.setdefault("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    with checked_output():
        app(prog_name="boardwarden")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"boardwarden {version('boardwarden')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log on standard error what happens to links.")
    ] = False,
) -> None:
    """Shows how a MicroPython board is doing, without slowing it down."""
    if verbose:
        terminal.show_logs(logging.DEBUG)
