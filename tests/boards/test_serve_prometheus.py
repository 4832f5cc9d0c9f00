"""Real Prometheus and VictoriaMetrics scrape `boardwarden serve`; the queries of the dashboard."""

import json
import re
import subprocess
import time

import pytest
import yaml
from cli_process import TerminalBoard, kill_started, line_of, start
from full_board import full_board
from places import REPO
from prometheus_server import Prometheus, VictoriaMetrics, need
from tcp_board import TcpBoard

from boardwarden.serve.metrics import METRICS

DASHBOARD = REPO / "docs" / "grafana.json"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=[Prometheus, VictoriaMetrics])
async def scraping(request, tmp_path):
    """Return a function that serves boards and starts an engine which scrapes that."""
    started = []

    async def begin(*boards, **environment):
        options = [word for board in boards for word in ("--board", board)]
        process = await start("serve", *options, "--listen", "127.0.0.1:0", **environment)
        url = (await line_of(process)).split()[-1]
        server = request.param(tmp_path, url)
        server.start()
        started.append(server)
        return server

    yield begin
    for server in started:
        server.close()
    await kill_started()


async def test_prometheus_marks_the_series_of_a_killed_board_stale(scraping, monkeypatch):
    switch = TcpBoard(monkeypatch, "serves.py", b"listening\n")
    await switch.on()
    try:
        prometheus = await scraping("sim", switch.address)
        ((labels, size),) = await _both(prometheus, switch.address)
        assert size > 100_000
        assert set(labels) == {"__name__", "job", "instance", "board"}
        booted = await _boot(prometheus, switch.address)
        await prometheus.until("boardwarden_network_signal_dbm", _is_empty)

        await switch.off()
        mine = f'board="{switch.address}"'
        await prometheus.until_is(f"boardwarden_up{{{mine}}}", 0)
        # An instant query would go on showing a series for five minutes that is not marked stale.
        left = await prometheus.until(f'{{__name__=~"boardwarden_.*",{mine}}}')
        assert [(row["__name__"], value) for row, value in left] == [("boardwarden_up", 0)]
        assert await prometheus.until('boardwarden_memory_size_bytes{board="sim"}')

        await switch.on()
        await _both(prometheus, switch.address)
        assert await _boot(prometheus, switch.address) != booted
        reconnects = f"boardwarden_link_reconnects_total{{{mine}}}"
        await prometheus.until_is(reconnects, 1)
    finally:
        await switch.off()


async def _boot(prometheus, address):
    """Return the board's boot, which its one series of information has."""
    ((labels, _),) = await prometheus.until(f'boardwarden_board_info{{board="{address}"}}')
    return labels["boot"]


async def _both(prometheus, address):
    """Wait until the simulated board and the other one are up; return the other's heap."""
    await prometheus.until_is("sum(boardwarden_up)", 2)
    return await prometheus.until(f'boardwarden_memory_size_bytes{{board="{address}"}}')


def _is_empty(found):
    return not found


# --- the dashboard --------------------------------------------------------------------------------

# What the unix port cannot tell: it has no WLAN, and one heap; this application keeps no resets.
NOT_OF_THE_SIMULATED_BOARD = {
    "boardwarden_crash_free_seconds",
    "boardwarden_exceptions_total",
    "boardwarden_resets_total",
    "boardwarden_storage_agent_writes_total",
    "boardwarden_network_received_bytes_total",
    "boardwarden_network_sent_bytes_total",
    "boardwarden_network_signal_dbm",
    "boardwarden_system_heap_free_bytes",
    "boardwarden_system_heap_largest_free_block_bytes",
    "boardwarden_system_heap_low_water_bytes",
}


def _panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if "targets" in panel]


def _queries(board):
    """Return every query of the dashboard, as Grafana sends it for one board."""
    values = {
        "board": re.escape(board).replace("\\", "\\\\"),  # a regular expression in a string
        "__rate_interval": "5s",
        "__range": "1h",
    }
    queries = [target["expr"] for panel in _panels() for target in panel["targets"]]
    for name, value in values.items():
        queries = [query.replace(f"${name}", value) for query in queries]
    return queries


def _names(query):
    return set(re.findall(r"boardwarden_\w+", query))


async def test_every_query_of_the_dashboard_has_data(scraping, monkeypatch):
    fake = TerminalBoard(full_board())  # what the simulated one cannot tell, a WLAN's figures first
    real = TcpBoard(monkeypatch, "grants.py", b"granted\n")
    app = real.address
    await real.on()
    try:
        prometheus = await scraping(fake.port, app)
        for board, missing in ((app, NOT_OF_THE_SIMULATED_BOARD), (fake.port, set())):
            for query in _queries(board):
                if not missing & _names(query):
                    await prometheus.until(query)
        for name in NOT_OF_THE_SIMULATED_BOARD:
            assert await prometheus.query(f'{name}{{board="{app}"}}') == []
        denied = f'boardwarden_events_total{{board="{app}",kind="denied"}}'
        assert [value for _, value in await prometheus.until(denied)] == [1]
        ((_, leases),) = await prometheus.query(f'sum(boardwarden_leases{{board="{app}"}})')
        assert leases == 1
    finally:
        fake.close()
        await real.off()


