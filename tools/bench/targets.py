"""The targets of the project, against what was measured, and what limits those that are missed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .table import number

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Target:
    """`reached` gives the figure, None where it was not measured; no more than `limit` is met.

    least: no less than that is. limited_by: said where it is missed.
    """

    label: str
    unit: str
    limit: float
    reached: Callable[[Figures], float | None]
    limited_by: str = ""
    least: bool = False

    def row(self, figures: Figures) -> list[str]:
        value = self.reached(figures)
        bound = f"{'≥' if self.least else '≤'} {number(self.limit)} {self.unit}".rstrip()
        if value is None:
            return [self.label, bound, "not measured", ""]
        met = value >= self.limit if self.least else value <= self.limit
        reached = f"{number(round(value, 2))} {self.unit}".rstrip()
        return [self.label, bound, reached, "met" if met else self.limited_by or "missed"]


def _of(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.get(name)


def _beyond_a_walk(figures: Figures) -> float | None:
    tick = figures.get("stock.tick_full_instructions")
    walk = figures.get("stock.part_gc_mem_free_instructions")
    return None if tick is None or walk is None else tick - walk


def _percent(name: str) -> Callable[[Figures], float | None]:
    def reached(figures: Figures) -> float | None:
        permille = figures.get(name)
        return None if permille is None else permille / 10

    return reached


def _kilobytes(name: str) -> Callable[[Figures], float | None]:
    def reached(figures: Figures) -> float | None:
        count = figures.get(name)
        return None if count is None else count / 1024

    return reached


_POLLS = (
    "a second has ten polls with nothing due (`poll_deciding_instructions`), a host's sign of life"
    " (`poll_keepalive_instructions`) and samples (`tick_deciding_…`), which the governor stretches"
    " until all of it fits its budget of 1 % (`interval_…_ms`)"
)
_NAMES = (
    "machine code (`flash_module_warden_schema_fast_bytes`; without it: column `bytecode`), which"
    " is what a tick's instructions are saved by; names of attributes and functions"
    " (`flash_names_bytes`), each 18 bytes with its text; and the decisions; by module below"
)
_MODULES = (
    "modules: a module's functions, classes and names are objects in RAM (`held_module_…`, half of"
    " it); the history alone is 3.7 KB, buffers and tables of fixed size for a link the rest"
)

TARGETS = (
    Target("a tick, native, all tables full", "instructions", 25_000,
           _of("native.tick_full_instructions"),
           "all of it is machine code; what it takes is one pass over the heap, 7 000 to 10 000,"
           " the loops over figures and the frame, 11 000, and the runtime's search for 87"
           " attributes, 13 000, and global names, 2 000, with conversions, 4 000: see what was"
           " tried, below"),
    Target("a tick, stock, all tables full, beyond one heap walk", "instructions", 30_000,
           _beyond_a_walk, "the same as with the native module"),
    Target("heap that a tick takes, all tables full", "bytes", 0,
           _of("stock.tick_full_heap_bytes")),
    Target("longest pause, native, no collection in it", "instructions", 8_000,
           _of("native.longest_pause_instructions"),
           "a tick is one turn; at worst it has a whole sample, a forecast or the storage's scan,"
           " and a host's sign of life in it, each about 10 000. In several turns each would be"
           " shorter, and all together longer by 2 000 a turn"),
    Target("longest pause, native, telling a new host of full tables", "instructions", 8_000,
           _of("native.longest_pause_at_subscription_instructions"),
           "two frames go out in one poll: 25 000 for a lease's, of which half is to send it,"
           " 50 000 for the HELLO, of which there is one"),
    Target("`begin` + `complete`", "instructions", 20_000,
           _of("stock.begin_complete_instructions"),
           "an operation's object 4 900, two events 3 700 each, learning its memory 2 200, its end"
           " in time 2 000, the clock 1 000 twice, and what joins them:"
           " `tools/tick_profile.py --decisions`"),
    Target("slow-down, 10 Hz, native", "%", 1, _percent("native.slow_down_10_hz_permille"), _POLLS),
    Target("slow-down, 10 Hz, stock", "%", 5, _percent("stock.slow_down_10_hz_permille"), _POLLS),
    Target("slow-down, 1 Hz, native", "%", 0.2, _percent("native.slow_down_1_hz_permille"), _POLLS),
    Target("slow-down, 1 Hz, stock", "%", 1.5, _percent("stock.slow_down_1_hz_permille"), _POLLS),
    Target("heap held after start", "KB", 6, _kilobytes("stock.held_start_bytes"), _MODULES),
    Target("frozen size, everything", "KB", 24, _kilobytes("stock.flash_everything_bytes"), _NAMES),
    Target("frozen size, the core", "KB", 16, _kilobytes("stock.flash_core_bytes"), _NAMES),
    Target("a steady sample on the wire", "bytes", 24, _of("stock.wire_steady_sample_bytes")),
    Target("host: frames decoded and mirrored", "a second", 50_000,
           _of("host_frames_mirrored_per_s"),
           "one core of the machine this ran on, with what else it did", least=True),
    Target("host: `board.status`, unchanged", "µs", 2, _of("host_status_unchanged_us")),
    Target("host: `board.status` beside the REPL query, sim", "times as fast", 1000,
           _of("sim_repl_query_over_status_read_ratio"), least=True),
    Target("request beside the shortest raw-REPL exec, sim", "of its time", 1,
           _of("sim_request_over_shortest_exec_ratio"),
           "two ways through a pseudo-terminal, which the REPL has too; beyond them the board's"
           " bytecode to carry out and answer a frame (`request_ping`), and asyncio on both sides;"
           " an exec that breaks into an application takes many times as long"
           " (`sim_exec_breaking_in_ms`)"),
    Target("request beside the shortest raw-REPL exec, qemu", "of its time", 1,
           _of("qemu_request_over_shortest_exec_ratio"),
           "QEMU's UART holds one byte, and each takes 20 to 25 µs: a request has 18 to 20 of"
           " them, and its reply as many, where `pass` and its reply have 5 each"),
)  # fmt: skip


def rows(figures: Figures) -> list[list[str]]:
    head = ["figure", "target", "reached", "met, or what limits it"]
    return [head, *(target.row(figures) for target in TARGETS)]
