"""The counted figures of one firmware: instructions and bytes, the same in every run."""

from __future__ import annotations

from pathlib import Path

from . import flash, machine
from .catalogue import INFORMATIVE

Figures = dict[str, float]
REPO = Path(__file__).resolve().parents[2]

COUNTING = ("tick", "decide")
SLOWER = ("pauses", "query")  # seconds each
_HEAP = ("heap_modules", "heap_objects")

# Programs that are printed as bytes or as counts, whatever the rest of the program is.
_COUNTS = (
    *("failures_under_heap_lock", "faults", "collections_by_the_agent"),
    "polls_at_subscription",
)


def measure(firmware: Path, programs: tuple[str, ...], before: str = "") -> Figures:
    """Run these programs of board/; `before` is a text that each has in front."""
    figures: Figures = {}
    for program in programs:
        heap = program in _HEAP
        text = before + f"SHORT_QUERY = {machine.SHORT_QUERY!r}\n" + (_names() if heap else "")
        found = machine.run(firmware, program, text, helpers=not heap)
        if heap:
            figures |= {
                f"held_{name.replace('.', '_')}_bytes": count
                for name, count in found.heap_bytes.items()
            }
        else:
            figures |= _named(found)
    return figures


def heap_held(firmware: Path) -> Figures:
    """What the agent keeps of the heap, by module and by object."""
    return measure(firmware, _HEAP)


def flash_taken(firmware: Path) -> Figures:
    """What is frozen, by module; the core is what a board has imported that only measures."""
    found = machine.run(firmware, "core", helpers=False)
    return flash.sizes(firmware, set(found.heap_bytes))


def _named(found: machine.Rows) -> Figures:
    figures: Figures = {}
    for name, ticks in found.ticks.items():
        count = found.heap_bytes[name]
        if name.endswith("_greatest"):
            row = name.removesuffix("_greatest")
            figures[f"{row}_instructions_greatest"] = machine.instructions(ticks)
        elif ticks:
            figures[f"{name}_instructions"] = machine.instructions(ticks)
            if count >= 0:
                figures[f"{name}_heap_bytes"] = count
        elif name in _COUNTS:
            figures[f"{name}_count"] = count
        else:
            figures[f"{name}_bytes"] = count
    return figures


def _names() -> str:
    """The modules of the agent, for the program that counts imports."""
    names = sorted(path.stem for path in (REPO / "device").glob("**/warden/*.py"))
    return f"NAMES = {tuple(name for name in names if name != '__init__')!r}\n"


def is_judged(figure: str) -> bool:
    """Whether more of it is worse; the others only tell what was measured."""
    row = figure.partition(".")[2] or figure
    return not row.startswith(INFORMATIVE)
