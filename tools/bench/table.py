"""Figures as a table: a row for each, a column for each firmware variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .catalogue import VARIANTS


def rows(figures: Mapping[str, float]) -> list[list[str]]:
    """[name, a value or "" for each variant …]; the first row heads.

    A figure that no firmware has stands in the first of the columns.
    """
    variants = [name for name in VARIANTS if any(f.startswith(name + ".") for f in figures)]
    found: dict[str, list[str]] = {}
    for name, value in figures.items():
        variant, _, row = name.rpartition(".")
        if variant not in variants:
            variant, row = "", name
        cells = found.setdefault(row, [""] * max(1, len(variants)))
        cells[variants.index(variant) if variant else 0] = number(value)
    return [["figure", *(variants or ["value"])], *([row, *cells] for row, cells in found.items())]


def text(lines: Sequence[Sequence[str]]) -> str:
    """The table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """The same for a page."""
    head, *rest = lines
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    body = ["| " + " | ".join(line) + " |" for line in rest]
    return "\n".join(["| " + " | ".join(head) + " |", rule, *body]) + "\n"


def number(value: float) -> str:
    """With thin groups of three, as it was measured."""
    if value == int(value):
        return f"{int(value):,}".replace(",", " ")
    return f"{value:g}"
