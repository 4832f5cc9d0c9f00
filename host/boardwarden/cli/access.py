"""Commands that say who may do what: keys of boards, users of the web page, rules of a broker."""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from boardwarden import keys
from boardwarden._program import (
    FAILED,
    Failure,
    checked,
    fail,
    print_json,
    print_line,
    print_table,
    reported,
)
from boardwarden._protocol.keys import Secret
from boardwarden.transport.address import SERIAL_FORMS, is_mqtt, is_network, is_serial
from warden_schema import ids

from .options import BoardOption, JsonOption, check_word, given, one_of, require

_KEY_ACTIONS = ("new", "put", "check", "renew", "forget")
_RIGHTS = ids.RIGHTS[ids.OBSERVE :]
_USER_ACTIONS = ("add", "remove", "list")
BROKERS = ("mosquitto",)
_RULE_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HEAD = """\
# Access rules for mosquitto: save them as /etc/mosquitto/boardwarden.acl. In mosquitto.conf:
#
#   allow_anonymous false
#   password_file /etc/mosquitto/boardwarden.passwd
#   acl_file /etc/mosquitto/boardwarden.acl
#   message_size_limit 65536
#   max_queued_messages 60000
#
# A board reads each message whole into its memory: that limit is for all topics, so choose it by
# your longest message. Who asks which boards there are gets the states of all of them at once: of
# what the network does not take, mosquitto keeps so many, else 1000, and drops the rest.
#
# Each board, and each who uses them, has a name and a password of its own; a board's name is its
# id. This asks for a password, and adds who it is for (with -c it makes the file):
#
#   mosquitto_passwd -c /etc/mosquitto/boardwarden.passwd NAME
#
# Passwords cross the network as they are: use a listener with TLS (certfile, keyfile), and mqtts://.

# A board writes its own stream and state, and reads what is for it; nothing of other boards.
pattern write boardwarden/%u/up
pattern write boardwarden/%u/state
pattern read boardwarden/%u/down
"""
_OBSERVER = """
# {name} observes: sees all boards, and changes nothing.
user {name}
topic read boardwarden/+/up
topic read boardwarden/+/state
"""
_OPERATOR = """
# {name} operates: sees all boards, and requests of them what they allow.
user {name}
topic read boardwarden/+/up
topic read boardwarden/+/state
topic write boardwarden/+/down
"""


def key(
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION",
            help=", ".join(_KEY_ACTIONS) + ".",
            autocompletion=one_of(_KEY_ACTIONS),
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

    `new` makes a secret for a fleet of boards. `put` derives a board's keys from it and writes
    them to the board, over its serial port. `check` says whether a board has them.

    To change the secret: `renew` makes a new one and keeps the old one beside it, `put` writes both
    to each board, `forget` drops the old one, and `put` takes it off each board.
    """
    check_word("key", action, _KEY_ACTIONS)
    check_word("--right", right, _RIGHTS)
    with reported():
        if action == "new":
            keys.save(file, keys.new_secret(right))
            print_line(f"{file} has a new secret to {right}: whoever has it has that right.")
            return
        secret = keys.load(file)
        if action == "put":
            _put(given(board, forms=SERIAL_FORMS), secret)
        elif action == "check":
            _check(given(board), file, secret)
        elif action == "renew":
            keys.save(file, keys.renewed(secret), replace=True)
            print_line(f"{file} has a new secret, and the former: put both on each board.")
            if len(secret.generations) > 1:
                print_line(
                    "It had a former one already: boards that have only that refuse this file."
                )
        elif len(secret.generations) == 1:
            print_line(f"{file} has no former secret.")
        else:
            keys.save(file, keys.without_former(secret), replace=True)
            print_line(f"{file} has only the new secret: put it on each board.")


def _put(address: str, secret: Secret) -> None:
    if not is_serial(address):
        raise Failure(f"{address} is no serial port: keys are written over one only.")
    require("boardwarden key put", "mpremote", "mpremote", "deploy")
    from boardwarden.deploy import keys as board_keys

    unique_id = board_keys.put(address, secret)
    print_line(f"The board {_name(unique_id)} has its keys; its program was started anew.")


def _check(address: str, file: str, secret: Secret) -> None:
    if is_network(address) or is_mqtt(address):
        unique_id = asyncio.run(_prove(address, file))
        print_line(f"The board {_name(unique_id)} proves its key.")
        return
    if not is_serial(address):
        raise Failure(f"{address} is neither a serial port nor on a network.")
    require("boardwarden key check", "mpremote", "mpremote", "deploy")
    from boardwarden.deploy import keys as board_keys

    found, unique_id = board_keys.has(address, secret)
    print_line(f"The board {_name(unique_id)} has {'' if found else 'not all of '}its keys.")
    if not found:
        raise typer.Exit(FAILED)


async def _prove(address: str, file: str) -> bytes:
    from boardwarden import connect

    async with connect(address, key=file) as board:
        return bytes.fromhex(board.status.board.unique_id or "")


def _name(unique_id: bytes) -> str:
    return unique_id.hex() or "without a unique id"


def users(
    action: Annotated[
        str,
        typer.Argument(
            metavar="ACTION",
            help=", ".join(_USER_ACTIONS) + ".",
            autocompletion=one_of(_USER_ACTIONS),
        ),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The users' file.", readable=False)],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The user to add or remove.", show_default=False)
    ] = "",
    control: Annotated[
        bool, typer.Option("--control", help="For add: may send requests to boards, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Add, remove or list the users who may see the web page.

    `add` asks for the password twice; if standard input is no terminal, it reads one line from it.
    Adding a user who exists changes password and right. A running `boardwarden serve` follows the
    file: a user who is removed is signed out.
    """
    from boardwarden.web import access as store

    with reported():
        check_word("users", action, _USER_ACTIONS)
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
    try:
        first, again = getpass.getpass("password: "), getpass.getpass("again: ")
    except EOFError:  # Ctrl-D, which leaves the terminal at the prompt
        print(file=sys.stderr, flush=True)
        fail("No password was typed; nothing was changed.")
    if again != first:
        fail("The two passwords differ; nothing was changed.")
    return first


def broker_rules(
    broker: Annotated[
        str,
        typer.Argument(metavar="BROKER", help="mosquitto.", autocompletion=one_of(BROKERS)),
    ],
    operators: Annotated[
        list[str] | None,
        typer.Option("--operator", metavar="NAME", help="Who may control; may be repeated."),
    ] = None,
    observers: Annotated[
        list[str] | None,
        typer.Option("--observer", metavar="NAME", help="Who may only look; may be repeated."),
    ] = None,
) -> None:
    """Print access rules for an MQTT broker: boards, operators and observers."""
    if broker not in BROKERS:
        fail(f"There are rules for {', '.join(BROKERS)}, not for {broker!r}.")
    names = (*(operators or ()), *(observers or ()))
    wrong = [name for name in names if not _RULE_NAME.fullmatch(name)]
    if wrong:
        fail(f"{wrong[0]!r} is no name for a rule: letters, digits and . _ @ - only.")
    text = _HEAD
    for name in observers or ([] if operators else ["observer"]):
        text += _OBSERVER.format(name=name)
    for name in operators or ([] if observers else ["operator"]):
        text += _OPERATOR.format(name=name)
    print_line(text.rstrip())
