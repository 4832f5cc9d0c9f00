"""Timed figures of the host: decoding, reading the mirror, importing. All on this machine."""

from __future__ import annotations

import asyncio
import binascii
import statistics
import subprocess
import sys
import timeit
from time import perf_counter

import msgpack

from . import streams

Figures = dict[str, float]
_FRAMES = 20_000
_TIMES = 5


def measure() -> Figures:
    return asyncio.run(_mirroring()) | import_time()


async def _mirroring() -> Figures:
    boards, sources = await streams.connected(1)
    mirrored, source = boards[0], sources[0]
    best_one = best_many = float("inf")
    for _ in range(_TIMES):
        frames = [source.frame() for _ in range(_FRAMES)]
        best_one = min(best_one, _feed(mirrored, frames))
        frames = [source.frame() for _ in range(_FRAMES)]
        chunks = [b"".join(frames[at : at + 32]) for at in range(0, _FRAMES, 32)]
        best_many = min(best_many, _feed(mirrored, chunks))
    board = mirrored.board
    if board.link.gaps or board.link.bad_frames:
        raise RuntimeError("the mirror did not take what was fed")
    unchanged_s = min(timeit.repeat(lambda: board.status, number=10_000, repeat=_TIMES)) / 10_000
    changed_s = _read_after_change(mirrored, source)
    await streams.close(boards)
    whole_s = _bare(frames)
    return {
        "host_frames_mirrored_per_s": round(_FRAMES / best_one),
        "host_frames_mirrored_in_chunks_per_s": round(_FRAMES / best_many),
        "host_frame_over_bare_decode_ratio": round(best_one / whole_s, 2),
        "host_frame_bytes": statistics.median(map(len, frames)),
        "host_status_unchanged_us": round(unchanged_s * 1e6, 3),
        "host_status_after_change_us": round(changed_s * 1e6, 2),
    }


def _feed(mirrored: streams.Mirrored, pieces: list[bytes]) -> float:
    """Seconds to take these pieces; what the mirror then shows is of the last of them."""
    receive = mirrored.receive
    began = perf_counter()
    for piece in pieces:
        receive(piece)
    return perf_counter() - began


def _bare(frames: list[bytes]) -> float:
    """Seconds that a CRC in C and msgpack alone take for such frames, without their escapes."""
    bodies = [msgpack.packb(list(frame[1:11])) for frame in frames]
    began = perf_counter()
    for body in bodies:
        binascii.crc_hqx(body, 0xFFFF)
        msgpack.unpackb(body)
    return perf_counter() - began


def _read_after_change(mirrored: streams.Mirrored, source: streams.Steady) -> float:
    """Seconds of a read that finds the state changed; the best mean of a few hundred."""
    best = float("inf")
    board = mirrored.board
    for _ in range(_TIMES):
        total = 0.0
        for _ in range(500):
            mirrored.receive(source.frame())
            began = perf_counter()
            _ = board.status
            total += perf_counter() - began
        best = min(best, total / 500)
    return best


def import_time() -> Figures:
    """Of a Board in a fresh interpreter, and beside that of asyncio and msgpack."""
    ours = min(_imported("import boardwarden, boardwarden.board") for _ in range(_TIMES))
    bare = min(_imported("import asyncio, msgpack") for _ in range(_TIMES))
    return {
        "host_import_ms": round(ours / 1000, 1),
        "host_import_over_asyncio_and_msgpack_ratio": round(ours / bare, 2),
    }


def _imported(statement: str) -> float:
    """Microseconds, by -X importtime: the sum over the modules that the statement names."""
    command = [sys.executable, "-X", "importtime", "-c", statement]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wanted = statement.removeprefix("import ").split(", ")
    total = 0.0
    for line in done.stderr.splitlines():
        _, cumulative, name = line.removeprefix("import time:").split("|")
        if name.strip() in wanted and name.startswith(" ") and not name.startswith("  "):
            total += float(cumulative)
    return total
