"""`boardwarden key`: makes a fleet's secret, and brings what is derived of it to boards."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from boardwarden import keys
from boardwarden._program import FAILED, Failure, fail, print_line, reported
from boardwarden._protocol.keys import Secret
from boardwarden.transport.address import is_network, is_serial
from warden_schema import ids

from .options import BoardOption, given, one_of

_ACTIONS = ("new", "put", "check", "renew", "forget")
_RIGHTS = ids.RIGHTS[ids.OBSERVE :]


def key(
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION", help=", ".join(_ACTIONS) + ".", autocompletion=one_of(_ACTIONS)
        ),
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The key file, or keyring:NAME of an entry.")
    ],
    board: BoardOption = "",
    right: Annotated[
        str,
        typer.Option(
            metavar="RIGHT",
            help="For new: what the secret is good for, control or only observe.",
            autocompletion=one_of(_RIGHTS),
        ),
    ] = "control",
) -> None:
    """Make, write, check or change the keys by which hosts and boards know each other.

    new makes a secret for a fleet. put writes what is derived of it to a board, over its serial
    port. check says whether a board has it. renew makes a new secret, and keeps the one before:
    put both on all boards, then forget the former, and put again.
    """
    if action not in _ACTIONS:
        fail(f"key takes {', '.join(_ACTIONS[:-1])} or {_ACTIONS[-1]}, not {action}.")
    if right not in _RIGHTS:
        fail(f"--right takes {' or '.join(_RIGHTS)}, not {right}.")
    with reported():
        if action == "new":
            keys.save(file, keys.new_secret(right))
            print_line(f"{file} has a new secret to {right}: whoever has it has that right.")
            return
        secret = keys.load(file)
        if action == "put":
            _put(given(board), secret)
        elif action == "check":
            _check(given(board), file, secret)
        elif action == "renew":
            keys.save(file, keys.renewed(secret), replace=True)
            print_line(f"{file} has a new secret, and the former: put both on each board.")
        elif len(secret.generations) == 1:
            print_line(f"{file} has no former secret.")
        else:
            keys.save(file, keys.without_former(secret), replace=True)
            print_line(f"{file} has only the new secret: put it on each board.")


def _put(address: str, secret: Secret) -> None:
    from .deploy import deploying_module

    if not is_serial(address):
        raise Failure(f"{address} is no serial port: keys are written over one only.")
    unique_id = deploying_module("key put", "keys").put(address, secret)
    print_line(f"The board {_name(unique_id)} has its keys; its program was started anew.")


def _check(address: str, file: str, secret: Secret) -> None:
    from .deploy import deploying_module

    if is_network(address):
        unique_id = asyncio.run(_prove(address, file))
        print_line(f"The board {_name(unique_id)} proves its key.")
        return
    if not is_serial(address):
        raise Failure(f"{address} is neither a serial port nor on a network.")
    found, unique_id = deploying_module("key check", "keys").has(address, secret)
    print_line(f"The board {_name(unique_id)} has {'' if found else 'not all of '}its keys.")
    if not found:
        raise typer.Exit(FAILED)


async def _prove(address: str, file: str) -> bytes:
    from boardwarden import connect

    async with connect(address, key=file) as board:
        return bytes.fromhex(board.status.board.unique_id or "")


def _name(unique_id: bytes) -> str:
    return unique_id.hex() or "without a unique id"
