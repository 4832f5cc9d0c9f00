"""`boardwarden serve`: exports figures, and shows them on a web page; `users`: who may see that."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boardwarden._paths import reason
from boardwarden._program import (
    Failure,
    checked,
    fail,
    print_json,
    print_line,
    print_table,
    reported,
    run,
)
from boardwarden.web.access import (
    CONTROL,
    OBSERVE,
    Access,
    AccessError,
    UsersFile,
    check_access,
    check_name,
    load_users,
    new_user,
    parse_networks,
    save_users,
)

from . import terminal
from .options import BoardsOption, JsonOption, all_given, check_word, one_of, require

if TYPE_CHECKING:
    from boardwarden.serve.service import Outlets
    from boardwarden.serve.watched import Follower
    from boardwarden.web.server import PageOptions

_USER_ACTIONS = ("add", "remove", "list")
_ALL = "1/1"  # of one worker alone


def serve(
    board: BoardsOption = None,
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Where Prometheus scrapes /metrics; port 0 picks a free one."
        ),
    ] = "127.0.0.1:9477",
    otlp: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Also push to this OTLP collector, such as http://localhost:4318."
        ),
    ] = None,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Post to this webhook: crossed thresholds, crashes, boards that are lost or back.",
        ),
    ] = None,
    quiet: Annotated[
        str | None,
        typer.Option(
            metavar="HH:MM-HH:MM", help="Post nothing at these times, and one summary after them."
        ),
    ] = None,
    home_assistant: Annotated[
        bool,
        typer.Option(
            "--home-assistant", help="Show the boards in Home Assistant, at their broker."
        ),
    ] = False,
    home_assistant_at: Annotated[
        str,
        typer.Option(
            metavar="BROKER", help="Likewise, at another broker: mqtt://user@homeassistant.local."
        ),
    ] = "",
    shard: Annotated[
        str,
        typer.Option(
            metavar="K/N",
            help="Of a broker's boards only this share: one worker has 1/2, another 2/2.",
        ),
    ] = _ALL,
    page: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where the web page is, such as 127.0.0.1:8080."),
    ] = None,
    users: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Who may see the page, and who may control: see boardwarden users.",
            readable=False,
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page's certificate.", readable=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's key.", readable=False)
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="The page is reached through this reverse proxy only; may be repeated.",
        ),
    ] = None,
    user_header: Annotated[
        str, typer.Option(metavar="NAME", help="The header in which the proxy names the user.")
    ] = "",
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST", help="A host name by which browsers reach the page; may be repeated."
        ),
    ] = None,
    recording: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A recording of these boards: the page's graphs go back as far.",
            readable=False,
        ),
    ] = None,
    broker: Annotated[
        str,
        typer.Argument(
            metavar="BROKER",
            help="mqtt://broker or mqtts://user@broker: all boards of a broker, as they come.",
        ),
    ] = "",
) -> None:
    """Serve metrics to Prometheus, push them over OTLP, show a web page, until Ctrl-C."""
    if broker and board:
        fail("--board names single boards, so it goes without a broker.")
    if not broker and shard != _ALL:
        fail("--shard is of a broker's boards, so it goes with a broker.")
    boards = [] if broker else all_given(board)
    extra = "prometheus" if page is None else "web"  # which has all that the page needs, too
    require("boardwarden serve", "prometheus_client", "prometheus-client", extra)
    if otlp is not None:
        module = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
        require("boardwarden serve --otlp", module, "OpenTelemetry's SDK", "otel")
        from boardwarden.serve.otlp import endpoint

        otlp = checked(endpoint, otlp)
    from boardwarden.serve import service

    access = PageAccess(users, tls_cert, tls_key, proxy or (), user_header, name or (), recording)
    shown = None if page is None else _page(checked(service.parse_listen, page), access)
    if page is None and any(vars(access).values()):
        fail(
            "--users, --tls-cert, --tls-key, --proxy, --user-header, --name and --recording go "
            "with --page."
        )
    followers = _notices(notify, quiet)
    if home_assistant or home_assistant_at:
        followers.append(_in_home_assistant(home_assistant_at or broker))
    outlets = service.Outlets(checked(service.parse_listen, listen), otlp, shown, followers)
    if broker:
        share = checked(service.parse_shard, shard)
        fleet = checked(service.Fleet, broker, share)
        what = f"the boards of {broker}, share {shard}"
        run(_serve(what, outlets, partial(service.serve_fleet, fleet, outlets)))
        return
    checked(service.check_boards, boards)
    run(_serve(", ".join(boards), outlets, partial(service.serve, boards, outlets)))


def _in_home_assistant(broker: str) -> Follower:
    if not broker:
        fail("Home Assistant is reached by a broker: name it with --home-assistant-at.")
    require("boardwarden serve --home-assistant", "paho.mqtt", "paho-mqtt", "mqtt")
    from boardwarden.serve.home_assistant import HomeAssistant

    return checked(HomeAssistant, broker)


def _notices(notify: str | None, quiet: str | None) -> list[Follower]:
    if notify is None:
        if quiet is not None:
            fail("--quiet is about --notify URL, which is missing.")
        return []
    from boardwarden.serve.notify import Notifier, Webhook, check_url, parse_quiet

    times = None if quiet is None else checked(parse_quiet, quiet)
    return [Notifier(Webhook(checked(check_url, notify), times))]


@dataclass(frozen=True)
class PageAccess:
    """The options of the page."""

    users: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxy: Sequence[str] = ()
    user_header: str = ""
    name: Sequence[str] = ()
    recording: Path | None = None


def _page(place: tuple[str, int], given: PageAccess) -> PageOptions:
    """Return where the page is and who may see it, or exit."""
    require("boardwarden serve --page", "starlette", "Starlette", "web")
    require("boardwarden serve --page", "uvicorn", "uvicorn", "web")
    from boardwarden.web.server import PageOptions

    if (given.tls_cert is None) != (given.tls_key is None):
        fail("--tls-cert and --tls-key go together.")
    tls = None
    if given.tls_cert is not None and given.tls_key is not None:
        tls = given.tls_cert, given.tls_key
    access = Access(
        None if given.users is None else checked(UsersFile, given.users),
        tls,
        checked(parse_networks, given.proxy),
        given.user_header,
        tuple(given.name),
    )
    checked(check_access, place[0], access)
    if given.recording is not None:
        from boardwarden.recording.reading import Recording

        checked(Recording, given.recording).close()
    return PageOptions(*place, access, given.recording)


async def _serve(
    what: str,
    outlets: Outlets,
    begin: Callable[[Callable[[str, str], None]], Coroutine[Any, Any, None]],
) -> None:
    """Serve until Ctrl-C, or SIGTERM, as a service is ended; then exit status 0."""
    terminal.show_logs(logging.INFO)

    def serving(url: str, page_url: str) -> None:
        print_line(f"serving {what} at {url}")
        if outlets.page is not None:
            print_line(f"the page is at {page_url}; {outlets.page.access.words()}")

    task = asyncio.ensure_future(begin(serving))
    with terminal.on_signal(signal.SIGTERM, task.cancel):
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:  # Ctrl-C
            task.cancel()
            await asyncio.wait([task])
            raise
    if not task.cancelled():
        try:
            task.result()
        except AccessError as error:
            raise Failure(str(error)) from None
        except OSError as error:
            host, port = outlets.listen
            raise Failure(f"Cannot listen on {host}:{port}: {reason(error)}.") from None


# --- who may see the page -------------------------------------------------------------------------


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
    with reported():
        check_word("users", action, _USER_ACTIONS)
        if bool(name) != (action != "list"):
            fail(f"users {action} FILE takes {'no name' if name else 'the name of a user'}.")
        if as_json and action != "list":
            fail("--json goes with list.")
        found = checked(load_users, file) if action != "add" or os.path.lexists(file) else {}
        if action == "add":
            checked(check_name, name)
            right = CONTROL if control else OBSERVE
            user = checked(new_user, name, right, _password())
            checked(save_users, file, {**found, name: user})
            print_line(f"{name} may {right}; boardwarden serve --users {file} lets them in")
        elif action == "remove":
            if name not in found:
                fail(f"{file} has no user {name!r}.")
            del found[name]
            checked(save_users, file, found)
            print_line(f"{name} may not look any more")
        elif as_json:
            print_json({"users": [{"name": each, "right": found[each].right} for each in found]})
        else:
            rows = [(each, found[each].right) for each in found]
            print_table(("name", "may"), rows, "no users")


def _password() -> str:
    """Return the password, which has to be what a browser could send: text of UTF-8."""
    try:
        password = _entered()
        password.encode()
    except UnicodeError:
        fail("The password is not UTF-8 text, as browsers send it; nothing was changed.")
    return password


def _entered() -> str:
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
