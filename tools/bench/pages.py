"""docs/cost.md, and the lines of README.md between its markers, from the results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from . import targets
from .table import markdown, number

REPO = Path(__file__).resolve().parents[2]
COST = REPO / "docs" / "cost.md"
README = REPO / "README.md"
_PAGE = Path(__file__).with_name("page.md")
BEGIN = "<!-- from bench/results.json: make bench -->"
END = "<!-- end of what make bench writes -->"

Figures = Mapping[str, float]

# Rows of the second table: what it is, and the figure.
_DETAILS = (
    ("a tick that watches", "tick_watching_instructions"),
    ("… of which one walk over the heap", "heap_walk_watching_instructions"),
    ("a tick with all tables full", "tick_full_instructions"),
    ("… beyond reading the heap, at most", "tick_full_greatest_beyond_instructions"),
    ("`allocate` + `release`", "allocate_release_instructions"),
    ("`can_execute`", "can_execute_instructions"),
    ("`allocate` refused for want of memory", "refused_instructions"),
    ("a host's sign of life", "keepalive_instructions"),
    ("the longest poll beside garbage, at 10 Hz", "longest_pause_instructions"),
    ("… with a collection in it", "longest_pause_collecting_instructions"),
    ("the longest poll that sends full tables", "longest_pause_at_subscription_instructions"),
    ("full tables for a new host, all polls", "subscription_instructions"),
    ("slow-down at 1 Hz, permille", "slow_down_1_hz_permille"),
    ("slow-down at 10 Hz, permille", "slow_down_10_hz_permille"),
    ("… the interval that the budget of 1 % allows, ms", "interval_10_hz_ms"),
    ("a whole sample on the wire, bytes", "wire_whole_sample_bytes"),
    ("flash of what only watches, bytes", "flash_core_bytes"),
)


def cost_page(figures: Figures) -> str:
    """The text of docs/cost.md."""
    text = _PAGE.read_text(encoding="utf-8")
    for name, part in (
        ("board", markdown(targets.board_rows(figures))),
        ("board limits", _limits(targets.BOARD, figures)),
        ("details", _details(figures)),
        ("host", markdown(targets.host_rows(figures))),
        ("host limits", _limits(targets.HOST, figures)),
    ):
        text = text.replace(f"<!-- {name} -->\n", part)
    return text


def _limits(wanted: Iterable[targets.Target], figures: Figures) -> str:
    """What limits those that are missed, as a list."""
    lines = [
        f"- {target.label}: {target.limited_by}.\n"
        for target in wanted
        if target.limited_by and not target.is_met(figures)
    ]
    return "\nWhat limits those that are missed:\n\n" + "".join(lines) if lines else ""


def _details(figures: Figures) -> str:
    lines = [["", "stock", "native"]]
    for what, name in _DETAILS:
        values = [figures.get(f"{variant}.{name}") for variant in ("stock", "native")]
        if any(value is not None for value in values):
            lines.append([what, *("" if value is None else number(value) for value in values)])
    return markdown(lines)


def readme_lines(figures: Figures) -> str:
    """What stands between the markers."""
    sizes = targets.memory()
    lines = ["| what | cost |", "| --- | --- |"]
    for way, label in (("files", "installed by `deploy`"), ("frozen", "frozen into the firmware")):
        held = [sizes.get((way, state)) for state in ("watching", "deciding")]
        if None not in held:
            watching, deciding = (f"{(size or 0) / 1000:.0f} KB" for size in held)
            lines.append(f"| memory, {label}: watching / deciding, too | {watching} / {deciding} |")
    for what, name, text in (
        ("a sample beyond a walk over the heap", "tick_watching_beyond_instructions",
         "{} instructions of a Cortex-M3"),
        ("heap that a sample takes", "tick_full_heap_bytes", "{} bytes"),
        ("an operation, begun and completed", "begin_complete_instructions", "{} instructions"),
        ("a host's request, read and answered", "request_instructions", "{} instructions"),
        ("a steady sample on the wire", "wire_steady_sample_bytes", "{} bytes"),
    ):  # fmt: skip
        value = figures.get(f"stock.{name}")
        if value is not None:
            lines.append(f"| {what} | {text.format(number(value))} |")
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
