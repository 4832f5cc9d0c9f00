"""`serve --otlp` pushes to a real HTTP server, which decodes what comes as OTLP defines it."""

import asyncio
import logging
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cli_process import LIMIT_S, TerminalBoard, finish, kill_started, line_of, start
from full_board import full_board
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from remembering import figure, pass_s, remember

from boardwarden import HistorySlot, Statistics, Status
from boardwarden.history import Gap
from boardwarden.models import Cpu, Identity
from boardwarden.serve import otlp, watched
from boardwarden.serve.metrics import METRICS
from boardwarden.serve.otlp import endpoint
from boardwarden.serve.watched import Missed, Watched
from warden_schema import ids


class Collector:
    """Listens on loopback; `received` is a queue of (path, request)."""

    def __init__(self, port=0):
        self.received = asyncio.Queue()
        loop = asyncio.get_running_loop()
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = ExportMetricsServiceRequest.FromString(body)
                answer = ExportMetricsServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                loop.call_soon_threadsafe(received.put_nowait, (self.path, request))

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    async def until(self, holds):
        """Return the first request from now on whose points fulfil holds."""
        while True:
            path, request = await asyncio.wait_for(self.received.get(), LIMIT_S)
            assert path == "/v1/metrics"
            if holds(points(request)):
                return request

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def metrics(request):
    """Return the metrics of a request by name."""
    (resource,) = request.resource_metrics
    (scope,) = resource.scope_metrics
    assert scope.scope.name == "boardwarden"
    return {metric.name: metric for metric in scope.metrics}


def points(request):
    """Return {name: [(attributes, value)]}."""
    found = {}
    for name, metric in metrics(request).items():
        data = metric.sum if metric.HasField("sum") else metric.gauge
        for point in data.data_points:
            attributes = {item.key: item.value.string_value for item in point.attributes}
            value = point.as_double if point.HasField("as_double") else point.as_int
            found.setdefault(name, []).append((attributes, value))
    return found


def is_up(found):
    return found["boardwarden.up"][0][1] == 1


@pytest.fixture
async def fake():
    """Return a fake board that can tell everything, at a terminal."""
    terminal = TerminalBoard(full_board())
    yield terminal
    terminal.close()
    await kill_started()


@pytest.fixture
async def collector():
    """Return a collector that listens."""
    listening = Collector()
    yield listening
    listening.close()


async def push(fake, url, **environment):
    process = await start(
        *("serve", "--board", fake.port, "--listen", "127.0.0.1:0", "--otlp", url),
        **{"OTEL_METRIC_EXPORT_INTERVAL": "100", **environment},
    )
    await line_of(process)
    return process


