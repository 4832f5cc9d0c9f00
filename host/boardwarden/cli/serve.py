"""`boardwarden serve`: exports figures until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boardwarden._program import Failure, checked, fail, print_line, run
from boardwarden.errors import AddressError

from . import terminal
from .options import BoardsOption, all_given, require

if TYPE_CHECKING:
    from boardwarden.serve.followers import Follower

ListenOption = Annotated[
    str,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help="Where Prometheus scrapes /metrics; port 0 picks a free one.",
    ),
]
OtlpOption = Annotated[
    str | None,
    typer.Option(
        "--otlp",
        metavar="URL",
        help="Also push to this OTLP collector, such as http://localhost:4318.",
    ),
]


BrokerArgument = Annotated[
    str,
    typer.Argument(
        metavar="BROKER",
        help="mqtt://broker or mqtts://user@broker: all boards of a broker, as they come.",
    ),
]
ShardOption = Annotated[
    str,
    typer.Option(
        "--shard",
        metavar="K/N",
        help="Of a broker's boards only this share: one worker has 1/2, another 2/2.",
    ),
]
NotifyOption = Annotated[
    str | None,
    typer.Option(
        "--notify",
        metavar="URL",
        help="Post to this webhook: crossed thresholds, crashes, boards that are lost or back.",
    ),
]
QuietOption = Annotated[
    str | None,
    typer.Option(
        "--quiet",
        metavar="HH:MM-HH:MM",
        help="Post nothing at these times, and one summary after them.",
    ),
]
HomeAssistantOption = Annotated[
    bool,
    typer.Option("--home-assistant", help="Show the boards in Home Assistant, at their broker."),
]
HomeAssistantAtOption = Annotated[
    str,
    typer.Option(
        "--home-assistant-at",
        metavar="BROKER",
        help="Likewise, at another broker: mqtt://user@homeassistant.local.",
    ),
]


def serve(
    board: BoardsOption = (),  # type: ignore[assignment]  # Typer makes a list of it
    listen: ListenOption = "127.0.0.1:9477",
    otlp: OtlpOption = None,
    notify: NotifyOption = None,
    quiet: QuietOption = None,
    home_assistant: HomeAssistantOption = False,
    home_assistant_at: HomeAssistantAtOption = "",
    shard: ShardOption = "1/1",
    broker: BrokerArgument = "",
) -> None:
    """Serve metrics to Prometheus, or push them over OTLP, until Ctrl-C."""
    if broker and board:
        fail("--board names single boards, so it goes without a broker.")
    boards = [] if broker else all_given(board)
    require("boardwarden serve", "prometheus_client", "prometheus-client", "prometheus")
    if otlp is not None:
        module = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
        require("boardwarden serve --otlp", module, "OpenTelemetry's SDK", "otel")
        from boardwarden.serve.otlp import endpoint

        otlp = checked(endpoint, otlp)
    from boardwarden.serve import service

    listening = checked(service.parse_listen, listen)
    followers = _notices(notify, quiet)
    if home_assistant or home_assistant_at:
        followers.append(_in_home_assistant(home_assistant_at or broker))
    if broker:
        from boardwarden.serve.fleet import Fleet, parse_shard

        share = checked(parse_shard, shard)
        try:
            fleet = Fleet(broker, share)
        except AddressError as error:
            fail(str(error))
        what = f"the boards of {broker}, share {shard}"
        run(
            _serve(
                what,
                listening,
                partial(service.serve_fleet, fleet, listening, otlp, followers=followers),
            )
        )
        return
    try:
        checked(service.check_boards, boards)
    except AddressError as error:
        fail(str(error))
    run(
        _serve(
            ", ".join(boards),
            listening,
            partial(service.serve, boards, listening, otlp, followers=followers),
        )
    )


def _in_home_assistant(broker: str) -> Follower:
    if not broker:
        fail("Home Assistant is reached by a broker: name it with --home-assistant-at.")
    require("boardwarden serve --home-assistant", "paho.mqtt", "paho-mqtt", "mqtt")
    from boardwarden.serve.home_assistant import HomeAssistant

    try:
        return HomeAssistant(broker)
    except AddressError as error:
        fail(str(error))


def _notices(notify: str | None, quiet: str | None) -> list[Follower]:
    if notify is None:
        if quiet is not None:
            fail("--quiet is about --notify URL, which is missing.")
        return []
    from boardwarden.serve.notify import Notifier
    from boardwarden.serve.webhook import Webhook, check_url, parse_quiet

    times = None if quiet is None else checked(parse_quiet, quiet)
    return [Notifier(Webhook(checked(check_url, notify), times))]


async def _serve(
    what: str,
    listening: tuple[str, int],
    begin: Callable[[Callable[[str], None]], Coroutine[Any, Any, None]],
) -> None:
    """Serve until Ctrl-C, or SIGTERM, as a service is ended; then exit status 0."""
    terminal.show_logs(logging.INFO)

    def serving(url: str) -> None:
        print_line(f"serving {what} at {url}")

    task = asyncio.ensure_future(begin(serving))
    with contextlib.suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:  # Ctrl-C
        task.cancel()
        await asyncio.wait([task])
        raise
    if not task.cancelled():
        try:
            task.result()
        except OSError as error:
            reason = error.strerror or error
            host, port = listening
            raise Failure(f"Cannot listen on {host}:{port}: {reason}.") from None
