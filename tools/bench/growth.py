"""How the figures grow: the heap from 64 KB to 4 MB, the boards of a host from 1 to 1 000."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import many
from .machine import PROGRAMS, ProgramFailed

Figures = dict[str, float]
REPO = Path(__file__).resolve().parents[2]
HEAPS_KB = (64, 128, 256, 512, 1024, 2048, 4096)
BOARDS = (1, 10, 100, 1000)
_FRAMES = 30_000


def heaps(micropython: Path) -> Figures:
    """A tick on the frozen unix port, by `-X heapsize=`; timed, so compare within the run only."""
    figures: Figures = {}
    smallest = 0
    for size in HEAPS_KB:
        tick_us, walk_us = _tick(micropython, size)
        smallest = smallest or tick_us
        figures[f"heap_{size}_kb_tick_us"] = tick_us
        figures[f"heap_{size}_kb_gc_walk_us"] = walk_us
        figures[f"heap_{size}_kb_tick_over_smallest_ratio"] = round(tick_us / smallest, 2)
    return figures


def _tick(micropython: Path, size_kb: int) -> tuple[int, int]:
    command = [str(micropython), "-X", f"heapsize={size_kb}k", str(PROGRAMS / "growth.py")]
    env = {**os.environ, "MICROPYPATH": ".frozen"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)
    fields = done.stdout.split()
    if done.returncode or len(fields) != 5 or fields[4] != "0":
        said = (done.stderr or done.stdout).strip()
        raise ProgramFailed(f"growth.py with {size_kb} KB of heap: {said}")
    return int(fields[1]), int(fields[2])


def hosts() -> Figures:
    """Memory and frames of so many boards in one process."""
    figures: Figures = {}
    for count in BOARDS:
        samples = max(60, _FRAMES // count)
        found = many.measure(count, samples)
        figures[f"boards_{count}_frames_per_s"] = round(found["frames_per_s"])
        figures[f"boards_{count}_rss_bytes_per_board"] = round(
            many.measure(count, 60)["bytes_per_board"]
        )
    full = many.measure(100, 600, traced=True)
    figures["boards_100_full_history_traced_bytes_per_board"] = round(full["bytes_per_board"])
    minute = many.measure(1000, 60, traced=True)
    figures["boards_1000_traced_bytes_per_board"] = round(minute["bytes_per_board"])
    return figures
