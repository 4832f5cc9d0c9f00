"""The parts of docs/fleet: the real programs take their configurations, and they fit together."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from mosquitto_server import Mosquitto, need_mosquitto
from places import REPO
from prometheus_server import need
from typer.testing import CliRunner

from boardwarden import PermissionDenied
from boardwarden.cli.app import app
from boardwarden.doctor.boards import broker_boards
from boardwarden.serve.service import parse_shard
from boardwarden.transport.address import PASSWORD

FLEET = REPO / "docs" / "fleet"


@pytest.fixture
def compose() -> dict:
    return yaml.safe_load((FLEET / "compose.yaml").read_text())


def test_the_workers_have_all_boards_and_prometheus_scrapes_them(compose) -> None:
    workers = {name: each for name, each in compose["services"].items() if "worker" in name}
    shares = []
    for each in workers.values():
        command = each["command"]
        assert command[:2] == ["serve", "mqtt://worker@broker"]
        shares.append(parse_shard(command[command.index("--shard") + 1]))
    assert [(share.number, share.of) for share in shares] == [
        (number, len(shares)) for number in range(1, len(shares) + 1)
    ]
    (job,) = yaml.safe_load((FLEET / "prometheus.yml").read_text())["scrape_configs"]
    assert job["static_configs"] == [{"targets": [f"{name}:9477" for name in workers]}]


def test_what_the_parts_mount_is_there_or_made_by_the_page(compose) -> None:
    page = (REPO / "docs" / "fleet.md").read_text()
    mounts = [
        volume.split(":")[0]
        for each in compose["services"].values()
        for volume in each.get("volumes", ())
    ]
    named = set(compose["volumes"])
    for mount in [name for name in mounts if name not in named] + [
        secret["file"] for secret in compose["secrets"].values()
    ]:
        assert (FLEET / mount).exists() or Path(mount).name in page, mount


def test_prometheus_takes_its_configuration(tmp_path) -> None:
    text = (FLEET / "prometheus.yml").read_text()
    text = text.replace("/etc/prometheus/alerts.yml", str(REPO / "docs" / "alerts.yml"))
    (tmp_path / "prometheus.yml").write_text(text)
    checked = subprocess.run(
        [need("promtool"), "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stderr
    assert "SUCCESS" in checked.stdout


def test_the_agent_of_victoria_metrics_takes_prometheus_configuration_as_the_page_says() -> None:
    page = (REPO / "docs" / "fleet.md").read_text()
    (option,) = re.findall("`(-promscrape.config.strictParse=false)`", page)
    agent = [need("vmagent", "victoria-metrics"), "-remoteWrite.url=http://127.0.0.1:1"]
    given = [f"-promscrape.config={FLEET / 'prometheus.yml'}", "-promscrape.config.dryRun"]
    for options, is_taken in ((given, False), ([*given, option], True)):
        checked = subprocess.run([*agent, *options], capture_output=True, text=True, timeout=60)
        assert (checked.returncode == 0) == is_taken, checked.stderr


def test_the_printed_rules_have_the_limits_of_the_fleets_broker() -> None:
    printed = CliRunner().invoke(app, ["broker-rules", "mosquitto"]).output
    lines = (FLEET / "mosquitto.conf").read_text().splitlines()
    limits = [line for line in lines if line.startswith(("max_", "message_size"))]
    assert len(limits) == 2
    for line in limits:
        assert f"\n#   {line}\n" in printed


async def test_mosquitto_takes_its_configuration_and_lets_the_worker_in(
    tmp_path, monkeypatch
) -> None:
    need_mosquitto()
    rules = CliRunner().invoke(
        app, ["broker-rules", "mosquitto", "--observer", "worker", "--operator", "ann"]
    )
    files = {"boardwarden.acl": rules.output, "boardwarden.passwd": ""}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    subprocess.run(
        ["mosquitto_passwd", "-b", tmp_path / "boardwarden.passwd", "worker", "secret"],
        check=True,
        capture_output=True,
        timeout=30,
    )
    (tmp_path / "data").mkdir()
    text = (FLEET / "mosquitto.conf").read_text()
    text = text.replace("listener 1883\n", "listener {port} 127.0.0.1\n")
    text = text.replace("/mosquitto/config", str(tmp_path))
    text = text.replace("/mosquitto/data/", f"{tmp_path}/data/")
    with Mosquitto(tmp_path, "", text) as broker:
        address = broker.address.replace("mqtt://", "mqtt://worker@")
        monkeypatch.setenv(PASSWORD, "wrong")
        with pytest.raises(PermissionDenied):
            await broker_boards(address)
        monkeypatch.setenv(PASSWORD, "secret")
        assert await broker_boards(address) == []
