"""What `serve` makes of mirrors, with fake boards at real terminals; and the command's errors."""

import asyncio
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from cli_process import LIMIT_S, TerminalBoard, finish, kill_started, line_of, run, start
from free_ports import free_port
from full_board import full_board
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_server import need

from boardwarden import testing
from boardwarden._protocol import subscription
from boardwarden.crashes import CAUSES
from boardwarden.serve import service
from boardwarden.serve.metrics import METRICS
from boardwarden.serve.service import MirrorCollector
from boardwarden.serve.watched import Watched
from warden_schema import ids


@pytest.fixture(autouse=True)
async def no_leftovers(monkeypatch):
    """Count a silent board as lost sooner, and end every command with its test."""
    monkeypatch.setattr(subscription, "KEEPALIVE_S", 0.25)
    monkeypatch.setattr(subscription, "SILENCE_S", 1.0)
    yield
    await kill_started()


class Scraped:
    """A board that is followed, and what a scrape of it shows."""

    def __init__(self, terminal):
        self.terminal = terminal
        self.board = terminal.board
        self.watched = Watched(terminal.port)
        self.task = asyncio.create_task(self.watched.follow())
        self.registry = CollectorRegistry()
        self.registry.register(MirrorCollector([self.watched]))

    def text(self):
        return generate_latest(self.registry).decode()

    def series(self):
        """Return {name: {own labels: value}}, checking that the board is right."""
        found = {}
        for family in text_string_to_metric_families(self.text()):
            for sample in family.samples:
                labels = dict(sample.labels)
                assert labels.pop("board") == self.terminal.port
                found.setdefault(sample.name, {})[tuple(labels.items())] = sample.value
        return found

    def value(self, name, **labels):
        """Return the value of a series of this boot; None where there is none."""
        for found, value in self.series().get(name, {}).items():
            if labels.items() <= dict(found).items():
                return value
        return None

    async def until(self, holds):
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < deadline, self.text()
            await asyncio.sleep(0.05)  # to look takes time, too

    async def close(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.terminal.close()


@pytest.fixture
async def scraped():
    """Return a function that follows a fake board; all ends with the test."""
    opened = []

    async def follow(board):
        one = Scraped(TerminalBoard(board))
        opened.append(one)
        await one.until(lambda: one.value("boardwarden_up") == 1)
        return one

    yield follow
    for one in opened:
        await one.close()


async def test_every_metric_has_its_value_and_unit(scraped):
    one = await scraped(full_board())
    await one.until(lambda: one.value("boardwarden_events_total", kind="threshold"))
    value = one.value
    assert value("boardwarden_memory_size_bytes") == 240_000
    assert value("boardwarden_memory_usage_ratio") == 0.25
    assert value("boardwarden_memory_largest_free_block_bytes") == 64_000
    assert value("boardwarden_memory_fragmentation_ratio") == pytest.approx(116 / 180)
    assert value("boardwarden_memory_low_water_bytes") == 170_000
    assert value("boardwarden_system_heap_free_bytes") == 62_480
    assert value("boardwarden_system_heap_largest_free_block_bytes") == 31_744
    assert value("boardwarden_system_heap_low_water_bytes") == 41_012
    assert value("boardwarden_cpu_usage_ratio") == 0.125
    assert value("boardwarden_loop_lag_worst_seconds") == 0.009
    assert value("boardwarden_storage_size_bytes", mount="/") == 4096 * 512
    assert value("boardwarden_network_connected") == 1
    assert value("boardwarden_network_signal_dbm") == -61
    assert value("boardwarden_network_sent_bytes_total") == 1000
    assert value("boardwarden_agent_cpu_usage_ratio") == 0.004
    assert value("boardwarden_agent_cpu_budget_ratio") == 0.01
    assert value("boardwarden_sample_interval_seconds") == 1.0
    assert value("boardwarden_leases", resource="memory", priority="high") == 1
    assert value("boardwarden_leases", resource="memory", priority="low") == 0
    assert value("boardwarden_leased_memory_bytes", priority="high") == 8192
    assert value("boardwarden_leased_cpu_time_ratio", priority="normal") == 0.25
    assert value("boardwarden_operations", priority="high", state="active") == 1
    assert value("boardwarden_operations", priority="high", state="waiting") == 0
    assert value("boardwarden_operation_limit") == 4
    assert value("boardwarden_sessions") == 1
    assert value("boardwarden_threshold_state", metric="memory", level="warn") == 1
    assert value("boardwarden_threshold_state", metric="memory", level="clear") == 0
    assert value("boardwarden_events_total", kind="threshold") == 1
    assert value("boardwarden_events_total", kind="denied") == 0
    assert value("boardwarden_board_info", machine="fakeboard", firmware="1.28.0", boot="1") == 1
    suffixes = {"counter": "_total", "info": "_info", "gauge": ""}
    assert set(one.series()) == {each.prometheus_name + suffixes[each.kind] for each in METRICS}


async def test_resets_and_exceptions_are_counted_from_the_begin_of_serve_on(scraped):
    board = full_board()
    one = await scraped(board)
    value = one.value
    assert value("boardwarden_resets_total", cause="wdt", expected="false") == 0
    assert value("boardwarden_exceptions_total", kind="application") == 0
    assert value("boardwarden_crash_free_seconds") == 86_010
    assert value("boardwarden_storage_agent_writes_total", mount="/", purpose="resets") == 7
    crash_lists = board.policy.crash_lists
    old = crash_lists[ids.RESTART][0]
    text = crash_lists[ids.EXCEPTION][0][-1]
    for rounds, (resets, exceptions, counts) in enumerate((
        ([[2, "wdt", 0, 3, 13, *old[5:]]], [[2, 3, None, 4, 9, text]], (2, 0, 2)),
        ([[2, "wdt", 0, 3, 13, *old[5:]], [3, "hard", 2, 1, 14, *old[5:]]],
         [[3, 3, None, 3, None, text], [4, 0, "t", 1, 5, b"KeyError: 1\n"]], (2, 1, 3)),
        ([[9, "wdt", 0, 1, 15, *old[5:]]], [[5, 3, None, 1, 4, text]], (3, 1, 4)),
    ), 1):  # fmt: skip
        crash_lists[ids.RESTART], crash_lists[ids.EXCEPTION] = resets, exceptions
        board.restart()
        await one.until(lambda rounds=rounds: one.watched.board.restart_count == rounds)
        await one.until(lambda: value("boardwarden_up") == 1)
        wdt = value("boardwarden_resets_total", cause="wdt", expected="false")
        hard = value("boardwarden_resets_total", cause="hard", expected="true")
        found = [sum(one.series()["boardwarden_exceptions_total"].values())]
        assert (wdt, hard, *found) == counts
    board.mute = True
    await one.until(lambda: value("boardwarden_up") == 0)
    assert value("boardwarden_resets_total", cause="wdt", expected="false") == 3


async def test_unavailable_figures_are_absent(scraped):
    one = await scraped(testing.FakeBoard())
    names = set(one.series())
    for name in (
        "boardwarden_memory_largest_free_block_bytes",
        "boardwarden_memory_fragmentation_ratio",
        "boardwarden_memory_low_water_bytes",
        "boardwarden_system_heap_free_bytes",
        "boardwarden_network_connected",
        "boardwarden_network_sent_bytes_total",
        "boardwarden_threads",
        "boardwarden_leases",  # it decides nothing yet
        "boardwarden_events_total",
        "boardwarden_threshold_state",
    ):
        assert name not in names
    one.board.sample(cpu_permille=None)
    await one.until(lambda: "boardwarden_cpu_usage_ratio" not in one.series())
    assert one.value("boardwarden_memory_size_bytes") == 240_000


@pytest.mark.parametrize("how", ["mute", "unplugged"])
async def test_a_lost_board_has_only_the_metric_up_and_counts_of_crashes(scraped, how):
    one = await scraped(full_board())
    if how == "mute":
        one.board.mute = True
    else:
        one.terminal.vanish()
    await one.until(lambda: one.value("boardwarden_up") == 0)
    series = one.series()
    assert series.pop("boardwarden_up") == {(): 0.0}
    assert set(series) == {"boardwarden_resets_total", "boardwarden_exceptions_total"}


async def test_after_a_silence_counters_continue(scraped):
    one = await scraped(full_board())
    await one.until(lambda: one.value("boardwarden_events_total", kind="threshold"))
    one.board.mute = True
    await one.until(lambda: one.value("boardwarden_up") == 0)
    one.board.mute = False
    await one.until(lambda: one.value("boardwarden_up") == 1)
    assert one.value("boardwarden_events_total", kind="threshold") == 1
    one.board.policy.happen("denied", None, "memory", 5)
    await one.until(lambda: one.value("boardwarden_events_total", kind="denied") == 1)


async def test_events_that_came_while_a_board_was_lost_are_counted_once_and_lost_ones_as_missed(
    scraped,
):
    one = await scraped(full_board())
    await one.until(lambda: one.value("boardwarden_events_total", kind="threshold"))
    one.board.mute = True
    await one.until(lambda: one.value("boardwarden_up") == 0)
    for number in range(20):  # of 16 that it remembers
        one.board.policy.happen("denied", None, "memory", number)
    one.board.mute = False
    await one.until(lambda: one.value("boardwarden_events_total", kind="denied") == 16)
    assert one.value("boardwarden_missed_events_total") == 4
    one.task.cancel()  # and another connection, as after an error of the first
    await asyncio.gather(one.task, return_exceptions=True)
    one.board.policy.happen("denied", None, "memory", 5)
    one.board.policy.happen("threshold", 0, "warn", 800)
    one.task = asyncio.create_task(one.watched.follow())
    await one.until(lambda: one.value("boardwarden_events_total", kind="threshold") == 2)
    one.board.policy.happen("collect", 0, None, 800)
    await one.until(lambda: one.value("boardwarden_events_total", kind="collect") == 1)
    assert one.value("boardwarden_events_total", kind="denied") == 17
    assert one.value("boardwarden_events_total", kind="threshold") == 2
    assert one.value("boardwarden_missed_events_total") == 4
    assert not [done for done in one.board.done if done[0] == ids.HISTORY_READ]  # gauges have none


async def test_after_a_restart_every_metric_is_of_the_new_boot(scraped):
    one = await scraped(full_board())
    await one.until(lambda: one.value("boardwarden_events_total", kind="threshold"))
    one.board.restart()
    await one.until(lambda: one.value("boardwarden_board_info", boot="2") is not None)
    assert len(one.series()["boardwarden_board_info"]) == 1
    assert one.value("boardwarden_events_total", kind="threshold") is None
    one.board.policy.happen("denied", None, "memory", 5)
    await one.until(lambda: one.value("boardwarden_events_total", kind="denied") == 1)
    assert one.value("boardwarden_events_total", kind="threshold") == 0


async def test_no_figures_are_exported_while_monitoring_is_stopped(scraped):
    one = await scraped(full_board())
    assert one.value("boardwarden_memory_size_bytes")
    one.board.sample(interval_ms=0)
    await one.until(lambda: one.value("boardwarden_sample_interval_seconds") == 0)
    for name in ("boardwarden_memory_size_bytes", "boardwarden_sample_timestamp_seconds"):
        assert one.value(name) is None
    assert one.value("boardwarden_leases", resource="memory", priority="high") == 1
    one.board.sample(interval_ms=1000)
    await one.until(lambda: one.value("boardwarden_memory_size_bytes") == 240_000)


async def test_an_unknown_enum_value_is_exported_as_its_number(scraped):
    one = await scraped(full_board())
    one.board.policy.put(ids.LEASE, 0, [1, 9, 8192, "ota", 7, None, 5, None, True, None])
    one.board.policy.put(ids.THRESHOLD, 0, [0, 750, 850, 650, 0, 1, 5, 800])
    await one.until(lambda: one.value("boardwarden_leases", resource="9", priority="7") == 1)
    await one.until(lambda: one.value("boardwarden_threshold_state", level="5") == 1)


async def test_neither_boots_nor_what_is_unknown_make_series(scraped):
    """A board that restarts again and again, and one that lies, would fill a database with them."""
    one = await scraped(full_board())
    crash_lists = one.board.policy.crash_lists
    for boot in range(2, 4):
        crash_lists[ids.RESTART] = [[boot, f"cause {boot}", 0, 1, 50 + boot, *[None] * 7]]
        crash_lists[ids.EXCEPTION] = [[boot, 100 + boot, None, 1, 5, b"E: x\n"]]
        one.board.restart()
        await one.until(lambda boot=boot: one.value("boardwarden_board_info", boot=str(boot)))
        one.board.policy.happen("threshold", 0, "warn", 800)
        for kind in range(3):
            one.board.policy.happen(f"kind {boot} {kind}", None)
        await one.until(lambda: one.value("boardwarden_events_total", kind="other") == 3)
        await one.until(
            lambda boot=boot: one.value("boardwarden_exceptions_total", kind="other") == boot - 1
        )
    kinds = {dict(labels)["kind"] for labels in one.series()["boardwarden_events_total"]}
    assert kinds == {*ids.EVENT_KINDS, "other"}
    assert one.value("boardwarden_resets_total", cause="other", expected="false") == 2
    found = {dict(labels)["kind"] for labels in one.series()["boardwarden_exceptions_total"]}
    assert found == {*ids.EXCEPTION_KINDS, "other"}
    found = {dict(labels)["cause"] for labels in one.series()["boardwarden_resets_total"]}
    assert found == {*CAUSES, "other"}
    with_boot = {name for name, found in one.series().items() if "boot" in dict(next(iter(found)))}
    assert with_boot == {"boardwarden_board_info"}


async def test_promtool_accepts_the_metrics(scraped):
    promtool = need("promtool")
    one = await scraped(full_board())
    await one.until(lambda: one.value("boardwarden_events_total", kind="threshold"))
    done = await asyncio.to_thread(
        subprocess.run,
        [promtool, "check", "metrics"],
        input=one.text().encode(),
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


# --- the command ----------------------------------------------------------------------------------


def _get(url):
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        return answer.read().decode()


async def _until_up(url, board):
    """Scrape until the board is up; it is a moment after the line that says so."""
    deadline = time.monotonic() + LIMIT_S
    while f'boardwarden_up{{board="{board}"}} 1.0' not in await asyncio.to_thread(_get, url):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_serve_runs_until_a_signal(how, status):
    fake = TerminalBoard(testing.FakeBoard())
    try:
        process = await start("serve", "--board", fake.port, "--listen", "127.0.0.1:0")
        line = await line_of(process)
        url = line.split()[-1]
        assert line == f"serving {fake.port} at {url}\n"
        await _until_up(url, fake.port)
        process.send_signal(how)
        finished = await finish(process)
        assert (finished.status, finished.out) == (status, "")
        assert finished.err == f"boardwarden: {fake.port}: connected\n"
        assert fake.board.host_id is None  # it said goodbye
    finally:
        fake.close()


async def test_a_board_missing_at_the_start_is_down_and_then_found():
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    process = await start("serve", "--board", address, "--listen", "127.0.0.1:0")
    url = (await line_of(process)).split()[-1]
    said = (await asyncio.wait_for(process.stderr.readline(), LIMIT_S)).decode()
    assert said.startswith("boardwarden: Nothing listens on port")
    shown = await asyncio.to_thread(_get, url)
    assert [line for line in shown.splitlines() if line[0] != "#"] == [
        f'boardwarden_up{{board="{address}"}} 0.0'
    ]

    board = testing.FakeBoard()

    async def serve(reader, writer):
        board.send = writer.write
        while data := await reader.read(4096):
            board.receive(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    try:
        said = (await asyncio.wait_for(process.stderr.readline(), LIMIT_S)).decode()
        assert said == f"boardwarden: {address}: connected\n"
        await _until_up(url, address)
        process.send_signal(signal.SIGINT)
        assert (await finish(process)).status == 130
    finally:
        server.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Which board?"),
        (["--board", "nonsense"], "'nonsense' is not a board address"),
        (["--board", "sim", "--board", "sim"], "sim is named twice"),
        (["--board", "sim:/no/such.py"], "There is no file /no/such.py;"),
        (["--board", "sim", "--listen", "9477"], "'9477' is not an address to listen on"),
        (["--board", "sim", "--listen", "192.0.2.1:9"], "Cannot listen on 192.0.2.1:9: "),
        (["--board", "sim", "--otlp", "localhost:4318"], "'localhost:4318' is not the URL"),
        (["--board", "sim", "--shard", "1/2"], "--shard is of a broker's boards"),
    ],
)
async def test_an_error_of_serve_is_one_sentence(arguments, sentence):
    finished = await run("serve", *arguments)
    assert finished.status == 2
    assert finished.err.startswith(f"boardwarden: {sentence}")
    assert finished.err.count("\n") == 1


async def test_a_port_that_is_in_use_is_one_sentence():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = f"127.0.0.1:{other.getsockname()[1]}"
        finished = await run("serve", "--board", "sim", "--listen", place)
    assert finished.status == 2
    assert finished.err == f"boardwarden: Cannot listen on {place}: address already in use.\n"


@pytest.mark.parametrize(
    ("module", "arguments", "sentence"),
    [
        ("prometheus_client", [], "boardwarden serve needs prometheus-client: "
         "pip install 'boardwarden[prometheus]'."),
        ("prometheus_client", ["--page", "127.0.0.1:0"], "boardwarden serve needs "
         "prometheus-client: pip install 'boardwarden[web]'."),
        ("opentelemetry", ["--otlp", "http://localhost:4318"], "boardwarden serve --otlp needs "
         "OpenTelemetry's SDK: pip install 'boardwarden[otel]'."),
    ],
)  # fmt: skip
async def test_without_its_extra_serve_names_it(tmp_path, module, arguments, sentence):
    (tmp_path / f"{module}.py").write_text("raise ImportError")
    finished = await run("serve", "--board", "sim", *arguments, PYTHONPATH=str(tmp_path))
    assert (finished.status, finished.err) == (2, f"boardwarden: {sentence}\n")


def test_listen_addresses_are_parsed():
    assert service.parse_listen("127.0.0.1:9477") == ("127.0.0.1", 9477)
    assert service.parse_listen("[::1]:80") == ("::1", 80)
    assert service.parse_listen(":80") == ("0.0.0.0", 80)
    for wrong in ("9477", "::1:80", "host:", "host:x", "host:65536", "host:-1", "host:²"):
        with pytest.raises(ValueError, match="address to listen on"):
            service.parse_listen(wrong)


def test_metric_names_follow_prometheus_conventions():
    names = {each.otel_name: each.prometheus_name for each in METRICS}
    assert names["boardwarden.memory.live"] == "boardwarden_memory_live_bytes"
    assert names["boardwarden.cpu.usage"] == "boardwarden_cpu_usage_ratio"
    assert names["boardwarden.agent.sent"] == "boardwarden_agent_sent_bytes_per_second"
    assert names["boardwarden.events"] == "boardwarden_events"
    assert len(set(names.values())) == len(METRICS)
    for name in names:  # a name is not another's namespace
        assert not [other for other in names if other.startswith(f"{name}.")]
