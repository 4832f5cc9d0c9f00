"""A real Prometheus, or VictoriaMetrics, on loopback that scrapes what a test names.

Both are asked over Prometheus's HTTP API.
"""

import asyncio
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from free_ports import free_port

LIMIT_S = 40.0
SCRAPE_MS = 250
_CONFIG = """\
global: {{scrape_interval: {ms}ms, scrape_timeout: {ms}ms}}
scrape_configs:
- job_name: boards
  static_configs:
  - targets: {targets}
"""


def need(program, package="prometheus"):
    """Skip the test where a program of Debian's package is not installed; in CI fail."""
    found = shutil.which(program)
    if found is None and os.environ.get("CI") != "true":
        pytest.skip(f"no {program} here (Debian: apt-get install {package})")
    assert found, f"CI has no {program}"
    return found


class Prometheus:
    """Scrapes the hosts of URLs from start() on, until close()."""

    def __init__(self, folder, *urls, every_ms=SCRAPE_MS, limit_s=LIMIT_S):
        self._folder = folder
        self._targets = [urllib.parse.urlsplit(url).netloc for url in urls]
        self._every_ms = every_ms
        self._limit_s = limit_s
        self._address = f"127.0.0.1:{free_port()}"

    def start(self):
        """Start it; it is asked again until it answers."""
        config = self._folder / "prometheus.yml"
        config.write_text(_CONFIG.format(ms=self._every_ms, targets=self._targets))
        command = self._command(config)
        self._log = (self._folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            command, cwd=self._folder, stdout=self._log, stderr=self._log
        )

    def _command(self, config):
        return [
            need("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self._address}",
        ]

    def close(self):
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    async def query(self, expression, at=None):
        """Return the vector that an instant query has now, or then: labels and values."""
        words = urllib.parse.urlencode({"query": expression} | ({"time": at} if at else {}))
        answer = await asyncio.to_thread(_get, f"http://{self._address}/api/v1/query?{words}")
        assert answer["status"] == "success", answer
        return [(row["metric"], float(row["value"][1])) for row in answer["data"]["result"]]

    async def until(self, expression, holds=bool):
        """Ask until holds(result), and return that result; fail after limit_s."""
        deadline, found = time.monotonic() + self._limit_s, None
        while time.monotonic() < deadline:
            try:
                found = await self.query(expression)
            except (urllib.error.URLError, ConnectionError) as error:
                assert self._process.poll() is None, "Prometheus ended"
                found = error  # it has not begun to listen
            else:
                if holds(found):
                    return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{expression}: {found}")

    async def until_is(self, expression, value):
        """Ask until the query has one row, of this value: none while a scrape has failed."""
        return await self.until(expression, lambda found: [row[1] for row in found] == [value])


class VictoriaMetrics(Prometheus):
    """Another engine that does the same."""

    def _command(self, config):
        return [
            need("victoria-metrics", "victoria-metrics"),
            f"-promscrape.config={config}",
            f"-storageDataPath={self._folder / 'data'}",
            f"-httpListenAddr={self._address}",
            "-search.latencyOffset=1ms",  # else queries see what is half a minute old
            "-search.disableCache",
        ]

    def store(self, name, labels, begin, values):
        """Store a series, a value each minute from a time on, and have queries see it."""
        row = {
            "metric": {"__name__": name, **labels},
            "values": values,
            "timestamps": [(begin + 60 * minute) * 1000 for minute in range(len(values))],
        }
        for path, body in (
            ("/api/v1/import", json.dumps(row).encode()),
            ("/internal/force_flush", b""),
        ):
            with urllib.request.urlopen(
                f"http://{self._address}{path}", body or None, LIMIT_S
            ) as answer:
                assert answer.status in (200, 204)


def _get(url):
    try:
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 503:  # Service Unavailable: it is starting
            raise ConnectionError(error.reason) from None
        return json.load(error)  # says what is wrong with the query
