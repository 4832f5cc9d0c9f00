"""Figures as a table: a row for each, a column for each firmware variant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .catalogue import VARIANTS


def rows(figures: Mapping[str, float], prefixes: Iterable[str] = ("",)) -> list[list[str]]:
    """[name, a value or "" for each variant …] of those whose names begin so; the first row heads.

    A figure that no firmware has stands in the first of the columns.
    """
    variants = [name for name in VARIANTS if any(f.startswith(name + ".") for f in figures)]
    found: dict[str, list[str]] = {}
    for name, value in figures.items():
        variant, _, row = name.rpartition(".")
        if variant not in variants:
            variant, row = "", name
        if not row.startswith(tuple(prefixes)):
            continue
        cells = found.setdefault(row, [""] * max(1, len(variants)))
        cells[variants.index(variant) if variant else 0] = number(value)
    return [["figure", *(variants or ["value"])], *([row, *cells] for row, cells in found.items())]


def text(figures: Mapping[str, float]) -> str:
    """The table for a terminal."""
    lines = rows(figures)
    width = max(len(line[0]) for line in lines)
    return "\n".join(
        line[0].ljust(width) + "".join(cell.rjust(14) for cell in line[1:]) for line in lines
    )


def markdown(lines: list[list[str]], said: int = 0) -> str:
    """The same for a page; empty where there is nothing but the head.

    The last `said` columns are sentences, and stand at the left.
    """
    if len(lines) < 2:
        return "Not measured.\n"
    head, *rest = lines
    rule = "| --- |" + " ---: |" * (len(head) - 1 - said) + " --- |" * said
    return "\n".join(["| " + " | ".join(head) + " |", rule]
                     + ["| " + " | ".join(line) + " |" for line in rest]) + "\n"  # fmt: skip


def number(value: float) -> str:
    """With thin groups of three, as it was measured."""
    if value == int(value):
        return f"{int(value):,}".replace(",", " ")
    return f"{value:g}"
