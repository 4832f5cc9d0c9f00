"""Commands that set boards up: the agent on a board, its keys, the rules of a broker."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boardwarden import keys
from boardwarden._program import (
    FAILED,
    Failure,
    fail,
    print_json,
    print_line,
    print_table,
    reported,
)
from boardwarden._protocol.keys import Secret
from boardwarden.render.text import size
from boardwarden.transport.address import SERIAL_FORMS, is_mqtt, is_network, is_serial
from warden_schema import ids

from .options import (
    ENVIRONMENT,
    BoardOption,
    JsonOption,
    YesOption,
    check_word,
    given,
    one_of,
    require,
)
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
_START_FILES = ("main.py", "boot.py")
_WAYS = ("files", "romfs", "bytecode")
# What the table of --plan calls them.
_LABELS = {
    "files": "files",
    "bytecode": "files, bytecode only",
    "romfs": "ROMFS",
    "frozen": "frozen",
}
_KEY_ACTIONS = ("new", "put", "check", "renew", "forget")
_KEY_RIGHTS = ids.RIGHTS[ids.OBSERVE :]
BROKERS = ("mosquitto",)
_RULE_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_RULES = """\
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
_OBSERVER_RULES = """
# {name} observes: sees all boards, and changes nothing.
user {name}
topic read boardwarden/+/up
topic read boardwarden/+/state
"""
_OPERATOR_RULES = """
# {name} operates: sees all boards, and requests of them what they allow.
user {name}
topic read boardwarden/+/up
topic read boardwarden/+/state
topic write boardwarden/+/down
"""


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
        check_word("--start", start, _START_FILES)
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


# --- keys -----------------------------------------------------------------------------------------


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
            autocompletion=one_of(_KEY_RIGHTS),
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
    check_word("--right", right, _KEY_RIGHTS)
    with reported():
        if action == "new":
            keys.save(file, keys.new_secret(right))
            print_line(f"{file} has a new secret to {right}: whoever has it has that right.")
            return
        secret = keys.load(file)
        if action == "put":
            _put_keys(given(board, forms=SERIAL_FORMS), secret)
        elif action == "check":
            _check_keys(given(board), file, secret)
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


def _put_keys(address: str, secret: Secret) -> None:
    if not is_serial(address):
        raise Failure(f"{address} is no serial port: keys are written over one only.")
    require("boardwarden key put", "mpremote", "mpremote", "deploy")
    from boardwarden.deploy.installing import put_keys

    unique_id = put_keys(address, secret)
    print_line(f"The board {_board_name(unique_id)} has its keys; its program was started anew.")


def _check_keys(address: str, file: str, secret: Secret) -> None:
    if is_network(address) or is_mqtt(address):
        unique_id = asyncio.run(_prove(address, file))
        print_line(f"The board {_board_name(unique_id)} proves its key.")
        return
    if not is_serial(address):
        raise Failure(f"{address} is neither a serial port nor on a network.")
    require("boardwarden key check", "mpremote", "mpremote", "deploy")
    from boardwarden.deploy.installing import has_keys

    found, unique_id = has_keys(address, secret)
    print_line(f"The board {_board_name(unique_id)} has {'' if found else 'not all of '}its keys.")
    if not found:
        raise typer.Exit(FAILED)


async def _prove(address: str, file: str) -> bytes:
    from boardwarden import connect

    async with connect(address, key=file) as board:
        return bytes.fromhex(board.status.board.unique_id or "")


def _board_name(unique_id: bytes) -> str:
    return unique_id.hex() or "without a unique id"


# --- a broker's rules -----------------------------------------------------------------------------


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
    text = _RULES
    for name in observers or ([] if operators else ["observer"]):
        text += _OBSERVER_RULES.format(name=name)
    for name in operators or ([] if observers else ["operator"]):
        text += _OPERATOR_RULES.format(name=name)
    print_line(text.rstrip())
