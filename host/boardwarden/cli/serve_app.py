"""The words and options of `boardwarden serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from boardwarden._program import checked, fail, run
from boardwarden.errors import AddressError

from . import serving
from .options import BoardsOption, all_given, require

ListenOption = Annotated[
    str,
    typer.Option(
        "--listen", metavar="HOST:PORT", help="Where to answer scrapes of /metrics; port 0: any."
    ),
]
OtlpOption = Annotated[
    str | None,
    typer.Option(
        "--otlp", metavar="URL", help="Push to this collector, too, as http://localhost:4318."
    ),
]


def serve(
    board: BoardsOption = (),  # type: ignore[assignment]  # Typer makes a list of it
    listen: ListenOption = "127.0.0.1:9477",
    otlp: OtlpOption = None,
) -> None:
    """Serve figures to Prometheus, or push them over OTLP, until Ctrl-C."""
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
    run(serving.serve(boards, host, port, otlp))


COMMANDS = (serve,)
