"""Where the commands print: aligned text for people, one JSON object a line for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .columns import columns
from .view import WIDTH, Row, aligned


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object as one line, at once."""
    print_line(json.dumps(value, ensure_ascii=False))


def print_line(line: str) -> None:
    """Print one line, at once."""
    print(line, flush=True)


def print_rows(rows: Iterable[Row]) -> None:
    """Print rows, as wide as the terminal; 80 columns where there is none."""
    print_line(aligned(rows, _width()))


def print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], nothing: str, whole: Sequence[str] = ()
) -> None:
    """Print a table, as wide as the terminal; `nothing` where it has no rows. See columns()."""
    lines = columns(head, rows, _width(), whole)
    for line in lines if len(lines) > 1 else [nothing]:
        print_line(line)


def _width() -> int:
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