def test_the_dashboard_file_is_complete():
    dashboard = json.loads(DASHBOARD.read_text())
    (board,) = [item for item in dashboard["templating"]["list"] if item["name"] == "board"]
    assert board["query"]["query"] == "label_values(boardwarden_up, board)"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    suffixes = {"counter": "_total", "info": "_info", "gauge": ""}
    known = {each.prometheus_name + suffixes[each.kind] for each in METRICS}
    for query in _queries("x"):
        assert _names(query) <= known
        assert "$" not in query
    units = {panel["title"]: panel["fieldConfig"]["defaults"].get("unit") for panel in _panels()}
    assert units["Heap"] == "bytes"
    assert units["CPU"] == "percentunit"


# --- the rules for alerts -------------------------------------------------------------------------

RULES = REPO / "docs" / "alerts.yml"
_TESTS = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - series: 'boardwarden_resets_total{{board="a", cause="wdt", expected="false"}}'
    values: '{bad}'
  - series: 'boardwarden_resets_total{{board="a", cause="hard", expected="true"}}'
    values: '0+1x60'
  - series: 'boardwarden_exceptions_total{{board="a", kind="task"}}'
    values: '{exceptions}'
  alert_rule_test:
  - {{alertname: BoardCrashed, eval_time: 20m, exp_alerts: [{crashed}]}}
  - {{alertname: BoardKeepsFailing, eval_time: 30m, exp_alerts: [{failing}]}}
"""
_ANNOTATED = "{{exp_labels: {{severity: {severity}, board: a}}, exp_annotations: {notes}}}"


# Resets and exceptions of an hour, a figure a minute, and which alerts they make.
_HOURS = [
    ("0x60", "0x60", False, False),
    ("0x15 1x45", "0x60", True, False),
    ("0x4 1 2 3x55", "0x60", True, True),
    ("0x60", "0+1x60", False, True),
    ("57x60", "8x60", False, False),  # of before
]


@pytest.mark.parametrize(("bad", "exceptions", "crashed", "failing"), _HOURS)
def test_the_rules_for_alerts_fire_when_a_board_crashes(
    tmp_path, bad, exceptions, crashed, failing
):
    promtool = need("promtool")
    checked = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True)
    assert (checked.returncode, "2 rules found" in checked.stdout) == (0, True), checked.stderr
    notes = {
        rule["alert"]: json.dumps(
            {
                name: text.replace("{{ $labels.board }}", "a")
                for name, text in rule["annotations"].items()
            }
        )
        for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    }
    expected = {
        name: _ANNOTATED.format(severity=severity, notes=notes[name]) if fires else ""
        for name, severity, fires in (
            ("BoardCrashed", "warning", crashed),
            ("BoardKeepsFailing", "critical", failing),
        )
    }
    file = tmp_path / "test.yml"
    file.write_text(
        _TESTS.format(
            rules=RULES,
            bad=bad,
            exceptions=exceptions,
            crashed=expected["BoardCrashed"],
            failing=expected["BoardKeepsFailing"],
        )
    )
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    names = {each.prometheus_name + "_total" for each in METRICS}
    assert _names(RULES.read_text()) <= names


async def test_victoria_metrics_evaluates_the_rules_as_prometheus_does(tmp_path):
    rules = [need("vmalert", "victoria-metrics"), "-rule", RULES, "-dryRun"]
    checked = subprocess.run(rules, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    begin = int(time.time()) - 7200
    engine = VictoriaMetrics(tmp_path)
    engine.start()
    try:
        await engine.until("1")
        for board, (bad, exceptions, *_) in enumerate(_HOURS):
            labels = {"board": str(board), "expected": "false"}
            engine.store("boardwarden_resets_total", labels, begin, _each_minute(bad))
            labels = {"board": str(board), "kind": "task"}
            engine.store("boardwarden_exceptions_total", labels, begin, _each_minute(exceptions))
        crashed, failing = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
        for rule, minutes, place in ((crashed, 20, 2), (failing, 30, 3)):
            found = await engine.query(rule["expr"], begin + minutes * 60)
            fires = [str(board) for board, hour in enumerate(_HOURS) if hour[place]]
            assert sorted(labels["board"] for labels, _ in found) == fires, rule["alert"]
    finally:
        engine.close()


def _each_minute(values):
    """Return the figures of promtool's notation: `0x2 1 5+1x2` is 0 0 0 1 5 6 7."""
    found = []
    for word in values.split():
        first, _, more = word.partition("x")
        start, _, step = first.partition("+")
        found += [int(start) + number * int(step or 0) for number in range(int(more or 0) + 1)]
    return found
