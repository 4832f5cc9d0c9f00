"""`boardwarden users`: the file of who may see the web page of `boardwarden serve`."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from boardwarden._program import checked, fail, print_json, print_line, print_table, reported

from .options import JsonOption, one_of

_ACTIONS = ("add", "remove", "list")


def users(
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION", help=", ".join(_ACTIONS) + ".", autocompletion=one_of(_ACTIONS)
        ),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file.", readable=False)],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The user to add or remove.", show_default=False)
    ] = "",
    control: Annotated[
        bool, typer.Option("--control", help="For add: may send requests to boards, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say who may see the web page, with which password.

    add asks for the password twice; where it is piped in, it reads one line. Adding a user who is
    there already gives a new password and right. A running `boardwarden serve` follows the file:
    whoever is removed is signed out.
    """
    with reported():
        _users(action, file, name, control, as_json)


def _users(action: str, file: Path, name: str, control: bool, as_json: bool) -> None:
    """Do it."""
    from boardwarden.web import users as store

    if action not in _ACTIONS:
        fail(f"users takes {', '.join(_ACTIONS[:-1])} or {_ACTIONS[-1]}, not {action}.")
    if bool(name) != (action != "list"):
        fail(f"users {action} FILE takes {'no name' if name else 'the name of a user'}.")
    if as_json and action != "list":
        fail("--json goes with list.")
    found = checked(store.load, file) if action != "add" or os.path.lexists(file) else {}
    if action == "add":
        checked(store.check_name, name)
        right = store.CONTROL if control else store.OBSERVE
        user = checked(store.new_user, name, right, _password())
        checked(store.save, file, {**found, name: user})
        print_line(f"{name} may {right}; boardwarden serve --users {file} lets them in")
    elif action == "remove":
        if name not in found:
            fail(f"{file} has no user {name!r}.")
        del found[name]
        checked(store.save, file, found)
        print_line(f"{name} may not look any more")
    elif as_json:
        print_json({"users": [{"name": each, "right": found[each].right} for each in found]})
    else:
        rows = [(each, found[each].right) for each in found]
        print_table(("name", "may"), rows, "no users")


def _password() -> str:
    """Return the password that is typed twice, or the line that is piped in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("password: ")
    if getpass.getpass("again: ") != first:
        fail("The two passwords differ; nothing was changed.")
    return first
