"""docs/cost.md, and the lines of README.md between its markers, from the results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import board_table
import footprint
from boardwarden.deploy.choosing import figures_of

from . import targets
from .table import markdown, number

REPO = Path(__file__).resolve().parents[2]
COST = REPO / "docs" / "cost.md"
README = REPO / "README.md"
_PAGE = Path(__file__).with_name("page.md")
BEGIN = "<!-- from bench/results.json: make bench -->"
END = "<!-- end of what make bench writes -->"

Figures = Mapping[str, float]

# Counted once in the same way, with MicroPython 1.25: KB from files. pip gets none of them.
_OTHER_PEERS = (
    ("aiorepl", 3.8),
    ("umqtt.simple and robust", 5.0),
    ("usb-device with cdc", 11.5),
    ("mqtt_as", 15.2),
    ("aioble, all of it", 27.3),
)
_ASYNCIO = (
    ("a step", "step"),
    ("a step that reads from a stream", "read"),
    ("two tasks that wake each other", "wake"),
    ("a task made and awaited", "task"),
    ("an HTTP request answered", "http"),
    ("… by a server under load", "http_load"),
    ("… by microdot 2.7", "microdot"),
)


def cost_page(figures: Figures) -> str:
    """The text of docs/cost.md."""
    text = _PAGE.read_text(encoding="utf-8")
    for name, part in (
        ("memory", _memory()),
        ("boards", board_table.table(figures_of(json.loads(footprint.ACCEPTED.read_text())))),
        ("peers", _peers(figures)),
        ("time", markdown([row[:3] + row[4:] for row in targets.board_rows(figures, False)])),
        ("asyncio", _asyncio(figures)),
        ("limits", _limits(figures)),
        ("host", markdown(targets.host_rows(figures))),
    ):
        text = text.replace(f"<!-- {name} -->\n", part)
    return text


def _memory() -> str:
    sizes = targets.memory()
    lines = [["installed", "watching", "target", "deciding", "target"]]
    for way, label in targets.WAYS.items():
        line = [label]
        for state in ("watching", "deciding"):
            line += [number(sizes[way, state]), number(footprint.TARGETS[way, state][0])]
        lines.append(line)
    return markdown(lines)


def _peers(figures: Figures) -> str:
    lines = [["library", "from files", "from ROMFS"]]
    found = [figures.get(f"peer_microdot_{way}_bytes") for way in ("files", "romfs")]
    rows = [(name, kilobytes, "") for name, kilobytes in _OTHER_PEERS]
    if None not in found:
        files, romfs = (round((value or 0) / 1000, 1) for value in found)
        rows.append(("microdot 2.7", files, f"{romfs:g} KB"))
    for name, kilobytes, romfs_text in sorted(rows, key=lambda row: row[1]):
        lines.append([name, f"{kilobytes:g} KB", romfs_text])
    return markdown(lines)


def _asyncio(figures: Figures) -> str:
    lines = [["", "alone", "beside the agent", "`start(steps=False)`"]]
    for label, row in _ASYNCIO:
        alone = figures.get(f"asyncio_{row}_alone_instructions")
        if alone is None:
            continue
        line = [label, number(alone)]
        for way in ("watched", "untimed"):
            beside = figures[f"asyncio_{row}_{way}_instructions"]
            line.append(f"{number(beside)} ({(beside / alone - 1) * 100:+.0f} %)")
        lines.append(line)
    return markdown(lines)


def _limits(figures: Figures) -> str:
    """What limits those that are missed, as a list."""
    return "".join(
        f"- {target.label}: {target.limited_by}.\n"
        for target in (*targets.BOARD, *targets.HOST)
        if target.limited_by and not target.is_met(figures)
    )


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
    beside = [targets.more(row)(figures) for row in ("step", "http_load")]
    if None not in beside:
        cells = ", ".join(f"{value:+.0f} %" for value in beside)
        lines.append(f"| an asyncio step, an HTTP server under load: with the agent | {cells} |")
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
