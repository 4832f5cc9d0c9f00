"""Where the commands print: aligned text for people, one JSON object a line for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from .view import WIDTH, Row, aligned


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object as one line, at once."""
    print_line(json.dumps(value, ensure_ascii=False))


def print_line(line: str) -> None:
    """Print one line, at once."""
    print(line, flush=True)


def print_rows(rows: Iterable[Row]) -> None:
    """Print rows, as wide as the terminal; 80 columns where there is none."""
    width = shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH
    print_line(aligned(rows, width))