async def test_pushed_metrics_have_their_names_units_and_attributes(fake, collector):
    await push(fake, collector.url, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=hall")
    request = await collector.until(
        lambda found: any(value for _, value in found.get("boardwarden.events", ()))
    )
    told = metrics(request)
    assert set(told) == {each.otel_name for each in METRICS}
    for each in METRICS:
        assert told[each.otel_name].unit == each.unit
        assert told[each.otel_name].HasField("sum") == (each.kind == "counter")
    assert told["boardwarden.events"].sum.is_monotonic
    found = points(request)
    whose = {"board": fake.port}
    assert found["boardwarden.memory.size"] == [(whose, 240_000)]
    assert found["boardwarden.cpu.usage"] == [(whose, 0.125)]
    assert ({**whose, "kind": "threshold"}, 1) in found["boardwarden.events"]
    assert ({**whose, "resource": "memory", "priority": "high"}, 1) in found["boardwarden.leases"]
    resource = request.resource_metrics[0].resource
    names = {item.key: item.value.string_value for item in resource.attributes}
    assert names["service.name"] == "boardwarden"
    assert names["deployment.environment.name"] == "hall"
    assert {"service.version", "service.instance.id", "host.name"} <= set(names)


async def test_only_up_and_crashes_are_pushed_for_a_lost_board(fake, collector):
    await push(fake, collector.url)
    await collector.until(is_up)
    fake.vanish()
    request = await collector.until(lambda found: not is_up(found))
    found = points(request)
    assert found.pop("boardwarden.up") == [({"board": fake.port}, 0)]
    assert set(found) == {"boardwarden.resets", "boardwarden.exceptions"}


async def test_the_last_push_still_has_the_connected_boards(fake, collector):
    process = await push(fake, collector.url)
    await collector.until(is_up)
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130
    assert collector.received.qsize()
    while collector.received.qsize():
        _, request = collector.received.get_nowait()
    assert is_up(points(request))


def times(request, name):
    """Return the time of each point of a gauge, in nanoseconds, and its value."""
    return [
        (point.time_unix_nano, point.as_double)
        for point in metrics(request)[name].gauge.data_points
    ]


async def test_minutes_in_which_nothing_came_are_pushed_once_with_their_own_times(fake, collector):
    fake.board.values["uptime_s"] = 100_000
    remember(fake.board)
    await push(fake, collector.url)
    await collector.until(is_up)
    fake.board.mute = True
    await collector.until(lambda found: not is_up(found))
    pass_s(fake.board, 3000)
    fake.board.mute = False
    request = await collector.until(lambda found: len(found.get("boardwarden.cpu.usage", ())) > 50)
    whose = {"board": fake.port}
    told = points(request)
    for name in ("boardwarden.memory.live", "boardwarden.cpu.usage", "boardwarden.loop_lag.mean"):
        assert all(attributes == whose for attributes, _ in told[name])
    mount = {**whose, "mount": "/"}
    assert all(attributes == mount for attributes, _ in told["boardwarden.storage.used"])
    *past, (now, usage) = times(request, "boardwarden.cpu.usage")
    assert usage == 0.125
    assert [at for at, _ in past] == sorted(at for at, _ in past)
    number = 100_000 // 60
    assert past[0][1] == pytest.approx(figure(1, 1, number) / 1000)
    begin = now - 3000 * 1e9  # of the board, of which the clock was set
    assert past[0][0] == pytest.approx(begin + (number * 60 + 30 - 100_000) * 1e9, abs=2e9)
    assert now - 3e9 < past[-1][0] < now
    request = await collector.until(is_up)
    assert len(times(request, "boardwarden.cpu.usage")) == 1


async def test_a_history_that_cannot_be_had_is_said_with_its_reason(fake, collector):
    del fake.board.answer[ids.HISTORY_READ]
    process = await push(fake, collector.url)
    await collector.until(is_up)
    pass_s(fake.board, 3000)
    fake.board.sample()
    said = b""
    while b"nothing came" not in said:
        said = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
    line = f"boardwarden: {fake.port}: nothing came for 3001 s, and no history of it is pushed: "
    assert said.decode().startswith(line)
    assert len(said.decode().rstrip()) > len(line)


def test_what_could_not_be_pushed_is_pushed_later(monkeypatch):
    monkeypatch.setattr(otlp, "_unreachable", lambda url: "Connection refused.")
    monkeypatch.setattr(logging.getLogger("opentelemetry"), "propagate", True)  # set back, then
    pushed = []
    results = [MetricExportResult.FAILURE, MetricExportResult.SUCCESS, MetricExportResult.SUCCESS]

    def export(exporter, data, *args, **kwargs):
        pushed.append(data)
        return results.pop(0)

    monkeypatch.setattr(OTLPMetricExporter, "export", export)
    board = Watched("fake", pushes=True)
    slots = [Missed(float(at), HistorySlot(memory=Statistics(mean=at)), "") for at in range(1, 4)]
    board.backlog.put_back(slots)
    exporter = otlp._Exporter("http://127.0.0.1:1/v1/metrics", [board])
    scope = InstrumentationScope("boardwarden")
    for _ in range(3):
        data = [ResourceMetrics(Resource({}), [ScopeMetrics(scope, [], "")], "")]
        exporter.export(MetricsData(data))
    assert [len(each.resource_metrics[0].scope_metrics[0].metrics) for each in pushed] == [1, 1, 0]
    (live,) = pushed[1].resource_metrics[0].scope_metrics[0].metrics
    assert live.name == "boardwarden.memory.live"
    found = [(point.time_unix_nano, point.value) for point in live.data.data_points]
    assert found == [(at * 1e9, at) for at in range(1, 4)]


def _slots(count):
    return [Missed(float(at), HistorySlot(memory=Statistics(mean=at)), "") for at in range(count)]


def test_a_history_that_is_refused_is_dropped_and_the_figures_of_now_are_pushed(
    monkeypatch, caplog
):
    monkeypatch.setattr(logging.getLogger("opentelemetry"), "propagate", True)  # set back, then
    monkeypatch.setattr(otlp, "_unreachable", lambda url: "")
    pushed = []

    def export(exporter, data, *args, **kwargs):
        pushed.append(len(data.resource_metrics[0].scope_metrics[0].metrics))
        return MetricExportResult.FAILURE if pushed[-1] else MetricExportResult.SUCCESS

    monkeypatch.setattr(OTLPMetricExporter, "export", export)
    board = Watched("fake", pushes=True)
    exporter = otlp._Exporter("http://127.0.0.1:1/v1/metrics", [board])
    scope = InstrumentationScope("boardwarden")
    for slots in ([], _slots(2), [], _slots(3)):
        board.backlog.put_back(slots)
        data = [ResourceMetrics(Resource({}), [ScopeMetrics(scope, [], "")], "")]
        assert exporter.export(MetricsData(data)) is MetricExportResult.SUCCESS
    assert pushed == [0, 1, 0, 0, 1, 0]
    (record,) = caplog.records
    assert "does not take what boards measured while nothing came from them" in record.message


def test_a_push_has_a_limited_number_of_missed_slots(monkeypatch):
    monkeypatch.setattr(logging.getLogger("opentelemetry"), "propagate", True)  # set back, then
    monkeypatch.setattr(otlp, "_MAX_MISSED", 5)
    pushed = []

    def export(exporter, data, *args, **kwargs):
        found = data.resource_metrics[0].scope_metrics[0].metrics
        pushed.append(sum(len(each.data.data_points) for each in found))
        return MetricExportResult.SUCCESS

    monkeypatch.setattr(OTLPMetricExporter, "export", export)
    fleet = [Watched(name, pushes=True) for name in ("a", "b", "c")]
    for board in fleet:
        board.backlog.put_back(_slots(4))
    exporter = otlp._Exporter("http://127.0.0.1:1/v1/metrics", fleet)
    scope = InstrumentationScope("boardwarden")
    for _ in range(4):
        data = [ResourceMetrics(Resource({}), [ScopeMetrics(scope, [], "")], "")]
        exporter.export(MetricsData(data))
    assert pushed == [5, 5, 2, 0]


def test_what_the_last_push_leaves_is_said(monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("opentelemetry"), "propagate", True)  # set back, then
    monkeypatch.setattr(otlp, "_unreachable", lambda url: "")
    monkeypatch.setattr(otlp, "_MAX_MISSED", 5)
    monkeypatch.setattr(
        OTLPMetricExporter, "export", lambda *_args, **_kwargs: MetricExportResult.SUCCESS
    )
    boards = [Watched(name, pushes=True) for name in ("a", "b")]
    for board in boards:
        board.backlog.put_back(_slots(6))
    with otlp.pushed("http://127.0.0.1:1", boards):
        pass
    assert [record.message for record in caplog.records] == [
        "7 slots of boards' own histories were not pushed to http://127.0.0.1:1 any more."
    ]


def test_what_is_put_back_takes_no_place_of_what_is_newer(monkeypatch, caplog):
    monkeypatch.setattr(watched, "_MAX_SLOTS", 4)
    slots, held = _slots(6), watched.Backlog("fake")
    held.put_back(slots[3:])
    held.put_back(slots[:3])
    assert held.take(10) == slots[2:]
    (record,) = caplog.records
    assert record.message.startswith("fake: 2 slots of its own history are dropped: 4 wait")


async def test_slots_that_come_while_nothing_is_pushed_drop_the_oldest_and_that_is_said(
    monkeypatch, caplog
):
    class Board:
        status = Status(
            board=Identity(boot_id=1),
            cpu=Cpu(uptime_s=100.0),
            _received_at=1000.0,
        )

        async def gaps(self):
            for begin in (10.0, 50.0):
                yield Gap(1, begin, 90.0, tuple(HistorySlot(begin + i, 1.0) for i in range(3)))

    monkeypatch.setattr(watched, "_MAX_SLOTS", 4)
    held = watched.Backlog("fake")
    await held.collect(Board())
    assert [each.slot.begin_s for each in held.take(10)] == [12.0, 50.0, 51.0, 52.0]
    (record,) = caplog.records
    assert record.message.startswith("fake: 2 slots of its own history are dropped")


async def test_a_slot_whose_time_no_collector_can_take_is_not_held(monkeypatch):
    monkeypatch.setattr(watched, "day_time", lambda passed: passed)

    class Board:
        status = Status(
            board=Identity(boot_id=1),
            cpu=Cpu(uptime_s=100.0),
            _received_at=1000.0,
        )

        async def gaps(self):
            begins = (-1000.0, 10.0, 1e12)
            slots = tuple(HistorySlot(begin, 60.0) for begin in begins)
            yield Gap(1, 0.0, 100.0, slots)

    held = watched.Backlog("fake")
    await held.collect(Board())
    assert [each.at for each in held.take(10)] == [900 + 10 + 30]


async def test_an_absent_collector_and_its_return_are_reported_once(fake):
    first = Collector()
    url, port = first.url, int(first.url.rpartition(":")[2])
    first.close()
    # No push is due for an hour: it is told at the start.
    process = await push(fake, url, OTEL_METRIC_EXPORT_INTERVAL="3600000")
    said = b""
    while b"failed" not in said:
        said = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
    refused = f"boardwarden: Pushing to {url}/v1/metrics failed: Connection refused.\n".encode()
    assert said == refused
    process.send_signal(signal.SIGINT)
    assert (await finish(process)).status == 130
    process = await push(fake, url, OTEL_EXPORTER_OTLP_TIMEOUT="1")
    said = b""
    while b"failed" not in said:
        said = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
    assert said == refused
    second = Collector(port)
    try:
        await second.until(is_up)
        while b"again" not in said:
            said = await asyncio.wait_for(process.stderr.readline(), LIMIT_S)
        assert said == f"boardwarden: Pushing to {url}/v1/metrics works again.\n".encode()
        process.send_signal(signal.SIGINT)
        finished = await finish(process)
        assert finished.status == 130
        # That the board is connected is told, too, before that or after.
        assert finished.err in ("", f"boardwarden: {fake.port}: connected\n")
    finally:
        second.close()


def test_endpoints_are_parsed():
    assert endpoint("http://host:4318") == "http://host:4318/v1/metrics"
    assert endpoint("https://host/") == "https://host/v1/metrics"
    assert endpoint("https://host/otlp/v1/metrics") == "https://host/otlp/v1/metrics"
    for wrong in ("host:4318", "ftp://host", "http://", ""):
        with pytest.raises(ValueError, match="not the URL"):
            endpoint(wrong)
