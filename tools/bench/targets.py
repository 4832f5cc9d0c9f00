"""The targets of the project, in one place, against what was measured.

Those of memory are in tools/footprint.py, which measures it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import footprint
from boardwarden.deploy.choosing import figures_of

from .table import number

Figures = Mapping[str, float]
WAYS = {"files": "as files, by `deploy`", "romfs": "in ROMFS", "frozen": "frozen"}
BOARD_HEAD = ["figure", "reached", "target", "beyond", ""]
HOST_HEAD = ["figure", "reached", "target", ""]


@dataclass(frozen=True)
class Target:
    """No more than `limit` is met, with `least` no less; `beyond` is what was hoped for.

    of: the name of the figure, or a function of all figures; limited_by: said where it is missed.
    """

    label: str
    unit: str
    limit: float
    of: str | Callable[[Figures], float | None]
    beyond: float | None = None
    limited_by: str = ""
    least: bool = False

    def reached(self, figures: Figures) -> float | None:
        """None where it was not measured."""
        return figures.get(self.of) if isinstance(self.of, str) else self.of(figures)

    def is_met(self, figures: Figures) -> bool:
        value = self.reached(figures)
        if value is None:
            return False
        return value >= self.limit if self.least else value <= self.limit

    def row(self, figures: Figures) -> list[str]:
        value = self.reached(figures)
        unit = f" {self.unit}" if self.unit else ""
        sign = "≥" if self.least else "≤"
        cells = [self.label, "not measured", f"{sign} {number(self.limit)}{unit}"]
        if value is not None:
            cells[1] = f"{number(round(value, 2))}{unit}"
        if self.beyond is not None:
            cells.append(number(self.beyond))
        elif not self.least:
            cells.append("")
        said = "met" if self.is_met(figures) else "missed"
        return [*cells, "" if value is None else said]


def _percent(name: str) -> Callable[[Figures], float | None]:
    def reached(figures: Figures) -> float | None:
        permille = figures.get(name)
        return None if permille is None else permille / 10

    return reached


def more(row: str, way: str = "watched") -> Callable[[Figures], float | None]:
    """By how many percent an asyncio application's work costs more beside the agent."""

    def reached(figures: Figures) -> float | None:
        alone = figures.get(f"asyncio_{row}_alone_instructions")
        beside = figures.get(f"asyncio_{row}_{way}_instructions")
        return None if not alone or beside is None else (beside / alone - 1) * 100

    return reached


def _more_with_keys(figures: Figures) -> float | None:
    without = figures.get("stock.keys_request_without_instructions")
    signed = figures.get("stock.keys_request_instructions")
    return None if without is None or signed is None else signed - without


_POLLS = (
    "samples, ten polls a second with nothing due and a host's sign of life each second take the"
    " budget of 1 % together; the governor stretches the interval for it"
)

