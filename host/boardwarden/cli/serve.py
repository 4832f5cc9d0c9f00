"""`boardwarden serve`: exports figures until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from typing import Annotated

import typer

from boardwarden._program import Failure, checked, fail, print_line, run
from boardwarden.errors import AddressError

from . import terminal
from .options import BoardsOption, all_given, require

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


def serve(
    board: BoardsOption = (),  # type: ignore[assignment]  # Typer makes a list of it
    listen: ListenOption = "127.0.0.1:9477",
    otlp: OtlpOption = None,
) -> None:
    """Serve metrics to Prometheus, or push them over OTLP, until Ctrl-C."""
    boards = all_given(board)
    require("boardwarden serve", "prometheus_client", "prometheus-client", "prometheus")
    if otlp is not None:
        module = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
        require("boardwarden serve --otlp", module, "OpenTelemetry's SDK", "otel")
        from boardwarden.serve.otlp import endpoint

        otlp = checked(endpoint, otlp)
    from boardwarden.serve import service

    host, port = checked(service.parse_listen, listen)
    try:
        checked(service.check_boards, boards)
    except AddressError as error:
        fail(str(error))
    run(_serve(boards, host, port, otlp))


async def _serve(addresses: Sequence[str], host: str, port: int, collector: str | None) -> None:
    """Serve until Ctrl-C, or SIGTERM, as a service is ended; then exit status 0."""
    from boardwarden.serve.service import serve as serve_boards

    terminal.show_logs(logging.INFO)

    def serving(url: str) -> None:
        print_line(f"serving {', '.join(addresses)} at {url}")

    task = asyncio.ensure_future(serve_boards(addresses, (host, port), collector, serving))
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
            raise Failure(f"Cannot listen on {host}:{port}: {reason}.") from None
