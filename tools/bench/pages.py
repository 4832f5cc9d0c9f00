"""docs/cost.md, and the lines of README.md between its markers, from the results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from . import targets
from .catalogue import ROWS
from .table import markdown, number, rows

REPO = Path(__file__).resolve().parents[2]
COST = REPO / "docs" / "cost.md"
README = REPO / "README.md"
BEGIN = "<!-- from bench/results.json: make bench -->"
END = "<!-- end of what make bench writes -->"

_TRIED = Path(__file__).with_name("tried.md")

Figures = Mapping[str, float]

_HEAD = """# What it costs

Written by `make bench` from `bench/results.json`, which has each figure with what it is; do not
edit. Instructions are those of a Cortex-M3 (QEMU's mps2-an385 with `-icount shift=5`, a heap of
140 KB, the agent frozen in): counted in steps of 1.25, they repeat exactly. One is 32 ns of the
board's time, 31 250 are a millisecond: bytecode runs about as fast as on an RP2040 of 125 MHz
(msgpack of 12 integers in 1.07 ms beside 0.93, a walk over a heap of 140 KB in 11.2 beside 9.0 over
240 KB). Columns are firmware variants: `bytecode` without viper,
`stock` as it is built, `native` with the C module. What is timed (host, requests, growth) holds for
the machine and the moment it ran on: compare it within this page only.

"""

# title, what is said of it, the figures whose names begin so
_SECTIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("A tick", "At 1 Hz with a host that listens. `_heap_bytes`: what it takes of the heap; below,"
     " rows of 0 are left out.",
     ("tick_", "poll_", "wire_", "failures_", "receive_", "mean_step")),
    ("Its parts", "Each called by itself, all tables full.", ("part_",)),
    ("Decisions", "Tables empty but for it.",
     ("begin_", "complete", "can_execute", "allocate_", "refused_", "request_ping")),
    ("The query that others make", "On the same board, from its text; without the line's time.",
     ("repl_query", "repl_nothing")),
    ("Pauses", "Single polls of the agent. The application waits so long.", ("longest_",)),
    ("A workload beside it", "Permille by which it takes longer; `_unlimited`: without the agent's"
     " budget of 10 permille. `repl_…`: the REPL query at that rate, the board waiting for the"
     " host; 0.05 is 5 %.", ("slow_down_", "interval_", "repl_1")),
    ("Heap held", "After a collection. By module without what it imports; by object without what"
     " it makes.", ("held_",)),
    ("Flash", "", ("flash_",)),
    ("On the host", "", ("host_",)),
    ("Requests", "", ("sim_", "qemu_")),
    ("How it grows", "Ticks of the frozen unix port by heap; boards in one process, over links in"
     " memory, 60 samples each. `traced`: by tracemalloc.", ("heap_", "boards_")),
)  # fmt: skip
_HIDDEN = ("heap_used", "heap_total", "faults", "collections_by_the_agent")


def cost_page(figures: Figures) -> str:
    """The text of docs/cost.md."""
    shown = {name: value for name, value in figures.items() if not _is_hidden(name, value)}
    parts = [_HEAD, "## Targets\n\n", markdown(targets.rows(figures), said=1)]
    for title, remark, prefixes in _SECTIONS:
        parts.append(f"\n## {title}\n\n" + (f"{remark}\n\n" if remark else ""))
        parts.append(markdown(rows(dict(sorted(shown.items())), prefixes)))
    parts.append(_TRIED.read_text(encoding="utf-8"))
    parts.append("\n## What the rows are\n\n")
    parts += [f"- `{name}`: {what}.\n" for name, what in ROWS.items()]
    return "".join(parts)


def _is_hidden(name: str, value: float) -> bool:
    """Of what takes nothing of the heap the results say so; here it would be half of the rows."""
    if name.endswith("_heap_bytes") and not value and "tick" not in name:
        return True
    return (name.partition(".")[2] or name).startswith(_HIDDEN)


def readme_lines(figures: Figures) -> str:
    """What stands between the markers."""
    said = [
        ("a sample, on stock firmware / with the C module", "tick_deciding_instructions",
         "{} / {} instructions of a Cortex-M3"),
        ("the same through the REPL: two heap walks, json", "repl_query_instructions", "{}, and the"
         " application stopped"),
        ("heap that a sample takes", "tick_full_heap_bytes", "{} bytes"),
        ("a steady sample on the wire", "wire_steady_sample_bytes", "{} bytes"),
    ]  # fmt: skip
    lines = ["| what | cost |", "| --- | --- |"]
    for what, name, text in said:
        values = [figures.get(f"{variant}.{name}") for variant in ("stock", "native")]
        cells = [number(value) for value in values if value is not None]
        if len(cells) >= text.count("{}"):
            lines.append(f"| {what} | {text.format(*cells)} |")
    return "\n".join(lines) + "\n"


def with_lines(readme: str, figures: Figures) -> str:
    """README.md with what is between its markers written anew; as it is where it has none."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return readme
    return f"{before}{BEGIN}\n{readme_lines(figures)}{END}{after}"


def write(figures: Figures) -> None:
    COST.write_text(cost_page(figures), encoding="utf-8")
    README.write_text(with_lines(README.read_text(encoding="utf-8"), figures), encoding="utf-8")