BOARD = (
    Target("a tick that watches, beyond reading the heap", "", 90_000,
           "stock.tick_watching_beyond_instructions", 70_000,
           "plain bytecode: the interpreter's loop takes a third, look-ups of names as much, 55"
           " calls a tenth; to compare, encode and send the sample takes 53 000, to read sensors"
           " and file it 57 000"),
    Target("a tick with all tables full, beyond reading the heap", "", 120_000,
           "stock.tick_full_beyond_instructions", 95_000,
           "that, and 95 000: eight thresholds 62 000, of which the forecast of memory takes"
           " 22 000; 16 metered tasks that rest 9 000, and one that ran 2 000 more"),
    Target("bytes of heap a tick", "bytes", 0, "stock.tick_full_heap_bytes"),
    Target("a poll with nothing due", "", 4_000, "stock.poll_full_instructions", 2_000,
           "the clock and the link are asked, by two calls, and 20 names are looked up"),
    Target("`begin` + `complete`", "", 45_000, "stock.begin_complete_instructions", 33_000,
           "27 calls and 250 look-ups of names: the operation's object 13 000, its row 15 000, two"
           " events 11 000, two locks 4 000, the clock twice 9 000, to find the agent 3 500"),
    Target("heap that it leaves behind", "bytes", 96, "stock.begin_complete_heap_bytes"),
    Target("a request answered", "", 90_000, "stock.request_instructions",
           limited_by="to read the request takes half of it, 40 calls in all; to answer 32 000"),
    Target("a handshake with keys", "", 3_000_000, "stock.keys_handshake_instructions"),
    Target("heap in use while it lasts, at most", "bytes", 2_048,
           "stock.keys_handshake_peak_bytes"),
    Target("heap that it allocates in all, garbage included", "bytes", 2_048,
           "stock.keys_handshake_heap_bytes",
           limited_by="each HMAC-SHA256 takes two hashes and their digests, and there are three"
           " beside that of the nonce, where the port has no random numbers, as this one"),
    Target("a request with keys, more", "", 60_000, _more_with_keys),
    Target("flash, frozen, everything", "bytes", 60_000, "stock.flash_everything_bytes", 50_000,
           "what watches 20 000, what decides 18 000, names 23 000, and what is loaded seldom: the"
           " exceptions and resets kept 8 000, the watchdog 6 700, several hosts and keys 10 000,"
           " MQTT 5 000, requests, stored policy and links the rest"),
    Target("an asyncio step, more", "%", 25, more("step")),
    Target("… that reads from a stream", "%", 25, more("read")),
    Target("an asyncio task made and awaited, more", "%", 30, more("task")),
    Target("a step, more, `start(steps=False)`", "%", 5, more("step", "untimed")),
    Target("… that reads from a stream", "%", 5, more("read", "untimed")),
    Target("a task, more, `start(steps=False)`", "%", 10, more("task", "untimed")),
    Target("slow-down, 10 Hz", "%", 5, _percent("stock.slow_down_10_hz_permille")),
    Target("slow-down, 1 Hz", "%", 1.5, _percent("stock.slow_down_1_hz_permille")),
    Target("slow-down, 10 Hz, native", "%", 1, _percent("native.slow_down_10_hz_permille"),
           limited_by=_POLLS),
    Target("slow-down, 1 Hz, native", "%", 0.2, _percent("native.slow_down_1_hz_permille"),
           limited_by=_POLLS),
    Target("a steady sample on the wire", "bytes", 24, "stock.wire_steady_sample_bytes"),
    Target("lines of code on the board", "", 4_000, "code_lines", 3_500),
)  # fmt: skip

HOST = (
    Target("frames decoded and mirrored", "a second", 50_000, "host_frames_mirrored_per_s",
           least=True),
    Target("`board.status`, unchanged", "µs", 2, "host_status_unchanged_us"),
    Target("`board.status` beside the REPL query, sim", "times as fast", 1000,
           "sim_repl_query_over_status_read_ratio", least=True),
    Target("request beside the shortest raw-REPL exec, sim", "of its time", 1,
           "sim_request_over_shortest_exec_ratio",
           limited_by="two ways through a pseudo-terminal, which the REPL has too, and asyncio on"
           " both sides; an exec that breaks into an application takes many times as long"),
    Target("request beside the shortest raw-REPL exec, qemu", "of its time", 1,
           "qemu_request_over_shortest_exec_ratio",
           limited_by="QEMU's UART holds one byte, and each takes 20 to 25 µs: a request has 18 to"
           " 20 of them, and its reply as many, where `pass` and its reply have 5 each"),
)  # fmt: skip


def memory() -> dict[tuple[str, str], int]:
    """What was accepted of the agent's memory on 32 bits: bytes by way and state."""
    accepted = figures_of(json.loads(footprint.ACCEPTED.read_text()))
    return {way_and_state: figure.bytes for way_and_state, figure in accepted.items()}


def board_rows(figures: Figures, with_memory: bool = True) -> list[list[str]]:
    """What the agent takes of memory and instructions; the first row heads."""
    rows = [BOARD_HEAD]
    sizes = memory()
    for (way, state), (limit, beyond) in footprint.TARGETS.items() if with_memory else ():
        label = f"heap, {WAYS[way]}, {state}"
        held = {"held": float(sizes[way, state])} if (way, state) in sizes else {}
        rows.append(Target(label, "bytes", limit, "held", beyond).row(held))
    return rows + [target.row(figures) for target in BOARD]


def host_rows(figures: Figures) -> list[list[str]]:
    """What the host takes; the first row heads."""
    return [HOST_HEAD, *([*row[:3], row[-1]] for row in (one.row(figures) for one in HOST))]
