"""A fleet on this machine: `python -m bench.fleet BOARDS SECONDS [own]` prints one line of JSON.

Fake boards that sample each second, over one connection or each over its own, a mosquitto, and one
`boardwarden serve` that is scraped each 15 seconds, each a process, whose CPU time and memory the
system tells. The figures of docs/fleet.md come from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_SUPPORT = Path(__file__).resolve().parents[2] / "tests" / "support"
sys.path.insert(0, str(_SUPPORT))  # the broker and the boards are the tests'

from mosquitto_server import Mosquitto  # type: ignore[import-not-found]  # noqa: E402

_BOARDS = _SUPPORT / "mqtt_boards.py"
_SCRAPE_S = 15.0
_SETTLE_S = 40.0  # until all boards are mirrored, and have sent their whole state by themselves
_CONFIG = """\
listener {port} 127.0.0.1
persistence false
allow_anonymous true
max_queued_messages 10000
"""


def cpu_s(process: subprocess.Popen[str] | Mosquitto) -> float:
    """CPU time that a process has taken (Linux, proc(5): utime and stime of stat)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss(process: subprocess.Popen[str] | Mosquitto) -> int:
    """Memory of a process, in bytes (Linux, proc(5): statm's second field)."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Parts(NamedTuple):
    """What runs, where the figures and the page are, and what memory took before any board came."""

    broker: Mosquitto
    fakes: subprocess.Popen[str]
    worker: subprocess.Popen[str]
    url: str
    page_url: str
    broker_bytes: int
    worker_bytes: int


@contextlib.contextmanager
def _started(*command: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program while the block runs."""
    process = subprocess.Popen(
        [str(each) for each in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read(), "utf-8")


@contextlib.contextmanager
def served(boards: int, *words: str, page: bool = False) -> Iterator[Parts]:
    """Run a broker, fake boards and a worker while the block runs."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(Mosquitto(folder, "", _CONFIG))
        address = broker.address
        empty = rss(broker)
        fakes = stack.enter_context(_started(sys.executable, _BOARDS, address, str(boards), *words))
        while (line := _line(fakes)) != "ready\n":
            if not line:
                raise SystemExit("the fake boards did not start")
        serve = [sys.executable, "-m", "boardwarden", "serve", address, "--listen", "127.0.0.1:0"]
        worker = stack.enter_context(_started(*serve, *(["--page", "127.0.0.1:0"] if page else [])))
        url = _line(worker).rpartition(" ")[2].strip()
        page_url = _line(worker).removeprefix("the page is at ").partition(";")[0] if page else ""
        yield Parts(broker, fakes, worker, url, page_url, empty, rss(worker))


def measure(boards: int, seconds: float, own: bool) -> dict[str, float]:
    """Return the shares of a core and the bytes that a broker and a worker take."""
    with served(boards, *(["own"] if own else [])) as parts:
        time.sleep(_SETTLE_S)
        processes = {"broker": parts.broker, "worker": parts.worker, "fakes": parts.fakes}
        before = {name: cpu_s(each) for name, each in processes.items()}
        began = time.monotonic()
        scrapes = []
        while time.monotonic() - began < seconds:
            scrape_began = time.monotonic()
            text = _scrape(parts.url)
            scrapes.append(time.monotonic() - scrape_began)
            time.sleep(max(0.0, _SCRAPE_S - scrapes[-1]))
        lasted = time.monotonic() - began
        figures = {
            f"{name}_core_percent": round(100 * (cpu_s(each) - before[name]) / lasted, 1)
            for name, each in processes.items()
        }
        up = sum(line.endswith(" 1.0") for line in text.splitlines() if "boardwarden_up{" in line)
        series = sum(not line.startswith("#") for line in text.splitlines())
        return {
            "boards": boards,
            "seconds": round(lasted),
            "up": up,
            **figures,
            "worker_bytes_per_board": round((rss(parts.worker) - parts.worker_bytes) / boards),
            "broker_bytes_per_board": round((rss(parts.broker) - parts.broker_bytes) / boards),
            "scrape_s": round(max(scrapes), 2),
            "scrape_bytes": len(text),
            "series_per_board": round(series / boards, 1),
        }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), float(sys.argv[2]), "own" in sys.argv[3:])))
