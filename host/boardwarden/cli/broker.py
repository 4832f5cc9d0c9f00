"""`boardwarden broker-rules`: who may do what at an MQTT broker, in the broker's own words."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from boardwarden._program import fail, print_line

from .options import one_of

BROKERS = ("mosquitto",)
_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_HEAD = """\
# Access rules for mosquitto: save them as /etc/mosquitto/boardwarden.acl. In mosquitto.conf:
#
#   allow_anonymous false
#   password_file /etc/mosquitto/boardwarden.passwd
#   acl_file /etc/mosquitto/boardwarden.acl
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
    wrong = [name for name in (*(operators or ()), *(observers or ())) if not _NAME.fullmatch(name)]
    if wrong:
        fail(f"{wrong[0]!r} is no name for a rule: letters, digits and . _ @ - only.")
    text = _HEAD
    for name in observers or ([] if operators else ["observer"]):
        text += _OBSERVER.format(name=name)
    for name in operators or ([] if observers else ["operator"]):
        text += _OPERATOR.format(name=name)
    print_line(text.rstrip())
