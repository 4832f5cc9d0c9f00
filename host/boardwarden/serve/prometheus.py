"""Serves the metrics to Prometheus, from the mirrors, at each scrape."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from .metrics import METRICS
from .metrics import Metric as Definition
from .watched import Watched


class MirrorCollector(Collector):
    """Makes families of what the boards' mirrors hold at the moment of a scrape, with no I/O.

    Samples have no timestamps: so Prometheus marks a series as stale once it is not there any more.
    """

    def __init__(self, boards: Iterable[Watched]) -> None:
        self._boards = boards

    def collect(self) -> Iterable[Metric]:
        """Yield the families that some board has figures for."""
        snapshots = [board.snapshot() for board in self._boards]
        for definition in METRICS:
            family = _family(definition)
            for snapshot in snapshots:
                for values, figure in definition.points(snapshot):
                    _add(family, definition, values, figure)
            if family.samples:
                yield family


_Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily


def _family(definition: Definition) -> _Family:
    name, text, labels = definition.prometheus_name, definition.help, definition.all_labels
    if definition.kind == "counter":
        return CounterMetricFamily(name, text, labels=labels)
    if definition.kind == "info":
        return InfoMetricFamily(name, text, labels=())
    return GaugeMetricFamily(name, text, labels=labels)


def _add(family: _Family, definition: Definition, values: Sequence[str], figure: float) -> None:
    if isinstance(family, InfoMetricFamily):
        family.add_metric((), dict(zip(definition.all_labels, values, strict=True)))
    else:
        family.add_metric(values, figure)


@contextlib.contextmanager
def scraped(host: str, port: int, boards: Iterable[Watched]) -> Iterator[str]:
    """Answer scrapes in threads of their own while the block runs; yield the URL.

    Raises OSError where the address cannot be had. Port 0 takes any that is free.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MirrorCollector(boards))
    server, thread = start_http_server(port, host, registry)
    try:
        yield _url(host, server)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _url(host: str, server: object) -> str:
    bound: socket.socket = server.socket  # type: ignore[attr-defined]  # WSGIServer's
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{bound.getsockname()[1]}/metrics"
