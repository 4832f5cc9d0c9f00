"""Many boards on one host: `python -m bench.many COUNT SAMPLES` prints one line of JSON.

A process of its own, as memory is that of the process. Each board is connected over a link in
memory, whose other end is dropped; then each is sent SAMPLES samples, one board after the other.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from time import perf_counter

from . import streams

Figures = dict[str, float]
BOARDS = (1, 10, 100, 1000)
_FRAMES = 30_000
_TOOLS = Path(__file__).resolve().parents[1]


def rss_bytes() -> int:
    """The process's memory (Linux, proc(5): statm's second field); 0 elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _run(count: int, samples: int, traced: bool) -> Figures:
    warm, _ = await streams.connected(1)  # imports and caches are not the boards'
    await streams.close(warm)
    gc.collect()
    if traced:
        tracemalloc.start()
    before_rss, before = rss_bytes(), tracemalloc.get_traced_memory()[0]
    boards, sources = await streams.connected(count)
    spent = 0.0
    for _ in range(samples):
        frames = [source.frame() for source in sources]
        began = perf_counter()
        for mirrored, frame in zip(boards, frames, strict=True):
            mirrored.receive(frame)
        spent += perf_counter() - began
    for mirrored in boards:
        mirrored.forget_peer()
        _ = mirrored.board.status
    sources.clear()
    frames = []
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before if traced else rss_bytes() - before_rss
    if traced:
        tracemalloc.stop()
    await streams.close(boards)
    return {"bytes_per_board": taken / count, "frames_per_s": count * samples / spent}


def measure(count: int, samples: int, traced: bool = False) -> Figures:
    """Run it in a process of its own."""
    command = [sys.executable, "-m", "bench.many", str(count), str(samples), str(int(traced))]
    env = {**os.environ, "PYTHONPATH": str(_TOOLS)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    found: Figures = json.loads(done.stdout)
    return found


def growth() -> Figures:
    """Memory and frames of so many boards in one process."""
    figures: Figures = {}
    for count in BOARDS:
        samples = max(60, _FRAMES // count)
        figures[f"boards_{count}_frames_per_s"] = round(measure(count, samples)["frames_per_s"])
        taken = measure(count, 60)["bytes_per_board"]
        figures[f"boards_{count}_rss_bytes_per_board"] = round(taken)
    full = measure(100, 600, traced=True)
    figures["boards_100_full_history_traced_bytes_per_board"] = round(full["bytes_per_board"])
    minute = measure(1000, 60, traced=True)
    figures["boards_1000_traced_bytes_per_board"] = round(minute["bytes_per_board"])
    return figures


if __name__ == "__main__":
    count, samples, traced = map(int, sys.argv[1:])
    print(json.dumps(asyncio.run(_run(count, samples, bool(traced)))))
