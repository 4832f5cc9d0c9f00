"""A fleet at a real broker: workers share it, one dies and is replaced, Prometheus scrapes all.

Some boards are real, the others fakes that speak the wire from one process; `make soak` has 40 and
960 of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import campaign
import pytest
from cli_process import kill_started, line_of, run, start
from free_ports import free_port
from mosquitto_server import Mosquitto
from places import APPS, REPO
from prometheus_server import Prometheus, need

from boardwarden.transport.sim import board_path, find_micropython

REAL = campaign.of(40, 2)
FAKES = campaign.of(960, 38)
_SCRAPE_MS = campaign.of(5000, 250)
_LIMIT_S = campaign.of(240.0, 40.0)  # until all is as it should be
_UP = "count(max by (board) (boardwarden_up) == 1)"
# The newest sample of every board is of now: none is mirrored that has stopped.
_FRESH = f"count(time() - boardwarden_sample_timestamp_seconds < {campaign.of(8, 3)})"

pytestmark = pytest.mark.timeout(campaign.of(600, 120))


@contextlib.asynccontextmanager
async def fleet(broker: Mosquitto) -> AsyncIterator[None]:
    """Run the boards, real-1 … and board0 … ."""
    script = str(REPO / "tests" / "support" / "mqtt_boards.py")
    commands = [([sys.executable, script, broker.address, str(FAKES), "own"], {})]
    for number in range(1, REAL + 1):
        values = {"PORT": str(broker.port), "BOARD_ID": f"real-{number}", "PACE_MS": "100"}
        values.update(CLIENT="Simple", CONTROL="1", MICROPYPATH=board_path())
        commands.append(([find_micropython(), str(APPS / "publishes.py")], values))
    processes = []
    try:
        for command, values in commands:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, **values},
            )
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), _LIMIT_S) in _READY
        yield
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


_READY = (b"ready\n", b"connected\n")


async def _worker(broker: Mosquitto, shard: str, port: int) -> asyncio.subprocess.Process:
    listen = ("--listen", f"127.0.0.1:{port}")
    process = await start("serve", broker.address, "--shard", shard, *listen, whole=True)
    assert f"share {shard}" in await line_of(process)
    return process


async def test_a_worker_that_is_killed_is_replaced_and_shares_change_while_all_runs(
    broker: Mosquitto, tmp_path: Path
) -> None:
    need("prometheus")
    all_up = REAL + FAKES
    ports = [free_port() for _ in range(5)]
    urls = [f"http://127.0.0.1:{port}/metrics" for port in ports]
    prometheus = Prometheus(tmp_path, *urls, every_ms=_SCRAPE_MS, limit_s=_LIMIT_S)
    async with fleet(broker):
        workers = [await _worker(broker, f"{number}/2", ports[number - 1]) for number in (1, 2)]
        prometheus.start()
        try:
            await prometheus.until_is(_UP, all_up)
            shares = await _counts(prometheus, all_up)
            assert min(shares.values()) > all_up / 4

            workers[1].kill()
            await workers[1].wait()
            await prometheus.until_is(_UP, shares[ports[0]])
            # What nobody exports is reached all the same: a command asks the board itself.
            listed = await run("boards", "--broker", broker.address, "--json")
            boards = [json.loads(line) for line in listed.out.splitlines()]
            assert sum(board["online"] for board in boards) == all_up, listed.err
            for name in ("real-1", "real-2", "board0", "board1"):
                address = f"{broker.address}/{name}"
                asked = await run("alloc", "memory", "64", "--for", "0.1", "--board", address)
                assert "released lease" in asked.out, asked.err
            workers[1] = await _worker(broker, "2/2", ports[1])
            await prometheus.until_is(_UP, all_up)
            await prometheus.until_is(_FRESH, all_up)
            assert await _counts(prometheus, all_up) == shares

            # Three instead of two, in any order; what two of them have is there once by its name.
            for number in (2, 1, 3):
                await _worker(broker, f"{number}/3", ports[1 + number])
            for worker in workers:
                worker.terminate()
                await worker.wait()
            await prometheus.until_is("count(boardwarden_up == 1)", all_up)
            assert len(await _counts(prometheus, all_up)) == 3
            await prometheus.until_is(_FRESH, all_up)
            await prometheus.until_is("sum(boardwarden_link_gaps_total)", 0)
        finally:
            prometheus.close()
            await kill_started()


async def _counts(prometheus: Prometheus, total: int) -> dict[int, float]:
    """Return how many boards each worker has, by its port, once they are so many in all."""
    rows = await prometheus.until(
        "count by (instance) (boardwarden_up == 1)",
        lambda found: sum(value for _, value in found) == total,
    )
    return {int(re.sub(".*:", "", row["instance"])): value for row, value in rows}
