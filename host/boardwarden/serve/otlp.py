"""Pushes the metrics over OTLP (HTTP, protobuf), from the mirrors, at intervals."""

from __future__ import annotations

import contextlib
import logging
import socket
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    Gauge,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.export import Metric as SdkMetric
from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from boardwarden import Statistics

from .metrics import METRICS, Metric
from .watched import Backlog, Missed, Watched

_PATH = "/v1/metrics"  # by OTLP, where an endpoint names none
# Metrics of which a board has a history, by the names that a HistorySlot has for them.
_REMEMBERED = {
    "memory.live": "memory",
    "cpu.usage": "cpu",
    "loop_lag.mean": "loop_lag",
    "storage.used": "storage",
}
_MAX_MISSED = 1000  # slots in a push, of all boards: collectors limit its size
_FLUSH_MS = 2000  # at most, at the end
_REACH_S = 5.0
_log = logging.getLogger(__name__)


def endpoint(url: str) -> str:
    """Return the URL that metrics are posted to; raise ValueError where it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"{url!r} is not the URL of an OTLP collector, such as http://localhost:4318."
        )
    return urlunsplit(parts._replace(path=_PATH)) if parts.path in ("", "/") else url


@contextlib.contextmanager
def pushed(url: str, boards: Iterable[Watched]) -> Iterator[None]:
    """Push while the block runs, in a thread of its own, and once more at its end.

    OTEL_METRIC_EXPORT_INTERVAL sets how often, in milliseconds (60 000); OTEL_RESOURCE_ATTRIBUTES
    and OTEL_EXPORTER_OTLP_HEADERS mean what they do everywhere. A collector that is away costs
    what would have been pushed, and one line in the log: at once where it is away at the start,
    for the first push may be a minute off.
    """
    exporter = _Exporter(url, boards)
    Thread(target=exporter.check, name="look for the collector", daemon=True).start()
    reader = PeriodicExportingMetricReader(exporter)
    provider = MeterProvider([reader], resource=_resource(), shutdown_on_exit=False)
    meter = provider.get_meter("boardwarden", version("boardwarden"))
    for metric in METRICS:
        _observe(meter, metric, boards)
    try:
        yield
    finally:
        provider.shutdown(timeout_millis=_FLUSH_MS)
        left = sum(len(board.backlog) for board in boards if board.backlog is not None)
        if left:
            _log.warning(
                "%d slots of boards' own histories were not pushed to %s any more.", left, url
            )


def _resource() -> Resource:
    """Return who is pushing: this program; what the environment says of it goes before."""
    ours = Resource.create(
        {
            "service.name": "boardwarden",
            "service.version": version("boardwarden"),
            "service.instance.id": str(uuid.uuid4()),
            "host.name": socket.gethostname(),
        }
    )
    return ours.merge(OTELResourceDetector().detect())


def _observe(meter: Meter, metric: Metric, boards: Iterable[Watched]) -> None:
    create: Callable[..., Any] = meter.create_observable_gauge
    if metric.kind == "counter":
        create = meter.create_observable_counter

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        for board in boards:
            for values, figure in metric.points(board.snapshot()):
                labels = zip(metric.all_labels, values, strict=True)
                yield Observation(figure, {name: value for name, value in labels if value})

    create(metric.otel_name, callbacks=[observe], unit=metric.unit, description=metric.help)


def with_missed(data: MetricsData, missed: Mapping[str, Sequence[Missed]]) -> MetricsData:
    """Return the data with the means of boards' own histories, before the figures of now.

    missed: slots by the address of the board. Each point has the time of its slot's middle, which
    no instrument of the SDK can give it.
    """
    if not missed or not data.resource_metrics:
        return data
    resource = data.resource_metrics[0]
    scope = resource.scope_metrics[0]
    found = {metric.name: metric for metric in scope.metrics}
    for metric in METRICS:
        if metric.name in _REMEMBERED:
            name, points = metric.otel_name, _points(metric, missed)
            if name in found:
                points += found[name].data.data_points
            if points:
                found[name] = SdkMetric(name, metric.help, metric.unit, Gauge(points))
    scopes = [replace(scope, metrics=[*found.values()]), *resource.scope_metrics[1:]]
    return MetricsData([replace(resource, scope_metrics=scopes), *data.resource_metrics[1:]])


def _points(metric: Metric, missed: Mapping[str, Sequence[Missed]]) -> list[Any]:
    points = []
    for address, slots in missed.items():
        for at, slot, mount in slots:
            figure: Statistics = getattr(slot, _REMEMBERED[metric.name])
            labels = {"board": address, **({"mount": mount} if metric.labels and mount else {})}
            if figure.mean is not None:
                points.append(NumberDataPoint(labels, 0, round(at * 1e9), float(figure.mean)))
    return points


class _Exporter(OTLPMetricExporter):
    """An exporter that logs once that the collector is away, and once that it is back.

    With the figures of now it pushes those of times in which nothing came from a board.
    """

    def __init__(self, url: str, boards: Iterable[Watched]) -> None:
        super().__init__(endpoint=url)
        self._boards = boards
        self._url = url
        self._complaint = _Complaint(logging.ERROR)
        self._works = True
        self._has_dropped = False
        self._reporting = Lock()
        self._ending = False
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self._complaint)
        logger.propagate = False  # one line that says what is wrong is enough

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Push; a failure costs the figures of now, those of missed times are pushed later.

        Those of missed times are dropped where only what has none of them is accepted.
        """
        sent: list[tuple[Backlog, list[Missed]]] = []
        missed: dict[str, list[Missed]] = {}
        room = _MAX_MISSED
        for board in self._boards:
            if board.backlog is not None and (slots := board.backlog.take(room)):
                room -= len(slots)
                sent.append((board.backlog, slots))
                missed[board.address] = slots
        result = super().export(with_missed(metrics_data, missed), timeout_millis, **kwargs)
        reason = self._why_not(result)
        if sent and result is not MetricExportResult.SUCCESS and not _unreachable(self._url):
            result = super().export(metrics_data, timeout_millis, **kwargs)
            if result is MetricExportResult.SUCCESS:
                sent.clear()
                self._report_dropped(reason)
            reason = self._why_not(result)
        works = result is MetricExportResult.SUCCESS
        for backlog, slots in sent if not works else ():
            backlog.put_back(slots)
        self._report(works, reason)
        return result

    def _why_not(self, result: MetricExportResult) -> str:
        if result is MetricExportResult.SUCCESS:
            return ""
        return _unreachable(self._url) or self._complaint.text

    def _report_dropped(self, reason: str) -> None:
        if not self._has_dropped:
            _log.warning(
                "%s does not take what boards measured while nothing came from them; it is "
                "dropped: %s",
                *(self._url, reason),
            )
        self._has_dropped = True

    def check(self) -> None:
        """Say if the collector cannot be reached."""
        reason = _unreachable(self._url)
        if reason:
            self._report(False, reason)

    def _report(self, works: bool, reason: str) -> None:
        with self._reporting:
            before, self._works = self._works, works
        if works and not before:
            _log.info("Pushing to %s works again.", self._url)
        elif before and not works and not self._ending:
            _log.warning("Pushing to %s failed: %s", self._url, reason)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """End a push that is under way."""
        self._ending = True
        super().shutdown(timeout_millis, **kwargs)


def _unreachable(url: str) -> str:
    """Return why nothing can be reached at a URL, "" if something can: OTel only says "timeout"."""
    parts = urlsplit(url)
    if parts.scheme in getproxies():
        return ""  # then it goes through the proxy, which may reach what is not reached from here
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _REACH_S).close()
    except OSError as error:
        return f"{error.strerror or error}."
    return ""


class _Complaint(logging.Handler):
    """A log handler that keeps OpenTelemetry's last complaint."""

    text = "nothing answers."

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the complaint."""
        self.text = record.getMessage()
