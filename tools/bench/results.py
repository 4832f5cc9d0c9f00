"""What was measured: bench/results.json, and bench/expected.json that a test compares with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .catalogue import definition

REPO = Path(__file__).resolve().parents[2]
RESULTS = REPO / "bench" / "results.json"
EXPECTED = REPO / "bench" / "expected.json"
TOLERANCE_PERMILLE = 50
# A function of some hundred instructions takes more or less by where its names stand in a table.
SLACK_INSTRUCTIONS = 500

Figures = dict[str, float]  # "VARIANT.NAME_UNIT" for a firmware's, "NAME_UNIT" for the host's
BuiltWith = dict[str, str]


@dataclass(frozen=True)
class Worse:
    """A counted figure that got worse by more than the tolerance."""

    name: str
    expected: float
    found: float | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.name}: expected {self.expected:g}, not measured any more"
        if not self.expected:
            return f"{self.name}: {self.found:g} instead of 0"
        percent = (self.found / self.expected - 1) * 100
        return f"{self.name}: {self.found:g} instead of {self.expected:g} (+{percent:.1f} %)"


def save(figures: Mapping[str, float], built_with: BuiltWith) -> None:
    """Write results.json: each figure with what it is."""
    rows = {
        name: {"value": value, "what": definition(name)} for name, value in sorted(figures.items())
    }
    _write(RESULTS, {"built_with": built_with, "figures": rows})


def load() -> tuple[Figures, BuiltWith]:
    """What results.json holds; nothing if there is none."""
    if not RESULTS.exists():
        return {}, {}
    data = json.loads(RESULTS.read_text())
    return {name: row["value"] for name, row in data["figures"].items()}, data["built_with"]


def accept(figures: Mapping[str, float], built_with: BuiltWith) -> None:
    """Make these the figures that later ones are compared with."""
    kept = dict(sorted(figures.items()))
    note = "counted; `make bench-accept` writes this, tests/boards/test_bench.py compares with it"
    data = {"note": note, "tolerance_permille": TOLERANCE_PERMILLE, "built_with": built_with}
    _write(EXPECTED, {**data, "figures": kept})


def expected() -> tuple[Figures, BuiltWith]:
    data = json.loads(EXPECTED.read_text())
    return data["figures"], data["built_with"]


def compare(
    old: Mapping[str, float], new: Mapping[str, float], permille: int = TOLERANCE_PERMILLE
) -> list[Worse]:
    """What of the old figures is now worse by more than the tolerance, or gone.

    Of few instructions it may be SLACK_INSTRUCTIONS more.
    """
    found = []
    for name, before in sorted(old.items()):
        now = new.get(name)
        room = before * permille / 1000
        if "_instructions" in name:
            room = max(room, SLACK_INSTRUCTIONS)
        if now is None or now > before + room:
            found.append(Worse(name, before, now))
    return found


def _write(path: Path, data: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
